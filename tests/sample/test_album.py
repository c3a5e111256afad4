"""The drawn album: what is said of a picture is so, copies are copies, broken files are broken, all is drawn once."""

from pathlib import Path

import numpy as np
import pytest

from helpers.data.images import load_photo, resize_photo
from helpers.files import InputError
from helpers.sample import draw
from helpers.sample.album import NEW_CLASSES, STYLES, Drawn, draw_album
from helpers.sample.captions import KINDS


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Drawn]]:
    folder = tmp_path_factory.mktemp("album")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "cores", lambda: 1)  # so few are drawn before another process has started
        return folder, draw_album(folder, 6, seed=42)


def test_every_kind_is_there_with_true_captions(album: tuple[Path, list[Drawn]]) -> None:
    folder, drawn = album
    own = [picture for picture in drawn if picture.copy_of is None]
    assert [picture.kind for picture in own] == [kind for kind in STYLES for _ in range(6)]
    for picture in own:
        assert len(set(picture.captions)) == 5
        nouns = {form for noun in KINDS[picture.scene.subject].nouns for form in (noun, noun[:-1], noun[:-2])}
        assert all(
            any(noun in caption.lower() or noun in "women children" for noun in nouns) for caption in picture.captions
        )
        load_photo(folder / "photos" / picture.path)
    for name in NEW_CLASSES:
        assert len(list((folder / "classes" / name).glob("*.jpg"))) == 6


def test_the_kinds_look_different(album: tuple[Path, list[Drawn]]) -> None:
    folder, drawn = album

    def colours(kind: str) -> float:
        paths = [folder / "photos" / picture.path for picture in drawn if picture.kind == kind and not picture.copy_of]
        pixels = np.stack([resize_photo(load_photo(path), 64) for path in paths]).astype(float)
        return float((pixels[..., 0] - pixels[..., 2]).std())  # how differently red and blue the pixels are

    assert 3 * colours("sketches") < colours("prints") < colours("screen") / 2
    assert load_photo(folder / "photos/screen/screen_000.jpg").size == (512, 384)


def test_a_copy_looks_like_its_original_and_no_other_picture_does(album: tuple[Path, list[Drawn]]) -> None:
    folder, drawn = album
    small = {one.path: resize_photo(load_photo(folder / "photos" / one.path), 24).astype(float) for one in drawn}
    copies = [picture for picture in drawn if picture.copy_of]
    assert len({Path(copy.path).suffix for copy in copies}) == 2 and len(copies) >= 10
    for copy in copies:
        away = {path: np.abs(pixels - small[copy.path]).mean() for path, pixels in small.items()}
        others = {path: value for path, value in away.items() if path != copy.path}
        assert min(others, key=others.get) == copy.copy_of


def test_broken_files_are_broken_and_no_picture(album: tuple[Path, list[Drawn]]) -> None:
    folder, drawn = album
    there = {path.relative_to(folder / "photos").as_posix() for path in (folder / "photos").rglob("*.*")}
    broken = there - {picture.path for picture in drawn}
    assert len(broken) == 3
    for name in broken:
        with pytest.raises(InputError):
            load_photo(folder / "photos" / name)


def test_it_is_drawn_once_and_anew_where_something_is_missing(album: tuple[Path, list[Drawn]]) -> None:
    folder, drawn = album
    one = folder / "photos" / drawn[3].path
    before, stamp = one.read_bytes(), one.stat().st_mtime_ns
    assert draw_album(folder, 6, seed=42) == drawn and one.stat().st_mtime_ns == stamp
    one.unlink()
    somebodys = [folder / "photos" / place for place in (".album/notes.jpg", "screen/mine.jpg", "screen/.a.png")]
    left = [folder / "photos" / place for place in ("screen/screen_099.jpg", "prints/prints_050_copy.png")]
    for path in (*somebodys, *left):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "cores", lambda: 1)
        assert draw_album(folder, 6, seed=42) == drawn
    assert one.read_bytes() == before
    assert all(path.exists() for path in somebodys) and not any(path.exists() for path in left)
    with pytest.raises(InputError, match="2 pictures a kind are too few"):
        draw_album(folder, 2, seed=42)
