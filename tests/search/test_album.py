"""An album against its models in PyTorch, photo by photo, and against what happens to folders of photos."""

import csv
import errno
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tiny_run import draw_photo

from helpers.captioning.captioner import load_captioner
from helpers.data.images import load_photo, load_pixels
from helpers.data.readers import place as place_reader
from helpers.data.readers.place import Place
from helpers.encoders.pretrained import load_pretrained_pair
from helpers.environment import project_root
from helpers.files import InputError
from helpers.search import album_store, album_update
from helpers.search.album import Album, main
from helpers.search.album_store import AlbumStore
from helpers.search.engine import CAPTIONER, PhotoSearch
from helpers.search.index import UNWANTED
from helpers.search.reranking import crowding

WORDS = "a red boat in the snow"


@pytest.fixture(scope="module")
def run(tiny_run: Path) -> PhotoSearch:
    return PhotoSearch(tiny_run)


def draw(folder: Path, count: int = 6, first: int = 200) -> Path:
    """A folder of photos that the run does not know, some in a folder in it."""
    for number in range(count):
        draw_photo(folder / ("summer 2019" if number % 3 == 2 else "") / f"{number:02d}.jpg", first + number)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw(tmp_path / "photos")


@pytest.fixture
def kept(run: PhotoSearch, photos: Path) -> Album:
    album = Album(photos, run)
    album.update()
    return album


def vectors_in_pytorch(outputs: Path, paths: list[Path]) -> np.ndarray:
    """What the run's towers, as they were saved, make of photos, which no album had a part in."""
    pair = load_pretrained_pair(outputs / "pretrained_encoder")
    with torch.no_grad():
        seen = pair.backbone(torch.from_numpy(load_pixels(paths, pair.photo_size)))[0]  # (N, D)
        return pair.model.encode_image(seen[:, None]).numpy()


def count_looks(album: Album, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos the encoder looks at from now on, chunk by chunk."""
    looks, embed = [], album.encoder.embed_photos
    monkeypatch.setattr(album.encoder, "embed_photos", lambda pixels: looks.append(len(pixels)) or embed(pixels))
    return looks


def known_to(album: Album) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    return {one: (album.index.vectors([one])[0], photo.captions) for one, photo in album.photos.items()}


# --- Taking photos ----------------------------------------------------------------------------------------------


def break_photos(folder: Path) -> dict[str, str]:
    """Files that are photos by their name and cannot be used, each for another reason."""
    whole = draw_photo(folder / "whole.jpg", 1).read_bytes()
    (folder / "whole.jpg").rename(folder / "03x.jpeg")  # a whole one among them
    content = {
        "empty.jpg": (b"", "empty"),
        "half.jpg": (whole[: len(whole) // 2], "missing"),
        "words.png": (b"Dear diary", "not an image"),
        "page.gif": (b"<html>404 Not Found</html>", "not an image"),
        "header.webp": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "cannot be read"),
    }
    for name, (data, _) in content.items():
        (folder / name).write_bytes(data)
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "notes.txt").write_text("Hello")
    (folder / ".hidden.jpg").write_bytes(b"")
    return {name: why for name, (_, why) in content.items()} | {"gone.jpg": "nothing", "notes.txt": "not an image"}


def test_among_broken_files_every_photo_has_its_own_vector_and_caption(
    run: PhotoSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(tmp_path / "photos", 24)
    broken = break_photos(folder)
    monkeypatch.setattr(album_update, "_CHUNK", 7)  # so that broken ones lie at all places of a chunk
    album = Album(folder, run)
    tally = album.update()
    assert tally.taken == tally.new == 25 and set(tally.left_out) == set(broken)
    for name, why in broken.items():
        assert why in tally.left_out[name], (name, tally.left_out[name])
    paths = [photo.path for photo in album.photos.values()]
    expected, captioner = vectors_in_pytorch(run.outputs, paths), load_captioner(run.outputs / CAPTIONER)
    np.testing.assert_allclose(album.index.vectors(list(album.photos)), expected, atol=2e-4)
    assert [photo.captions for photo in album.photos.values()] == [(captioner.caption(path),) for path in paths]
    assert str(tally).startswith("25 photos: 25 new; 7 left out: 3 not an image")


def test_a_photo_has_one_caption_whatever_format_it_comes_in(run: PhotoSearch, tmp_path: Path) -> None:
    draw_photo(tmp_path / "a.jpg", 7)
    load_photo(tmp_path / "a.jpg").save(tmp_path / "b.png")
    load_photo(tmp_path / "a.jpg").save(tmp_path / "c.webp", lossless=True)
    load_photo(tmp_path / "a.jpg").save(tmp_path / "D.TIF", format="TIFF")
    shutil.copy(tmp_path / "b.png", tmp_path / "e.JPG")  # its name says something else
    album = Album(tmp_path, run)
    album.update()
    assert len(album.photos) == 5 and len({photo.captions for photo in album.photos.values()}) == 1
    vectors = album.index.vectors(list(album.photos))
    np.testing.assert_allclose(vectors @ vectors.T, 1, atol=1e-5)


def test_only_new_and_changed_photos_are_looked_at_again(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = Album(photos, run)
    looks = count_looks(album, monkeypatch)
    assert str(album.update()) == "6 photos: 6 new; 0 left out." and looks == [6]
    before = known_to(album)
    assert str(album.update()) == "6 photos: nothing new; 0 left out." and looks == [6]

    os.utime(photos / "00.jpg", (1, 1))  # touched, and no more
    draw_photo(photos / "01.jpg", 900)  # changed
    (photos / "winter").mkdir()
    (photos / "03.jpg").rename(photos / "winter" / 'moved, and "renamed".jpg')
    (photos / "04.jpg").unlink()
    draw_photo(photos / "new.jpg", 901)
    shutil.copy(photos / "00.jpg", photos / "copy.jpg")
    assert str(album.update()) == "7 photos: 2 new, 1 changed, 1 moved, 1 removed; 0 left out." and looks == [6, 2]
    after = known_to(album)
    assert after.keys() == {
        "00.jpg", "01.jpg", "copy.jpg", "new.jpg", "summer 2019/02.jpg", "summer 2019/05.jpg",
        'winter/moved, and "renamed".jpg',
    }  # fmt: skip
    for now, then in [("00.jpg", "00.jpg"), ("copy.jpg", "00.jpg"), ('winter/moved, and "renamed".jpg', "03.jpg")]:
        np.testing.assert_array_equal(after[now][0], before[then][0])
        assert after[now][1] == before[then][1]
    expected = vectors_in_pytorch(run.outputs, [photos / one for one in after])
    np.testing.assert_allclose(np.stack([vector for vector, _ in after.values()]), expected, atol=2e-4)
    again = Album(photos, run)  # as it is on disk
    assert again.photos == album.photos and known_to(again).keys() == after.keys()


def test_an_update_that_fails_goes_on_where_it_was(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(album_update, "_CHUNK", 2)
    album = Album(photos, run)
    embed = album.encoder.embed_photos
    calls = []

    def fail_later(pixels: np.ndarray) -> np.ndarray:
        calls.append(len(pixels))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(pixels)

    monkeypatch.setattr(album.encoder, "embed_photos", fail_later)
    with pytest.raises(KeyboardInterrupt):
        album.update()
    again = Album(photos, run)
    assert len(again.photos) == 4
    looks = count_looks(again, monkeypatch)
    assert str(again.update()) == "6 photos: 2 new; 0 left out." and looks == [2]


KILLED = """
import os, signal, sys
from pathlib import Path
from helpers.search import album_store, album_update
from helpers.search.album import Album
album_update._CHUNK = 2
album = Album(Path(sys.argv[1]), Path(sys.argv[2]))
add, calls = album._store.add, []
def killed(files, looks):
    calls.append(1)
    add(files, looks)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
album._store.add = killed
album.update()
"""


def test_an_update_that_is_killed_goes_on_where_it_was(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED, str(photos), str(run.outputs)]
    assert subprocess.run(command, cwd=project_root(), capture_output=True).returncode == -signal.SIGKILL
    album = Album(photos, run)
    assert len(album.photos) == 4  # two chunks of two
    looks = count_looks(album, monkeypatch)
    assert album.update().new == 2 and looks == [2]
    np.testing.assert_allclose(
        album.index.vectors(list(album.photos)),
        vectors_in_pytorch(run.outputs, [photo.path for photo in album.photos.values()]),
        atol=2e-4,
    )


def test_the_second_of_two_processes_says_so(run: PhotoSearch, photos: Path, kept: Album) -> None:
    with AlbumStore(photos / ".album").only_one(), pytest.raises(InputError, match="Another process brings the album"):
        Album(photos, run).update()
    assert kept.update().taken == 6  # it was let go of


def test_a_folder_without_photos_says_what_was_seen_there(run: PhotoSearch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no files that are not hidden"):
        Album(tmp_path, run).update()
    (tmp_path / "a.txt").write_text("Hello")
    with pytest.raises(InputError, match="1 files: not an image"):
        Album(tmp_path, run).update()
    (tmp_path / "b.jpg").write_text("Hello")
    with pytest.raises(InputError, match="2 files: not an image"):
        Album(tmp_path, run).update()
    with pytest.raises(InputError, match="is not a folder of photos"):
        Album(tmp_path / "a.txt", run)


def test_photos_of_a_folder_that_was_emptied_are_not_forgotten(run: PhotoSearch, photos: Path, kept: Album) -> None:
    """A disk that is not mounted is an empty folder."""
    for path in photos.iterdir():
        if path.name != ".album":
            path.rename(photos.parent / path.name)
    with pytest.raises(InputError, match="no photo"):
        kept.update()
    assert Album(photos, run).photos == kept.photos


def test_a_photo_that_goes_away_while_the_folder_is_looked_at_is_gone(
    run: PhotoSearch, photos: Path, kept: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_photo(photos / "new.jpg", 900)
    find = place_reader.find_photos

    def find_and_lose(folder: Path) -> object:
        found = find(folder)
        for name in ("00.jpg", "new.jpg"):
            (folder / name).unlink()
        return found

    monkeypatch.setattr(place_reader, "find_photos", find_and_lose)
    tally = kept.update()
    assert str(tally) == "5 photos: 1 removed; 0 left out." and "00.jpg" not in Album(photos, run).photos


@pytest.mark.parametrize("closed", [Path.stat, Path.open], ids=["the folder", "the file"])
def test_photos_that_cannot_be_read_now_are_told_and_not_forgotten(
    run: PhotoSearch, photos: Path, kept: Album, monkeypatch: pytest.MonkeyPatch, closed: Callable[..., Any]
) -> None:
    def denied(path: Path, *how: Any, **more: Any) -> Any:
        if path.parent.name == "summer 2019" or path.name == "00.jpg":
            raise PermissionError(errno.EACCES, "Permission denied")
        return closed(path, *how, **more)

    draw_photo(photos / "summer 2019" / "new.jpg", 900)
    os.utime(photos / "00.jpg", (1, 1))
    os.utime(photos / "summer 2019" / "02.jpg", (1, 1))
    before = known_to(kept)
    with monkeypatch.context() as patch:
        patch.setattr(Path, closed.__name__, denied)
        tally = kept.update()
    assert tally.left_out.keys() >= {"00.jpg", "summer 2019/02.jpg", "summer 2019/new.jpg"}
    assert set(tally.left_out.values()) == {"cannot be read (Permission denied)"}
    after = known_to(Album(photos, run))
    assert after.keys() == before.keys() and all((after[one][0] == before[one][0]).all() for one in before)
    assert str(kept.update()) == "7 photos: 1 new; 0 left out."


def test_a_home_that_cannot_be_written_to_names_the_way_out(run: PhotoSearch, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    way_out = r"name another folder with --album \(of the search page: --home; of notebook 07: outputs_dir\)\."
    with pytest.raises(InputError, match=way_out):
        Album(photos, run, home=tmp_path / "file" / "album")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "album.db").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="is damaged"):
        Album(photos, run, home=tmp_path / "home")
    Album(photos, run, home=photos / "visible").update()
    assert Album(photos, run, home=photos / "visible").update().left_out == {}  # it does not see itself
    assert Album(photos, run, home=photos).update().taken == 6  # and nothing but itself
    draw_photo(photos / "visible" / "lock.jpg", 9)
    draw_photo(photos / "visible" / "9.jpg", 9)
    assert Album(photos, run, home=photos / "visible").update().new == 2


# --- Models -----------------------------------------------------------------------------------------------------


def test_an_album_is_bound_to_the_models_that_made_it(run: PhotoSearch, photos: Path, kept: Album) -> None:
    kept.correct("00.jpg", "my cat")
    with pytest.raises(InputError, match="made by another model") as caught:
        Album(photos, run, model="scratch")
    assert f"python -m helpers.search.album {shlex.quote(str(photos))} --anew" in str(caught.value)
    anew = Album(photos, run, model="scratch", captioner="none", anew=True)
    assert anew.update().new == 6 and anew.models == ["scratch"]
    assert anew.photos["00.jpg"].captions == ("my cat",) and anew.photos["01.jpg"].captions == ()
    again = Album(photos, run)  # what is not named is as it was
    assert again.models == ["scratch"] and again.captioner is None
    captioned = Album(photos, run, captioner="attention")
    assert str(captioned.update()) == "6 photos: nothing new; 0 left out."
    captioner = load_captioner(run.outputs / CAPTIONER)
    assert captioned.photos["01.jpg"].captions == (captioner.caption(photos / "01.jpg"),)
    with pytest.raises(InputError, match="no captioner 'gpt'"):
        Album(photos, run, captioner="gpt")


def test_what_is_refused_or_interrupted_before_photos_are_looked_at_anew_forgets_nothing(
    run: PhotoSearch, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    before = Album(photos, run, home, model="scratch", captioner="none")
    before.update()

    def forgets_nothing(captioner: str, status: int, said: str) -> None:
        options = ["--run", str(run.outputs), "--album", str(home), "--captioner", captioner, "--anew"]
        assert main([str(photos), *options]) == status
        assert said in capsys.readouterr().err
        store = AlbumStore(home)
        assert store.settings == before._models() and len(store.captioned()) == len(store.files()) == 6

    forgets_nothing("trnsformer", 2, "no captioner 'trnsformer'")
    with before._store.only_one():
        forgets_nothing("attention", 2, "Another process brings the album")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as loading:
        loading.setattr("helpers.search.album.models_of", interrupted)
        forgets_nothing("attention", 130, "Interrupted; the same command without --anew goes on")
    for path in photos.rglob("*.jpg"):
        path.rename(tmp_path / path.name)  # a disk that is not mounted is an empty folder
    forgets_nothing("attention", 2, "There is no photo")


def test_an_album_made_anew_and_interrupted_goes_on_without_anew(
    run: PhotoSearch, photos: Path, kept: Album, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(album_update, "_CHUNK", 2)
    kept.correct("00.jpg", "my cat")
    add, calls = AlbumStore.add, []

    def fail_later(self: AlbumStore, *what: object) -> None:
        calls.append(what)
        if len(calls) == 3:
            raise KeyboardInterrupt
        add(self, *what)

    monkeypatch.setattr(AlbumStore, "add", fail_later)
    options = [str(photos), "--run", str(run.outputs), "--model", "scratch", "--captioner", "none"]
    assert main([*options, "--anew"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Interrupted; the same command without --anew goes on from here, if this one had begun to look at photos."
    )
    assert len(Album(photos, run).photos) == 4  # two chunks of two
    assert main(options) == 0
    assert "6 photos: 2 new; 0 left out." in capsys.readouterr().err
    again = Album(photos, run)
    assert again.models == ["scratch"] and again.photos["00.jpg"].captions == ("my cat",)


def test_another_training_of_the_run_is_noticed(tiny_run: Path, photos: Path, kept: Album, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    for file in ("pretrained_encoder/best_multimodal_model.pth", f"{CAPTIONER}/weights.pt"):
        path = tmp_path / "run" / file
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        with pytest.raises(InputError, match="made by another model"):
            Album(photos, tmp_path / "run")
        path.write_bytes(content)
    assert Album(photos, tmp_path / "run").photos == kept.photos


def test_an_album_whose_run_was_moved_asks_where_it_is(
    tiny_run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "before")
    find = [str(photos), "--find", WORDS, "--paths-only"]
    assert main([*find, "--run", str(run)]) == 0
    found = capsys.readouterr().out
    moved = run.rename(tmp_path / "now")
    assert main(find) == 2
    err = capsys.readouterr().err
    assert f"made with the run in {run}, and none is there any more; say with --run " in err and "--outputs" in err
    assert main([*find, "--run", str(moved)]) == 0 and capsys.readouterr().out == found
    assert main(find) == 0 and capsys.readouterr().out == found  # it has been told


def pasted(error: pytest.ExceptionInfo[InputError]) -> list[str]:
    """The arguments of the command that a message names."""
    words = shlex.split(str(error.value).split("`")[1])
    assert words[:3] == ["python", "-m", "helpers.search.album"]
    return words[3:]


def test_the_command_in_a_message_opens_the_same_album_with_the_same_models(tiny_run: Path, tmp_path: Path) -> None:
    """Where it is kept elsewhere, as that of notebook 07, and its run is not the sample's."""
    photos, home = draw(tmp_path / "my photos"), tmp_path / "outputs of 07" / "index"
    run = shutil.copytree(tiny_run, tmp_path / "a run")
    for place, model, precision in ((home, "fusion", "fp16"), (None, "pretrained", "fp32")):
        before = Album(photos, run, place, model=model, captioner="attention", precision=precision)
        before.update()
        before._store.set({"describer": "of an earlier training"})
        with pytest.raises(InputError, match="made by another model") as caught:
            Album(photos, run, place)
        assert main(pasted(caught)) == 0
        again = Album(photos, run, place)  # is accepted now
        assert again._models() == before._models() and again.photos.keys() == before.photos.keys()
        assert (photos / ".album").exists() == (place is None)

    silent = Album(photos, run, home, captioner="none")
    with pytest.raises(InputError, match="This album has no captioner") as caught:
        silent.caption(load_photo(photos / "00.jpg"))
    assert main(pasted(caught)) == 0
    assert Album(photos, run, home).captioner.name == "attention"


@pytest.mark.parametrize("model", ["scratch", "fusion"])
def test_each_model_of_the_run_makes_an_album(run: PhotoSearch, photos: Path, model: str) -> None:
    album = Album(photos, run, model=model, captioner="none")
    album.update()
    pair = run.pair(model)
    pixels = load_pixels([photo.path for photo in album.photos.values()], pair.photo_size)
    np.testing.assert_allclose(album.index.vectors(list(album.photos)), pair.embed_photos(pixels), atol=2e-4)


def test_the_best_captioner_is_the_best_on_validation(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    for name, score in (("lstm", 31.0), ("transformer", 39.0)):
        shutil.copytree(tiny_run / CAPTIONER, tmp_path / "run" / "captioners" / name)
        metrics = {"validation": {"cider_d": score}, "cider_d": 100 - score}
        (tmp_path / "run" / "captioners" / name / "metrics.json").write_text(json.dumps(metrics))
    assert PhotoSearch(tmp_path / "run").captioners == ["transformer", "lstm", "attention"]


def test_backbone_and_photos_are_looked_at_once_for_vector_and_caption(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = Album(photos, run)
    opened = []
    monkeypatch.setattr(album_update, "load_photo", lambda path, size: opened.append(path) or load_photo(path, size))
    album.update()
    assert len(opened) == 6
    eye = album.encoder._eye
    assert eye is album.captioner._eye
    assert album.encoder.square == album.captioner.square and len(eye._photos) == 6


# --- Searching --------------------------------------------------------------------------------------------------


def test_hits_are_those_of_numpy(run: PhotoSearch, kept: Album) -> None:
    pair, paths = run.pair("pretrained"), [photo.path for photo in kept.photos.values()]
    gallery = vectors_in_pytorch(run.outputs, paths)
    texts = pair.embed_texts([text for one in run.manifest.split("train") for text in one.captions])
    crowds = crowding(gallery, texts)
    expected = gallery @ pair.embed_texts([WORDS])[0] - crowds / 2
    for without in (None, "two cats"):
        if without:
            expected = expected - UNWANTED * (gallery @ pair.embed_texts([without])[0] - crowds / 2)
        hits = kept.search(WORDS, without=without, k=4)
        assert [hit.photo.path for hit in hits] == [paths[row] for row in np.argsort(-expected)[:4]]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1][:4], atol=2e-3)
    hits = kept.search(photo=load_photo(paths[2]), k=100)
    assert len(hits) == 6 and hits[0].photo.path == paths[2] and hits[0].score > 0.9999
    with pytest.raises(InputError, match="cannot search it"):
        kept.search(WORDS, model="scratch")


def test_copies_of_a_photo_are_one_hit(run: PhotoSearch, tmp_path: Path) -> None:
    folder = draw(tmp_path / "photos", 4)
    small = load_photo(folder / "01.jpg").resize((240, 120))
    small.save(folder / "01 small.jpg", quality=70)
    shutil.copy(folder / "01.jpg", folder / "01 copy.jpg")
    album = Album(folder, run)
    album.update()
    hits = album.search(WORDS, k=10)
    assert len(hits) == 4
    groups = {frozenset(photo.id for photo in (hit.photo, *hit.twins)) for hit in hits}
    assert frozenset({"01.jpg", "01 small.jpg", "01 copy.jpg"}) in groups
    with pytest.raises(InputError, match="cannot search it"):
        album.like("01.jpg", model="scratch")
    neighbours = album.like("01.jpg", k=1)
    assert neighbours[0].score > 0.98 and neighbours[0].photo.id != "01.jpg"
    ids = [photo.id for hit in album.like("01.jpg", k=10) for photo in (hit.photo, *hit.twins)]
    assert sorted(ids) == sorted(set(album.photos) - {"01.jpg"})

    (folder / "01.jpg").unlink()  # what is left of the group stays one, and a later copy joins it
    shutil.copy(folder / "01 copy.jpg", folder / "01 again.jpg")
    small.rotate(0.2).save(folder / "01 turned.png")
    album.update()
    groups = {
        frozenset(photo.id for photo in (hit.photo, *hit.twins)) for hit in Album(folder, run).search(WORDS, k=10)
    }
    assert frozenset({"01 small.jpg", "01 copy.jpg", "01 again.jpg", "01 turned.png"}) in groups


def test_groups_from_before_details_counted_are_parted_once_when_the_album_is_opened(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(photos / "01.jpg", photos / "copy.png")
    load_photo(photos / "01.jpg").save(photos / "again.jpg", quality=80)
    album = Album(photos, run)
    album.update()
    with sqlite3.connect(album.home / "album.db") as database:  # as if all had one letterhead
        first = "SELECT digest FROM files WHERE path = '00.jpg'"
        database.executescript(f"UPDATE looks SET copy_of = ({first}); PRAGMA user_version = 2;")
    album = Album(photos, run)
    monkeypatch.delattr(album_store, "_part_groups")
    album = Album(photos, run)
    looks = count_looks(album, monkeypatch)
    album.update()
    hits = album.search(WORDS, k=10)
    groups = {frozenset(photo.id for photo in (hit.photo, *hit.twins)) for hit in hits}
    others = ("00.jpg", "03.jpg", "04.jpg", "summer 2019/02.jpg", "summer 2019/05.jpg")
    assert groups == {frozenset({"01.jpg", "copy.png", "again.jpg"}), *(frozenset({one}) for one in others)}
    assert not looks  # what is known of them stays


def test_an_album_of_an_earlier_version_is_looked_at_again(run: PhotoSearch, photos: Path, kept: Album) -> None:
    kept.correct("00.jpg", "my cat")
    with sqlite3.connect(kept.home / "album.db") as database:
        database.executescript("ALTER TABLE looks DROP COLUMN copy_of; PRAGMA user_version = 0;")
    album = Album(photos, run)
    assert album.update().new == 6
    assert known_to(album).keys() == known_to(kept).keys() and album.photos["00.jpg"].captions == ("my cat",)


def test_a_database_that_another_process_writes_to_is_waited_for_and_then_told(
    kept: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    with closing(connect(kept.home / "album.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=timeout / 300))
        with pytest.raises(InputError, match=r"Another process is writing to the album in .*; try again\.$"):
            kept.correct("00.jpg", "my cat")


@pytest.mark.parametrize("version", [0, 2, 3])
def test_an_album_of_an_earlier_version_that_had_only_begun_is_begun_again(
    run: PhotoSearch, photos: Path, version: int
) -> None:
    (photos / ".album").mkdir()
    with sqlite3.connect(photos / ".album" / "album.db") as database:
        database.execute(f"PRAGMA user_version = {version}")
    assert Album(photos, run).update().new == 6


def test_an_album_that_was_never_filled_says_so(run: PhotoSearch, photos: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        Album(photos, run).search(WORDS)


# --- Corrections ------------------------------------------------------------------------------------------------


def test_corrections_outlive_everything(run: PhotoSearch, photos: Path, kept: Album) -> None:
    content = (photos / "00.jpg").read_bytes()
    kept.correct("00.jpg", "  my <b>cat</b>,\n asleep ")
    assert kept.photos["00.jpg"].captions == ("my <b>cat</b>, asleep",)
    assert kept.corrected("00.jpg") and not kept.corrected("01.jpg")
    assert (photos / "00.jpg").read_bytes() == content

    def text(album: Album, photo_id: str) -> tuple[str, ...]:
        album.update()
        return album.photos[photo_id].captions

    (photos / "00.jpg").rename(photos / "moved.jpg")
    assert text(Album(photos, run), "moved.jpg") == ("my <b>cat</b>, asleep",)
    (photos / "moved.jpg").unlink()
    Album(photos, run).update()
    (photos / "back.jpg").write_bytes(content)
    assert text(Album(photos, run, anew=True), "back.jpg") == ("my <b>cat</b>, asleep",)
    image = load_photo(photos / "back.jpg")
    image.save(photos / "back.jpg", quality=90)  # saved again
    assert text(Album(photos, run), "back.jpg") == ("my <b>cat</b>, asleep",)
    draw_photo(photos / "back.jpg", 555)  # another photo in its place
    assert text(Album(photos, run), "back.jpg") != ("my <b>cat</b>, asleep",)
    with pytest.raises(InputError, match=r"no photo 'nothing\.jpg' in the album"):
        kept.correct("nothing.jpg", "a dog")
    # A copy with a caption of its own is replaced by the photo: each photo's caption is still the one it was given.
    image.save(photos / "copy.jpg", quality=60)
    image.save(photos / "photo.jpg", quality=95)
    both = Album(photos, run)
    both.update()
    both.correct("photo.jpg", "Otto in our garden")
    both.correct("copy.jpg", "small copy")
    (photos / "copy.jpg").write_bytes((photos / "photo.jpg").read_bytes())
    assert text(Album(photos, run), "copy.jpg") == ("Otto in our garden",) == text(Album(photos, run), "photo.jpg")
    with pytest.raises(InputError, match="at least one word"):
        kept.correct("01.jpg", " \n ")


def write_note(path: Path, note: bytes = b"note") -> None:
    """Put a comment into a JPEG: other bytes, and the same picture."""
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2) + note + content[2:])


@pytest.mark.parametrize("kind", ["faint", "of one colour", "photo"])
def test_a_correction_stays_where_nothing_but_a_note_in_the_file_changes(
    run: PhotoSearch, photos: Path, kind: str
) -> None:
    if kind != "photo":  # what it shows tells it from no other; see copies.py
        page = np.full((400, 300, 3), 255, np.uint8)
        page[40:52, 40 : 260 if kind == "faint" else 40] = 90
        Image.fromarray(page).save(photos / "00.jpg")
    album = Album(photos, run)
    album.update()
    album.correct("00.jpg", "a letter")
    write_note(photos / "00.jpg")
    again = Album(photos, run)
    assert again.update().changed == 1 and again.photos["00.jpg"].captions == ("a letter",)


@pytest.mark.parametrize("turn", [3, 6, 8])
@pytest.mark.parametrize("how", ["note", "pixels"])
def test_a_correction_stays_where_the_photo_is_turned(
    run: PhotoSearch, photos: Path, kept: Album, turn: int, how: str
) -> None:
    kept.correct("00.jpg", "my cat")
    with Image.open(photos / "00.jpg") as image:
        image.getexif()[0x0112] = turn
        if how == "note":
            image.save(photos / "00.jpg", quality="keep", exif=image.getexif())
        else:
            ImageOps.exif_transpose(image).save(photos / "00.jpg", quality=90)
    again = Album(photos, run)
    assert again.update().changed == 1 and again.photos["00.jpg"].captions == ("my cat",)
    draw_photo(photos / "00.jpg", 555)  # another photo in its place
    last = Album(photos, run)
    last.update()
    assert not last.corrected("00.jpg")


@pytest.mark.parametrize("meanwhile", ["half written", "away"])
def test_a_correction_stays_where_an_update_falls_between_two_states_of_a_file(
    run: PhotoSearch, photos: Path, kept: Album, meanwhile: str
) -> None:
    kept.correct("00.jpg", "my cat")
    image, content = load_photo(photos / "00.jpg"), (photos / "00.jpg").read_bytes()
    if meanwhile == "away":
        (photos / "00.jpg").unlink()
    else:
        (photos / "00.jpg").write_bytes(content[: len(content) // 3])
    for _ in range(2):
        between = Album(photos, run)
        between.update()
        assert "00.jpg" not in between.photos
    for quality, said in ((70, "my cat"), (60, "my cat, asleep")):
        image.save(photos / "00.jpg", quality=quality)
        again = Album(photos, run)
        again.update()
        again.correct("00.jpg", said if quality == 60 else again.photos["00.jpg"].captions[0])
        assert again.photos["00.jpg"].captions == (said,)
    image.save(photos / "00.jpg", quality=50)  # of what it was before it went, nothing is remembered
    last = Album(photos, run)
    last.update()
    assert last.photos["00.jpg"].captions == ("my cat, asleep",)
    (photos / "00.jpg").unlink()
    Album(photos, run).update()
    draw_photo(photos / "00.jpg", 555)  # another photo in its place
    last = Album(photos, run)
    last.update()
    assert not last.corrected("00.jpg")


def test_a_correction_stays_wherever_an_update_is_interrupted(
    run: PhotoSearch, photos: Path, kept: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("00.jpg", "01.jpg"):
        kept.correct(name, f"my {name}")
        write_note(photos / name)
    opened = album_store._opened
    for transactions in range(1, 12):  # whatever is kept one by one could be lost in between
        left = iter(range(transactions))

        def interrupted(home: Path, left: Iterator[int] = left) -> AbstractContextManager[sqlite3.Connection]:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return opened(home)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(album_store, "_opened", interrupted)
            Album(photos, run).update()
    album = Album(photos, run)
    album.update()
    assert [album.photos[name].captions for name in ("00.jpg", "01.jpg")] == [("my 00.jpg",), ("my 01.jpg",)]


def test_a_caption_that_is_corrected_where_another_process_has_seen_the_file_change_is_of_what_is_there_now(
    run: PhotoSearch, photos: Path, kept: Album
) -> None:
    kept.correct("01.jpg", "the first words")
    for name in ("00.jpg", "01.jpg"):
        write_note(photos / name)
    draw_photo(photos / "03.jpg", 777)  # another photo, which nobody said this of
    Album(photos, run).update()
    for name in ("00.jpg", "01.jpg"):
        kept.correct(name, f"my {name}")
    with pytest.raises(InputError, match=r"03\.jpg holds another photo now than when the album looked at it; end"):
        kept.correct("03.jpg", "my 03.jpg")
    album = Album(photos, run)
    assert [album.corrected(name) for name in ("00.jpg", "01.jpg", "03.jpg")] == [True, True, False]
    assert album.photos["01.jpg"].captions == ("my 01.jpg",)


def test_a_caption_is_of_the_photo_that_is_seen_and_not_of_the_one_that_was_there_before(
    run: PhotoSearch, photos: Path, kept: Album
) -> None:
    """The page shows files as they are now, and the album knows them as it has looked at them."""
    (photos / "00.jpg").rename(photos / "aside.jpg")
    (photos / "01.jpg").rename(photos / "00.jpg")
    (photos / "aside.jpg").rename(photos / "01.jpg")
    for name in ("00.jpg", "01.jpg"):
        with pytest.raises(InputError, match=f"{name} holds another photo now"):
            kept.correct(name, "what is seen")
    album = Album(photos, run)
    album.update()
    assert not any(album.corrected(name) for name in ("00.jpg", "01.jpg"))
    album.correct("00.jpg", "what is seen")
    content = (photos / "00.jpg").read_bytes()
    (photos / "00.jpg").unlink()  # a disk that is away shows nothing else
    album.correct("00.jpg", "what was seen")
    (photos / "00.jpg").write_bytes(content)
    assert Album(photos, run).photos["00.jpg"].captions == ("what was seen",)


@pytest.mark.parametrize("meanwhile", ["anew", "torn", "away", "moved", "moved anew", "an earlier version", "long ago"])
def test_a_correction_is_found_again_by_what_the_photo_shows(
    run: PhotoSearch, photos: Path, kept: Album, meanwhile: str
) -> None:
    kept.correct("00.jpg", "my cat")
    path, content = photos / "00.jpg", (photos / "00.jpg").read_bytes()
    if meanwhile == "torn":
        path.write_bytes(content[: len(content) // 3])
        assert Album(photos, run).update().left_out
        path.write_bytes(content)
    elif meanwhile == "away":
        path.unlink()
        assert Album(photos, run).update().removed == 1
        path.write_bytes(content)
    elif meanwhile.startswith("moved"):
        path = path.rename(photos / "cat.jpg")
    elif meanwhile == "an earlier version":
        with sqlite3.connect(kept.home / "album.db") as database:
            database.executescript("ALTER TABLE corrections DROP COLUMN thumbnail; PRAGMA user_version = 3;")
    elif meanwhile == "long ago":
        with sqlite3.connect(kept.home / "album.db") as database:
            database.executescript("ALTER TABLE looks DROP COLUMN copy_of; PRAGMA user_version = 0;")
    write_note(path)
    album = Album(photos, run, anew=meanwhile.endswith("anew"))
    album.update()
    assert album.photos[path.name].captions == ("my cat",)
    assert [name for name in album.photos if album.corrected(name)] == [path.name]


def test_corrections_follow_photos_whose_names_shift_from_one_chunk_to_the_next(
    run: PhotoSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    for number in range(8):
        draw_photo(folder / f"{number}.jpg", 600 + number)
    album = Album(folder, run)
    album.update()
    for name in album.photos:
        album.correct(name, f"was {name}")
    (folder / "0.jpg").unlink()
    for number in range(1, 8):
        write_note((folder / f"{number}.jpg").rename(folder / f"{number - 1}.jpg"))
    monkeypatch.setattr(album_update, "_CHUNK", 3)
    album = Album(folder, run)
    album.update()
    said = {name: photo.captions for name, photo in album.photos.items()}
    assert said == {f"{number}.jpg": (f"was {number + 1}.jpg",) for number in range(7)}


def test_a_faint_page_keeps_its_caption_when_a_note_comes_after_another_model(run: PhotoSearch, photos: Path) -> None:
    page = np.full((200, 300, 3), 240, np.uint8)
    page[100:103, 10:290] = 200
    Image.fromarray(page).save(photos / "00.jpg")
    album = Album(photos, run, model="scratch")
    album.update()
    album.correct("00.jpg", "a line")
    Album(photos, run, model="pretrained", anew=True).update()
    write_note(photos / "00.jpg")
    album = Album(photos, run)
    album.update()
    assert album.models == ["pretrained"] and album.photos["00.jpg"].captions == ("a line",)


def write_letter(path: Path, line: int | None, quality: int = 95) -> None:
    """A page of thirty lines, one of which is its own; `line` None: a blank one."""
    page = np.full((480, 360, 3), 250, np.uint8)
    for row in range(30, 450, 15) if line is not None else ():
        words = np.random.default_rng(row if row != 225 else 1000 + line).integers(8, 30, 12).cumsum()
        for start, end in zip(words[::2], words[1::2], strict=True):
            page[row : row + 7, start:end] = 30
    Image.fromarray(page).save(path, quality=quality)


def test_no_photo_takes_the_caption_of_another(run: PhotoSearch, photos: Path) -> None:
    """Letters that differ in one line, which pass for copies, and blank pages, which are copies of nothing."""
    write_letter(photos / "anna.jpg", 1)
    write_letter(photos / "bert.jpg", 2)
    write_letter(photos / "blank.jpg", None)
    album = Album(photos, run)
    album.update()
    album.correct("anna.jpg", "to Anna")
    album.correct("blank.jpg", "the last page")
    for name in ("anna.jpg", "blank.jpg"):
        (photos / name).unlink()
    album.update()
    write_letter(photos / "dora.jpg", 3)
    write_letter(photos / "empty.jpg", None, quality=90)
    os.utime(photos / "bert.jpg")
    for anew in (False, True):
        album = Album(photos, run, anew=anew)
        album.update()
        assert len(album.photos) == 9 and not any(map(album.corrected, album.photos))


@pytest.mark.parametrize("corrected", [("anna.jpg", "bert.jpg"), ("anna.jpg",)])
def test_a_letter_that_takes_the_name_of_one_like_it_keeps_its_own_caption(
    run: PhotoSearch, photos: Path, corrected: tuple[str, ...]
) -> None:
    for number, name in enumerate(("anna.jpg", "bert.jpg")):
        write_letter(photos / name, number)
    album = Album(photos, run)
    album.update()
    assert any(hit.twins for hit in album.search(WORDS, k=10))  # which they pass for
    for name in corrected:
        album.correct(name, f"to {name}")
    bert = album.photos["bert.jpg"].captions
    (photos / "bert.jpg").rename(photos / "anna.jpg")
    if len(corrected) == 2:
        write_note(photos / "anna.jpg")
    album = Album(photos, run)
    album.update()
    assert album.photos["anna.jpg"].captions == bert


def test_the_last_words_stay_when_a_note_is_taken_out_again(run: PhotoSearch, photos: Path, kept: Album) -> None:
    content = (photos / "00.jpg").read_bytes()
    kept.correct("00.jpg", "the first words")
    write_note(photos / "00.jpg")
    album = Album(photos, run)
    album.update()
    album.correct("00.jpg", "the last words")
    (photos / "00.jpg").write_bytes(content)
    album = Album(photos, run)
    album.update()
    assert album.photos["00.jpg"].captions == ("the last words",)


def test_a_photo_that_was_moved_is_in_the_album_once_when_it_is_made_anew(
    run: PhotoSearch, photos: Path, kept: Album
) -> None:
    kept.correct("00.jpg", "my cat")
    (photos / "00.jpg").rename(photos / "cat.jpg")
    album = Album(photos, run, anew=True)
    assert album.update().removed == 1
    assert len(album.photos) == 6 and "00.jpg" not in album.photos
    assert album.photos["cat.jpg"].captions == ("my cat",)


def test_the_next_letter_under_one_letterhead_does_not_keep_the_caption_of_the_last(
    run: PhotoSearch, photos: Path
) -> None:
    for number in (1, 2):
        page = np.full((480, 480, 3), 255, np.uint8)
        page[:120] = 40
        rng = np.random.default_rng(number)
        for line in range(150, 450, 30):
            for word in range(30, 450, 30):
                page[line : line + 10, word : word + rng.integers(4, 26)] = 120
        Image.fromarray(page).save(photos / "scan.jpg")
        album = Album(photos, run)
        album.update()
        assert not album.corrected("scan.jpg")
        album.correct("scan.jpg", "a letter to Otto")


def test_corrections_of_another_album_of_these_photos_are_taken_over(
    run: PhotoSearch, photos: Path, kept: Album, tmp_path: Path
) -> None:
    for name in ("00.jpg", "01.jpg", "03.jpg"):
        kept.correct(name, f"there {name}")
    (photos / "03.jpg").unlink()
    before = (kept.home / "album.db").read_bytes()
    album = Album(photos, run, tmp_path / "home", model="scratch")
    album.update()
    album.correct("01.jpg", "here")
    assert album.take_corrections(kept.home) == 1  # of what is here, and has none
    for one in (album, Album(photos, run, tmp_path / "home")):
        assert [one.photos[name].captions for name in ("00.jpg", "01.jpg")] == [("there 00.jpg",), ("here",)]
    assert album.take_corrections(kept.home) == album.take_corrections(album.home) == 0
    assert album.take_corrections(tmp_path / "nowhere") == 0 and (kept.home / "album.db").read_bytes() == before
    (kept.home / "album.db").write_bytes(b"")  # begun, and no more
    assert album.take_corrections(kept.home) == 0
    (kept.home / "album.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"album\.db is damaged .*; move it away"):
        album.take_corrections(kept.home)


def test_captions_of_photos_with_odd_names_can_be_read_back(run: PhotoSearch, tmp_path: Path) -> None:
    names = ["a\rb.jpg", "c\nd.jpg", 'e",f.jpg', "=g.jpg", " h.jpg"]
    for number, name in enumerate(names):
        draw_photo(tmp_path / "photos" / name, 300 + number)
    album = Album(tmp_path / "photos", run)
    album.update()
    assert album.write_captions(tmp_path / "captions.csv") == len(names)
    with (tmp_path / "captions.csv").open(newline="", encoding="utf-8") as file:
        assert dict(list(csv.reader(file))[1:]) == {name: album.photos[name].captions[0] for name in names}


# --- The command ------------------------------------------------------------------------------------------------


def test_the_command_looks_with_the_run_of_a_name(
    holidays: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(photos), "--name", "holidays", "--find", WORDS, "--top", "1", "--paths-only"]) == 0
    (hit,) = Album(photos, PhotoSearch(holidays)).search(WORDS, k=1)
    assert capsys.readouterr().out == f"{hit.photo.path}\n"
    assert main([str(photos), "--name", "weekend", "--find", WORDS]) == 2
    assert "no run has this name" in capsys.readouterr().err


def test_the_command_prints_paths_that_other_tools_take(
    run: PhotoSearch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(photos), "--run", str(run.outputs)]
    assert main([*options, "--find", WORDS, "--top", "2"]) == 0
    out, err = capsys.readouterr()
    assert "6 photos: 6 new; 0 left out." in err
    hits = Album(photos, run).search(WORDS, k=2)
    assert out.splitlines() == [f"{hit.score:.3f} {hit.photo.path}" for hit in hits]
    assert main([str(photos), "--find", WORDS, "--without", "two cats", "--paths-only"]) == 0  # the run is known
    out = capsys.readouterr().out.splitlines()
    assert out == [str(hit.photo.path) for hit in Album(photos, run).search(WORDS, without="two cats", k=10)]
    like = photos / "01.jpg"
    assert main([*options, "--like", str(like), "--find", WORDS, "--top", "1"]) == 0
    expected = Album(photos, run).search(WORDS, load_photo(like), k=1)[0]
    assert capsys.readouterr().out.split(maxsplit=1)[1].strip() == str(expected.photo.path)


def test_a_photo_of_the_album_asks_by_its_name_there_and_is_not_its_own_answer(
    run: PhotoSearch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photos / "01.jpg", photos / "copy.jpg")  # which is an answer
    options = [str(photos), "--run", str(run.outputs), "--paths-only", "--like"]
    assert main([*options, "01.jpg"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found == [str(hit.photo.path) for hit in Album(photos, run).like("01.jpg", 10)]
    assert found[0] == str(photos / "copy.jpg") and len(found) == 6
    assert main([*options, str(photos / "01.jpg"), "--find", WORDS, "--without", "two cats"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(found)
    other = draw_photo(photos.parent / "other.jpg", 201)  # what is on 01.jpg, and not of the album
    assert main([*options, str(other), "--top", "1"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == [str(photos / "01.jpg"), str(photos / "copy.jpg")]


def test_copies_are_printed_behind_the_photo_that_they_are_copies_of(
    run: PhotoSearch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photos / "01.jpg", photos / "copy.jpg")
    load_photo(photos / "01.jpg").save(photos / "small.png")
    options = [str(photos), "--run", str(run.outputs), "--find", WORDS]
    assert main(options) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    album = Album(photos, run)
    assert sorted(path for _, path in lines) == sorted(str(photo.path) for photo in album.photos.values())
    hits = {str(hit.photo.path): hit for hit in album.search(WORDS, k=10)}
    first = next(at for at, (_, path) in enumerate(lines) if path in hits and hits[path].twins)
    assert [word for word, _ in lines[first + 1 : first + 3]] == ["alike", "alike"]
    assert {Path(path).name for _, path in lines[first : first + 3]} == {"01.jpg", "copy.jpg", "small.png"}
    assert main([*options, "--paths-only"]) == 0
    assert capsys.readouterr().out.splitlines() == [path for _, path in lines]


def test_captions_are_written_as_asked(
    run: PhotoSearch, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photo(photos / 'a, "b"\nc.png', 77)
    (photos / "bad.jpg").write_text("no")
    (photos / "01.txt").write_text("mine")
    options = [str(photos), "--run", str(run.outputs), "--left-out"]
    assert main([*options, "--caption", str(tmp_path / "c.csv"), "--sidecar"]) == 0
    out, err = capsys.readouterr()
    assert "bad.jpg: not an image" in out and "6 captions written beside their photos" in err
    album = Album(photos, run)
    expected = {one: photo.captions[0] for one, photo in album.photos.items()}
    assert len(expected) == 7
    with (tmp_path / "c.csv").open(newline="", encoding="utf-8") as file:
        assert {row["image"]: row["caption"] for row in csv.DictReader(file)} == expected
    assert main([*options, "--caption", str(tmp_path / "c.jsonl"), "--sidecar"]) == 0
    lines = (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()
    assert {row["image"]: row["caption"] for row in map(json.loads, lines)} == expected
    (photos / "diary.txt").write_text("Hello")
    assert Album(photos, run).update().left_out == {"bad.jpg": "not an image", "diary.txt": "not an image"}
    assert (photos / "01.txt").read_text() == "mine"
    assert (photos / "00.txt").read_text() == expected["00.jpg"] + "\n"


def test_a_file_that_the_album_did_not_write_is_never_overwritten(
    run: PhotoSearch, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(paths: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    mine, written = tmp_path / "mine.csv", tmp_path / "c.csv"
    mine.write_text("image,caption\n00.jpg,my own words\n")
    options = [str(photos), "--run", str(run.outputs)]
    assert main([*options, "--caption", str(mine)]) == 2
    assert "mine.csv is there already, and not as this album wrote it" in capsys.readouterr().err
    assert "my own words" in mine.read_text() and not Album(photos, run).photos  # before photos were looked at
    assert main([*options, "--caption", str(written)]) == 0
    assert capsys.readouterr().err.endswith(f"6 captions written to {written}.\n")
    Album(photos, run).correct("00.jpg", "my cat")
    assert main([*options, "--caption", str(written)]) == 0 and "00.jpg,my cat\n" in written.read_text()
    beside = photos / "captions.csv"
    assert main([*options, "--caption", str(beside)]) == 0
    assert main(options) == 0 and "0 left out" in capsys.readouterr().err.splitlines()[-1]  # it knows its own file
    with monkeypatch.context() as patch:
        patch.setattr("helpers.search.album_store.fingerprint_files", denied)
        assert main([*options, "--caption", str(written)]) == 2
    elsewhere = photos.rename(tmp_path / "elsewhere")  # with the album and the file of captions in it
    options[0] = str(elsewhere)
    assert main(options) == 0 and "0 left out" in capsys.readouterr().err.splitlines()[-1]
    assert main([*options, "--caption", str(elsewhere / "captions.csv")]) == 0
    written.write_text(written.read_text().replace("my cat", "our cat"))  # in a spreadsheet
    assert main([*options, "--caption", str(written)]) == 2 and "our cat" in written.read_text()


def test_a_photo_whose_sidecar_cannot_be_written_keeps_no_other_from_its_own(
    run: PhotoSearch, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def write_text(path: Path, *arguments: str, **options: str) -> int:
        if path.name.startswith(".01."):
            raise OSError(errno.EACCES, "Permission denied")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    (photos / "03.txt").symlink_to(tmp_path / "elsewhere.txt")  # to nothing
    assert main([str(photos), "--run", str(run.outputs), "--sidecar"]) == 2
    *_, counts, first, end = capsys.readouterr().err.splitlines()
    assert counts == "4 captions written beside their photos; 1 files were there already."
    assert first.startswith("1 captions could not be written. The first: ") and "01.txt" in first
    assert end == "Not all captions could be written beside their photos."
    assert (photos / "03.txt").is_symlink() and not (tmp_path / "elsewhere.txt").exists()


def test_a_text_of_any_kind_beside_a_photo_is_a_persons_and_stays_the_only_one(
    run: PhotoSearch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "04.jpg").rename(photos / "IMG_4.JPG")
    texts = [photos / name for name in ("00.Caption", "01.cap", "03.json", "img_4.TXT")]
    for text in texts:
        text.write_text('"Otto in our garden"')
    (photos / "diary.cap").write_text("beside no photo")
    assert main([str(photos), "--run", str(run.outputs), "--sidecar", "--left-out"]) == 0
    out, err = capsys.readouterr()
    assert out == "diary.cap: not an image\n"
    assert "2 captions written beside their photos; 4 files were there already." in err
    assert sorted(photos.rglob("*.txt")) == [photos / "summer 2019" / "02.txt", photos / "summer 2019" / "05.txt"]
    assert {place for place in Place(photos).beside if place.suffix != ".txt"} == set(texts)  # as they will be read


def test_without_captions_no_file_is_written(
    run: PhotoSearch, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(photos), "--run", str(run.outputs), "--captioner", "none"]
    for asked in (["--caption", str(tmp_path / "c.csv")], ["--caption", str(tmp_path / "c.jsonl")], ["--sidecar"]):
        assert main([*options, *asked]) == 2
        assert "This album has no captioner; `python -m helpers.search.album " in capsys.readouterr().err
    assert not [*tmp_path.glob("c.*"), *photos.rglob("*.txt")]
    Album(photos, run).correct("00.jpg", "my cat")
    assert main([*options, "--caption", str(tmp_path / "c.csv"), "--sidecar"]) == 0
    assert (tmp_path / "c.csv").read_text() == "image,caption\n00.jpg,my cat\n"
    assert "1 captions written beside" in capsys.readouterr().err and (photos / "00.txt").read_text() == "my cat\n"


def test_two_photos_of_one_name_have_one_sidecar_and_it_is_said(
    run: PhotoSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("a.jpg", "a.png", "b.jpg", "b.webp", "c.jpg")):
        draw_photo(tmp_path / "photos" / name, 300 + number)
    photos = tmp_path / "photos"
    (photos / "b.txt").write_text("mine")
    options = [str(photos), "--run", str(run.outputs), "--sidecar"]
    for written, there in ((2, 1), (0, 3)):
        assert main(options) == 0
        *_, first, second = capsys.readouterr().err.splitlines()
        assert first == f"{written} captions written beside their photos; {there} files were there already."
        assert second.startswith("2 photos got none: they have the name of another photo")
    captions = {one: photo.captions[0] for one, photo in Album(photos, run).photos.items()}
    said = {path.name: path.read_text() for path in photos.glob("*.txt")}
    assert said == {"a.txt": captions["a.jpg"] + "\n", "b.txt": "mine", "c.txt": captions["c.jpg"] + "\n"}


def test_wrong_options_are_refused_before_anything_begins(
    run: PhotoSearch, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(photos), "--run", str(run.outputs)]
    for wrong, message in [
        (["--caption", str(tmp_path / "c.xlsx")], "written as .csv or .jsonl"),
        (["--caption", str(tmp_path / "no" / "c.csv")], "is not a folder"),
        (["--without", "people"], "say with --find or --like"),
        (["--find", "a dog", "--top", "0"], "at least 1"),
        (["--like", str(tmp_path / "none.jpg")], "does not exist"),
        (["--model", "clip"], "no model 'clip'"),
        (["--run", str(tmp_path)], "yet: name the outputs folder of a finished run with --outputs."),
        (["--precision", "fp8"], "no precision 'fp8'"),
        (["--profile", "sample"], "--run and --profile both say which run to look with; give one of them."),
    ]:
        assert main([*options, *wrong]) == 2
        out, err = capsys.readouterr()
        assert message in err and out == "" and len(err.splitlines()) == 1, (wrong, err)
    assert not Album(photos, run).photos


@pytest.mark.parametrize("name", ["~nobody/photos", "n" * 300])
def test_a_folder_that_cannot_be_is_one_sentence(
    name: str, run: PhotoSearch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([name], [str(photos), "--album", "n" * 300], [str(photos), "--like", name]):
        assert main([*options, "--run", str(run.outputs)]) == 2
        out, err = capsys.readouterr()
        assert len(err.splitlines()) == 1 and out == ""


def test_blank_words_of_a_shell_do_nothing(
    run: PhotoSearch, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    for wrong in (
        [""],
        *([".", option, ""] for option in ("--album", "--find", "--model", "--captioner", "--profile")),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*wrong, "--run", str(run.outputs)])
        assert "it is blank" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):  # an option whose name is cut short, which a message would repeat
        main([".", "--run", str(run.outputs), "--alb", "home"])
    assert not (photos / ".album").exists()


def test_where_an_album_cannot_be_kept_the_whole_command_that_goes_on_is_given(
    run: PhotoSearch, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "a home")
    access = os.access  # which lets the system's administrator write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and Path(path) != photos)
    options = ["--run", str(run.outputs), "--top", "2", "--find", WORDS, "--", str(photos)]
    for home in ([], ["--album", str(draw_photo(tmp_path / "a file.jpg", 1) / "album")]):
        assert main([*home, *options]) == 2
        out, err = capsys.readouterr()
        assert err.startswith("The album cannot be kept in ") and len(err.splitlines()) == 1 and out == ""
        words = shlex.split(err.split("`")[1])
        assert words[:4] == ["python", "-m", "helpers.search.album", "--album"] and words[5:] == options
        assert main(words[3:]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
    (kept,) = (tmp_path / "a home").rglob("album.db")
    assert kept.parent.name.startswith(f"{photos.name}-") and not (photos / ".album").exists()


def importing(command: list[str], folder: Path, numpy: str) -> subprocess.CompletedProcess[str]:
    """A command that finds the code `numpy`, written to `folder`, in the place of a package that all import."""
    (folder / "numpy.py").write_text(numpy)
    return subprocess.run(
        [sys.executable, *command],
        cwd=project_root(),
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("command", [["-m", "helpers.search.album"], ["-m", "helpers.search.app"], ["run_all.py"]])
def test_ctrl_c_while_a_command_imports_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # see tests/test_app.py
    (tmp_path / "sitecustomize.py").write_text(code)
    ended = importing(command, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert ended.stderr == "Interrupted; the same command begins again.\n"
    assert ended.returncode == -signal.SIGINT  # as a shell expects it


@pytest.mark.parametrize("command", [["-m", "helpers.search.album", "photos"], ["run_all.py", "--list"]])
def test_a_python_without_the_packages_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    ended = importing(command, tmp_path, "raise ModuleNotFoundError(name='numpy')")
    assert ended.stderr.startswith("The package numpy is not there in ") and ended.stderr.count("\n") == 1
    assert "`make run` installs what is needed" in ended.stderr and ended.returncode == 1
