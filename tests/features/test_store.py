from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import write_photo
from torch import Tensor, nn

from helpers.artefacts import seal
from helpers.data.images import load_photo, resize_photo
from helpers.features import store
from helpers.features.backbones import Backbone, load_backbone, stem_of
from helpers.features.store import check_disk, extract_features, load_features, photo_features
from helpers.files import InputError, save_pickle, write_json


@dataclass(frozen=True)
class Item:
    id: str
    path: Path


class MeanColour(nn.Module):
    """Four regions, each with the mean colour of a quarter of the photo: easy to check by hand."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid = nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(2).transpose(1, 2)  # (B, 4, 3)
        return grid.mean(1), grid


def colour_backbone() -> Backbone:
    return Backbone("colour", MeanColour(), (0, 0, 0), (1 / 255,) * 3, 224, 3, (4, 3))


@pytest.fixture
def photos(tmp_path: Path) -> list[Item]:
    names = [f"{number}.png" for number in range(10)]
    return [Item(n, write_photo(tmp_path / "photos" / n, (25 * i, 7 * i, 99))) for i, n in enumerate(names)]


def expected_vectors(photos: list[Item]) -> np.ndarray:
    return np.stack([resize_photo(load_photo(p.path), 224).reshape(-1, 3).mean(0) for p in photos])


def test_vectors_and_grid_are_written_in_order(tmp_path: Path, photos: list[Item]) -> None:
    made = extract_features(photos, colour_backbone(), tmp_path / "f")
    assert made.ids == [photo.id for photo in photos]
    np.testing.assert_allclose(made.vectors, expected_vectors(photos), rtol=1e-4)
    assert (made.grid.shape, made.grid.dtype) == ((10, 4, 3), np.float16)
    np.testing.assert_allclose(made.grid[:].mean(1), made.vectors, rtol=0.01, atol=0.1)
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "checksums.json",
        "colour.pkl",
        "colour_grid.json",
        "colour_grid.npy",
    ]


def test_rows_find_photos_by_id(tmp_path: Path, photos: list[Item]) -> None:
    made = extract_features(photos, colour_backbone(), tmp_path)
    assert made.rows(["7.png", "0.png", "7.png"]).tolist() == [7, 0, 7]
    with pytest.raises(InputError, match="1 photos have no features, for example x"):
        made.rows(["0.png", "x"])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that were opened, in any order."""
    names: list[str] = []

    def load(path: Path, smallest_side: int | None = None) -> Image.Image:
        names.append(path.name)
        return load_photo(path, smallest_side)

    monkeypatch.setattr(store, "load_photo", load)
    return names


def test_second_extraction_computes_nothing_until_a_photo_changes(
    tmp_path: Path, photos: list[Item], decoded: list[str]
) -> None:
    first, second = (extract_features(photos, colour_backbone(), tmp_path) for _ in range(2))
    assert (first.looked_at, second.looked_at) == (10, 0) and first.grid.made_from == second.grid.made_from
    assert len(decoded) == 10
    write_photo(photos[4].path, (1, 2, 3), size=(50, 50))
    made = extract_features(photos, colour_backbone(), tmp_path)
    assert len(decoded) == 20
    np.testing.assert_allclose(made.vectors[4], expected_vectors(photos)[4], rtol=1e-4)
    assert made.grid.made_from != first.grid.made_from


def test_interrupted_extraction_goes_on_where_it_stopped(
    tmp_path: Path, photos: list[Item], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_CHUNK", 4)
    monkeypatch.setattr(store, "_AHEAD", 1)
    whole = extract_features(photos, colour_backbone(), tmp_path / "whole")

    with monkeypatch.context() as patch:
        open_photo = store.load_photo

        def stop_at_sixth(path: Path, smallest_side: int | None = None) -> Image.Image:
            if path.name == "6.png":
                raise KeyboardInterrupt
            return open_photo(path, smallest_side)

        patch.setattr(store, "load_photo", stop_at_sixth)
        with pytest.raises(KeyboardInterrupt):
            extract_features(photos, colour_backbone(), tmp_path / "cut")
    with pytest.raises(InputError, match="does not exist"):
        load_features(tmp_path / "cut", "colour")

    decoded.clear()
    made = extract_features(photos, colour_backbone(), tmp_path / "cut")
    assert decoded == [f"{number}.png" for number in range(4, 10)] and made.looked_at == 6
    np.testing.assert_array_equal(made.vectors, whole.vectors)
    np.testing.assert_array_equal(made.grid, whole.grid)


def test_an_extraction_that_was_interrupted_while_moving_its_files_starts_anew(
    tmp_path: Path, photos: list[Item], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract_features(photos, colour_backbone(), tmp_path / "whole")

    def stop_at_the_end(path: Path, content: object) -> None:
        if path.name == "colour_grid.json":  # the grid is in its place, the list of its rows is not
            raise KeyboardInterrupt
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_json", stop_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            extract_features(photos, colour_backbone(), tmp_path / "cut")
    assert (tmp_path / "cut" / "colour_grid.npy").exists() and (tmp_path / "cut" / "colour.partial").exists()
    with pytest.raises(InputError, match="does not exist"):
        load_features(tmp_path / "cut", "colour")

    decoded.clear()
    made = extract_features(photos, colour_backbone(), tmp_path / "cut")
    assert len(decoded) == 10
    np.testing.assert_array_equal(made.vectors, whole.vectors)
    np.testing.assert_array_equal(made.grid, whole.grid)
    assert not (tmp_path / "cut" / "colour.partial").exists()


def test_mirrored_features_are_those_of_photos_mirrored_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos, turned = [], []
    for number in range(4):
        # Blocks of 56 pixels in a photo of the network's size, so that nothing is resized.
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(56, axis=0).repeat(56, axis=1)
        for folder, items, image in (("plain", photos, pixels), ("turned", turned, pixels[:, ::-1])):
            path = tmp_path / folder / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(image)).save(path)
            items.append(Item(str(number), path))
    plain = extract_features(photos, colour_backbone(), tmp_path / "f")
    extract_features(photos, colour_backbone(), tmp_path / "f", mirrored=True)
    expected = extract_features(turned, colour_backbone(), tmp_path / "by hand")

    mirrored = load_features(tmp_path / "f", "colour", mirrored=True)
    assert mirrored.ids == plain.ids
    np.testing.assert_array_equal(mirrored.vectors, expected.vectors)
    np.testing.assert_array_equal(mirrored.grid, expected.grid)
    # Four quarters, row by row: left and right change places, above and below do not.
    np.testing.assert_allclose(mirrored.grid, plain.grid[:, [1, 0, 3, 2]], rtol=1e-3)
    assert np.abs(mirrored.grid[:] - plain.grid[:]).max() > 10
    np.testing.assert_array_equal(load_features(tmp_path / "f", "colour").grid, plain.grid)
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        *("checksums.json", "colour.pkl", "colour_grid.json", "colour_grid.npy"),
        *("colour_mirrored.pkl", "colour_mirrored_grid.json", "colour_mirrored_grid.npy"),
    ]


def test_what_does_not_fit_on_the_disk_is_not_begun(
    tmp_path: Path, photos: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, folder = colour_backbone(), tmp_path / "f"
    # A row: three float32 and, in the grid, four times three float16; the vectors lie there twice for a moment.
    monkeypatch.setattr("helpers.files.shutil.disk_usage", lambda _: SimpleNamespace(free=10 * (2 * 12 + 24) - 1))
    with pytest.raises(InputError, match="Features need"):
        check_disk(photos, [backbone], folder, mirrored=False)
    check_disk(photos[1:], [backbone], folder, mirrored=False)
    with pytest.raises(InputError, match="Features need"):
        check_disk(photos[:5] + photos[:1], [backbone], folder, mirrored=True)
    extract_features(photos, backbone, folder)
    check_disk(photos, [backbone], folder, mirrored=False)  # they are there


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, photos: list[Item]) -> None:
    extract_features(photos, colour_backbone(), tmp_path / "a")
    extract_features(photos[:5], colour_backbone(), tmp_path / "b")
    (tmp_path / "b" / "colour.pkl").replace(tmp_path / "a" / "colour.pkl")
    with pytest.raises(InputError, match=r"colour\.pkl is not as it was written"):
        load_features(tmp_path / "a", "colour")
    seal(tmp_path / "a", "colour.pkl")
    with pytest.raises(InputError, match="do not belong together"):
        load_features(tmp_path / "a", "colour")


@pytest.mark.parametrize("name", ["colour.pkl", "colour_grid.json", "colour_grid.npy"])
def test_damaged_features_are_refused_where_they_are_used_and_made_again_where_they_are_made(
    tmp_path: Path, photos: list[Item], name: str, capsys: pytest.CaptureFixture
) -> None:
    whole = extract_features(photos, colour_backbone(), tmp_path)
    vectors, grid = whole.vectors.copy(), np.array(whole.grid)
    content = bytearray((tmp_path / name).read_bytes())
    content[-5] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is not as it was written.*run notebook 02_features again"):
        load_features(tmp_path, "colour")
    made = extract_features(photos, colour_backbone(), tmp_path)
    assert "made again now" in capsys.readouterr().out
    np.testing.assert_array_equal(made.vectors, vectors)
    np.testing.assert_array_equal(made.grid, grid)


@pytest.mark.parametrize("content", [[1, 2], {"0.png": 1}, {"0.png": np.zeros((2, 2), np.float32)}, {}])
def test_a_pickle_of_something_else_than_vectors_is_refused(tmp_path: Path, photos: list[Item], content: Any) -> None:
    extract_features(photos, colour_backbone(), tmp_path)
    save_pickle(tmp_path / "colour.pkl", content)
    seal(tmp_path, "colour.pkl")
    with pytest.raises(InputError, match="do not belong together"):
        load_features(tmp_path, "colour")


def test_a_photo_that_is_gone_is_named_with_the_notebook_that_listed_it(tmp_path: Path, photos: list[Item]) -> None:
    photos[6].path.unlink()
    with pytest.raises(InputError, match=r"6\.png does not exist; run notebook 01_download first"):
        extract_features(photos, colour_backbone(), tmp_path / "f")


def test_torn_photo_is_named(tmp_path: Path, photos: list[Item]) -> None:
    photos[6].path.write_bytes(b"")
    with pytest.raises(InputError, match=r"6\.png is empty"):
        extract_features(photos, colour_backbone(), tmp_path / "f")


def test_torn_photo_is_named_while_the_network_is_still_busy(tmp_path: Path, photos: list[Item]) -> None:
    """A queue thrown away while one of its requests ran took the whole process with it, not every time."""
    for row in 4 * [*range(1, len(photos))]:
        whole = photos[row].path.read_bytes()
        photos[row].path.write_bytes(b"")
        with pytest.raises(InputError, match=rf"{row}\.png is empty"):
            extract_features(photos, colour_backbone(), tmp_path / "f")
        photos[row].path.write_bytes(whole)


def test_weights_tell_backbones_apart(tmp_path: Path, photos: list[Item], decoded: list[str]) -> None:
    first, other = colour_backbone(), colour_backbone()
    extract_features(photos, first, tmp_path)
    other.network.scale = nn.Parameter(torch.ones(1))
    extract_features(photos, other, tmp_path)
    assert len(decoded) == 20


def test_features_agree_with_pytorch(tmp_path: Path, photos: list[Item]) -> None:
    backbone = load_backbone("efficientnet_lite0")
    made = extract_features(photos[:3], backbone, tmp_path)
    vector, grid = photo_features(backbone, resize_photo(load_photo(photos[1].path), backbone.photo_size))
    np.testing.assert_allclose(made.vectors[1], vector, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made.grid[1], grid, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("name", "seed", "mirrored"), [("vgg16", 1, False), ("efficientnet_lite0+efficientnet_lite2", None, True)]
)
def test_last_layers_go_on_from_what_the_stem_has_seen(
    tmp_path: Path, decoded: list[str], name: str, seed: int | None, mirrored: bool
) -> None:
    some = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8)
    items = [Item(f"{number}.png", tmp_path / f"{number}.png") for number in range(2)]
    for item, pixels in zip(items, some, strict=True):
        Image.fromarray(pixels).save(item.path)
    whole = load_backbone(name, seed)
    direct = extract_features(items, whole, tmp_path / "direct", mirrored)
    stem = extract_features(items, stem_of(whole), tmp_path / "f", mirrored)
    decoded.clear()
    finished = extract_features(items, whole, tmp_path / "f", mirrored, stem)
    assert not decoded
    assert (finished.ids, finished.grid.shape) == (direct.ids, direct.grid.shape)
    for made, expected in ((finished.vectors, direct.vectors), (finished.grid[:], direct.grid[:])):
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(made, expected, atol=1e-3 * np.abs(expected).max())


def test_a_stem_that_has_not_seen_all_photos_is_refused(tmp_path: Path, photos: list[Item]) -> None:
    stem = extract_features(photos[:5], colour_backbone(), tmp_path / "stem")
    with pytest.raises(InputError, match=r"5 photos have no features, for example 5\.png"):
        extract_features(photos, colour_backbone(), tmp_path, stem=stem)
