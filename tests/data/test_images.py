from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import write_photo

from helpers.data.images import load_photo, load_pixels, resize_photo, unreadable_photos
from helpers.files import InputError


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "LA", "1"])
def test_every_mode_becomes_the_same_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"photo.{'jpg' if mode == 'CMYK' else 'png'}"
    Image.new("RGB", (32, 24), "white").convert(mode).save(path)
    photo = load_photo(path)
    assert (photo.mode, photo.size) == ("RGB", (32, 24))
    assert np.asarray(photo).min() > 250


def test_transparent_parts_show_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(load_photo(tmp_path / "clear.png")).min() == 255


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    grey = np.asarray(load_photo(tmp_path / "deep.png"))[..., 0].astype(int)
    np.testing.assert_allclose(grey, ramp // 256, atol=1)


def test_exif_turned_photo_stands_upright(tmp_path: Path) -> None:
    photo = Image.open(write_photo(tmp_path / "plain.png", size=(60, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the file must be turned 90 degrees clockwise
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = load_photo(tmp_path / "turned.jpg")
    assert upright.size == (40, 60)
    expected = np.rot90(np.asarray(photo), -1).astype(int)  # the dark third is now on top
    assert np.abs(np.asarray(upright).astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"this is a letter, not a photo", "is not an image"),
        ("torn.jpg", None, "cannot be read as a photo"),
    ],
)
def test_unusable_photos_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    whole = write_photo(tmp_path / "whole.jpg", size=(300, 300)).read_bytes()
    bad = tmp_path / name
    bad.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=message) as caught:
        load_photo(bad)
    assert name in str(caught.value)
    assert list(unreadable_photos([tmp_path / "whole.jpg", bad])) == [bad]


def test_missing_photo_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg does not exist"):
        load_photo(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="is a folder"):
        load_photo(tmp_path)


def test_resize_keeps_the_whole_photo(tmp_path: Path) -> None:
    square = resize_photo(load_photo(write_photo(tmp_path / "a.png", size=(90, 30))), 30)
    assert square.shape == (30, 30, 3)
    assert (square[:, :8] < 40).all()  # the dark left third is still a third
    assert (square[:, 12:, 0] > 150).all()


def test_shortcut_for_large_jpegs_gives_the_same_picture(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (1200, 1600, 3)).copy()).save(tmp_path / "big.jpg", quality=95)
    full = resize_photo(load_photo(tmp_path / "big.jpg"), 64).astype(int)
    draft = load_photo(tmp_path / "big.jpg", smallest_side=64)
    assert draft.width < 1600
    assert np.abs(resize_photo(draft, 64).astype(int) - full).max() <= 4


def test_pixels_are_in_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{n}.png", (25 * n, 0, 0)) for n in range(9)]
    pixels = load_pixels(paths, 16)
    assert (pixels.shape, pixels.dtype) == ((9, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(pixels[:, 8, 12, 0], [25 * n for n in range(9)], atol=1)
