import io
import os
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from pillow_heif import register_heif_opener
from small_data import write_photo

from helpers.data.images import NOTICE, check_photos, find_photos, load_photo, load_pixels, resize_photo
from helpers.environment import project_root
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
    assert list(check_photos([tmp_path / "whole.jpg", bad]).bad) == [bad]


def test_missing_photo_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg does not exist"):
        load_photo(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="x does not exist"):
        load_photo(tmp_path / ("x" * 5000))
    with pytest.raises(InputError, match="check the path"):
        find_photos(tmp_path / ("x" * 5000))
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


def smooth(width: int = 96, height: int = 64) -> Image.Image:
    """A picture of soft colours, which every format keeps."""
    down, right = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * down / height, 255 * right / width, 128 + 0 * down], -1)  # (H, W, 3)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000", "PPM"])
def test_every_format_is_read_whatever_the_file_is_called(tmp_path: Path, kind: str) -> None:
    register_heif_opener()
    file = tmp_path / "photo.txt"
    smooth().save(file, kind)
    photo = load_photo(file)
    assert np.abs(np.asarray(photo).astype(int) - np.asarray(smooth())).mean() < 4
    assert find_photos(tmp_path).photos == [file]
    assert load_photo(file.read_bytes()) == photo == load_photo(Image.open(file))


def test_a_film_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        frames[0].save(tmp_path / "film", kind, save_all=True, append_images=frames[1:])
        red = np.asarray(load_photo(tmp_path / "film")).reshape(-1, 3).mean(0)
        np.testing.assert_allclose(red, (255, 0, 0), atol=6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "F", "CMYK"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_an_image_is_read_as_its_file_is(tmp_path: Path, mode: str, turn: int) -> None:
    image = smooth()
    if mode in {"RGBA", "LA"}:
        image.putalpha(90)
    if mode in {"I;16", "F"}:
        grey = np.asarray(image.convert("L"))
        image = Image.fromarray(grey.astype(np.float32) / 255 if mode == "F" else grey.astype(np.uint16) << 8)
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "photo.tiff", exif=exif)
    photo = load_photo(tmp_path / "photo.tiff")
    opened = Image.open(io.BytesIO((tmp_path / "photo.tiff").read_bytes()))
    assert photo == load_photo(opened)
    assert (photo.mode, photo.size) == ("RGB", (64, 96) if turn == 6 else (96, 64))
    upright = load_photo(image).rotate({1: 0, 3: 180, 6: 270}[turn], expand=True)
    np.testing.assert_array_equal(photo, upright)
    np.testing.assert_array_equal(resize_photo(opened, 32), resize_photo(photo, 32))
    assert load_photo(photo) is photo


def test_deep_pixels_are_scaled_by_what_the_file_says_or_holds(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float64).reshape(8, 8)
    cases = {
        "full": (np.uint16, 65535, None),
        "twelve": (np.uint16, 4095, "12 bits"),
        "low": (np.uint16, 31, "5 bits"),
        "unit": (np.float32, 1, "1 is taken for white"),
        "bytes": (np.float32, 255, "255 is taken"),
        "far": (np.float32, 7000, "7000 is taken"),
    }
    for name, (kind, top, notice) in cases.items():
        Image.fromarray((ramp * top).astype(kind)).save(tmp_path / f"{name}.tiff")
        photo = load_photo(tmp_path / f"{name}.tiff")
        np.testing.assert_allclose(
            np.asarray(photo)[..., 0], 255 * ramp, atol=255 / min(top, 255) + 1 if top > 1 else 1
        )
        assert notice in photo.info[NOTICE] if notice else NOTICE not in photo.info
    # Half as bright as what the file says is white.
    Image.fromarray((ramp * 2000).astype(np.uint16)).save(tmp_path / "said.tiff", tiffinfo={281: 4000})
    said = load_photo(tmp_path / "said.tiff")
    np.testing.assert_allclose(np.asarray(said)[..., 0], 127.5 * ramp, atol=1.1)
    assert NOTICE not in said.info


def test_pixels_that_are_no_numbers_are_black_or_refused(tmp_path: Path) -> None:
    levels = np.full((8, 8), np.nan, np.float32)
    Image.fromarray(levels).save(tmp_path / "nothing.tiff")
    with pytest.raises(InputError, match="none of its pixels is a number"):
        load_photo(tmp_path / "nothing.tiff")
    levels[0] = (0, 0.25, 0.5, 1, np.inf, -np.inf, np.nan, -1)
    Image.fromarray(levels).save(tmp_path / "some.tiff")
    row = np.asarray(load_photo(tmp_path / "some.tiff"))[0, :, 0].astype(int)
    np.testing.assert_allclose(row, [0, 64, 128, 255, 255, 0, 0, 0], atol=1)


def test_lab_is_read_by_its_colours(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(smooth(), to_lab).save(tmp_path / "lab.tiff")
    assert np.abs(np.asarray(load_photo(tmp_path / "lab.tiff")).astype(int) - np.asarray(smooth())).mean() < 4


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("smallest_side", [None, 16])
def test_a_jpeg_without_its_last_bytes_is_repaired_and_that_is_said(
    tmp_path: Path, progressive: bool, smallest_side: int | None
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((800, 600)).save(tmp_path / "whole.jpg", progressive=progressive, quality=90)
    content, whole = (tmp_path / "whole.jpg").read_bytes(), load_photo(tmp_path / "whole.jpg", smallest_side)
    assert NOTICE not in whole.info
    for lost in (1, 2, 40):
        torn = tmp_path / "torn.jpg"
        torn.write_bytes(content[:-lost])
        photo = load_photo(torn, smallest_side)
        changed = np.abs(np.asarray(photo).astype(int) - np.asarray(whole)).max(-1) > 8  # (H, W)
        assert changed.mean() < 0.02
        assert "end of its file is missing" in photo.info[NOTICE]
        assert list(check_photos([torn]).repaired) == [torn]
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(InputError, match="a part of it is missing"):
            load_photo(content[: int(share * len(content))], smallest_side, "torn.jpg")
        after_marker = content.index(b"\xff", int(share * len(content))) + 1  # which something else then completes
        for room in (b"", bytes(len(content) - after_marker)):  # or as a download reserved it
            with pytest.raises(InputError, match="a part of it is missing"):
                load_photo(content[:after_marker] + room, smallest_side, "torn.jpg")


def test_a_file_that_is_refused_is_told_once_and_by_its_name(tmp_path: Path) -> None:
    """In a process of its own: pytest has filters of its own."""
    (tmp_path / "raw.cr2").write_bytes(b"II*\0\x08\0\0\0")
    code = "import sys; from pathlib import Path; from helpers.data.images import check_photos; "
    code += "print(check_photos([Path(sys.argv[1])]).bad)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "raw.cr2"], cwd=project_root(), capture_output=True, text=True
    )
    assert "raw.cr2" in done.stdout and "Warning" not in done.stderr, done.stderr


def test_bytes_before_and_after_a_jpeg_are_passed_over(tmp_path: Path) -> None:
    content = write_photo(tmp_path / "whole.jpg").read_bytes()
    photo = load_photo(b"\r\n--" + content + b"<script>" * 99)
    np.testing.assert_array_equal(photo, load_photo(tmp_path / "whole.jpg"))
    assert photo.info[NOTICE] == "4 bytes before its beginning are passed over"


def png_of(width: int, height: int) -> bytes:
    """The header of a PNG that says it has so many pixels, and almost none of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says that it has another size."""
    start = next(place for place in range(len(jpeg)) if jpeg[place : place + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return jpeg[: start + 5] + struct.pack(">HH", height, width) + jpeg[start + 9 :]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest brings its own filters
@pytest.mark.parametrize("smallest_side", [None, 64])
def test_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch, smallest_side: int | None) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    plain, progressive = io.BytesIO(), io.BytesIO()
    smooth().save(plain, "JPEG")
    smooth().save(progressive, "JPEG", progressive=True)
    bombs = [
        png_of(20_000, 20_000),
        png_of(60_000, 60_000),
        with_size(plain.getvalue(), 60_000, 60_000),
        with_size(progressive.getvalue(), 20_000, 19_000),
    ]
    for bomb in bombs:
        with pytest.raises(InputError, match="pixels"):
            load_photo(bomb, smallest_side, "bomb")
    again = progressive.getvalue()
    scan = again.index(b"\xff\xda")
    with pytest.raises(InputError, match=r"progressive JPEG of 2,000 scans"):
        load_photo(again[:scan] + again[scan:-2] * 200, smallest_side)


def test_a_very_large_jpeg_is_decoded_as_a_draft(tmp_path: Path) -> None:
    Image.new("RGB", (12_000, 9_000), "teal").save(tmp_path / "large.jpg")
    assert load_photo(tmp_path / "large.jpg").size == (6_000, 4_500)
    assert load_photo(tmp_path / "large.jpg", 64).size == (1_500, 1_125)


def test_photos_are_found_in_all_folders_in_a_fixed_order(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    names = ["b.JPG", 'a/z, "1".jpeg', f"a/{decomposed}", f"b/{composed}", "b/two\nlines.png", "c/no suffix"]
    for name in names:
        smooth(8, 8).save(write_photo(tmp_path / "x" / "plain.png").parent / "plain.png")
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / "plain.png").replace(tmp_path / "x" / name)
    for hidden in (".hidden.jpg", "a/._é.jpg", "@eaDir/b.jpg", ".git/c.jpg", "Thumbs.db", "desktop.ini", ".DS_Store"):
        write_photo(tmp_path / "plain.png").rename(
            (tmp_path / "x" / hidden).parent / Path(hidden).name
            if (tmp_path / "x" / hidden).parent.is_dir()
            else tmp_path / "x" / Path(hidden).parent
        )
    (tmp_path / "x" / "letter.txt").write_text("no photo")
    (tmp_path / "x" / "back").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "x" / "pipe.jpg")
    (tmp_path / "x" / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    found = find_photos(tmp_path / "x")
    assert [str(path.relative_to(tmp_path / "x")) for path in found.photos] == sorted(
        names, key=lambda name: unicodedata.normalize("NFC", name)
    )
    assert {os.fsencode(path.name): why for path, why in found.passed_over.items()} == {
        b"letter.txt": "not an image",
        b"gone.jpg": "a link to nothing",
        b"pipe.jpg": "not a file",
        b"\xff.jpg": "its name is not UTF-8",
    }
    with pytest.raises(InputError, match="not a folder of photos"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a file"):
        load_photo(tmp_path / "x" / "pipe.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such folders")
def test_photos_in_a_folder_that_may_be_listed_and_not_entered_are_told() -> None:
    with tempfile.TemporaryDirectory() as name:  # not in a folder of the tests, which another user may not enter
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o755)
        for path in (folder / "a.jpg", folder / "closed" / "b.jpg", folder / "closed" / "c" / "d.jpg"):
            path.parent.mkdir(exist_ok=True)
            smooth(8, 8).save(path)
        (folder / "closed").chmod(0o444)
        try:
            if user == 0:  # whom no folder keeps out
                os.seteuid(65534)
            found = find_photos(folder)
        finally:
            os.seteuid(user)
            (folder / "closed").chmod(0o755)
        assert found.photos == [folder / "a.jpg"]
        assert found.passed_over[folder / "closed" / "b.jpg"] == "cannot be read (Permission denied)"
        assert found.passed_over[folder / "closed" / "c"] == "Permission denied"
