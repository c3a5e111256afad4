"""Photos: the one door into the house. Find them, open any of them as upright RGB, bring them to a square of bytes.

What a file holds makes it a photo, never its name: JPEG, PNG, WebP, GIF (its first frame), TIFF, BMP, HEIC/HEIF, AVIF,
JPEG 2000 and PPM. Hidden and system files are none. What Pillow could open besides stays outside: EPS would start
Ghostscript on a stranger's file.
"""

import errno
import io
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile, UnidentifiedImageError

from helpers.environment import cores, progress
from helpers.files import InputError, first_line, is_hidden, there, walk

Item = TypeVar("Item")
Result = TypeVar("Result")
PhotoSource = Path | bytes | Image.Image

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .tif .tiff .bmp .heic .heif .avif .jp2 .ppm".split()  # as cameras name them
)
NOTICE = "notice"  # in a photo's `info`: what had to be done so that it could be used
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")
_TURNS = {  # EXIF's orientation -> what makes the photo upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What a photo takes in memory is known before it is decoded: four bytes a pixel. Large JPEGs are decoded at a half
# to an eighth of their size; all other formats, and progressive JPEGs, only as a whole.
MOST_PIXELS, MOST_PIXELS_AS_DRAFT = 100_000_000, 400_000_000
Image.MAX_IMAGE_PIXELS = MOST_PIXELS_AS_DRAFT // 2  # Pillow warns here, and refuses at twice as many
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What else it warns of is in notes that are read for one number, and it does not say of which file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
_MOST_SCANS = 200  # of a progressive JPEG; encoders make about ten, and a hostile file has it decoded once for each


def load_photo(source: PhotoSource, smallest_side: int | None = None, name: str = "the photo") -> Image.Image:
    """Any photo as upright 8-bit RGB, whatever it comes as: CMYK, palette, grey, 16 bits, alpha, EXIF turn.

    An image that Pillow opened gives the same as its file. What had to be done so that the photo could be used (an end
    that was missing, a scale that the file does not tell) stands in its `info[NOTICE]`.

    Args:
        source: a file, its bytes, or an image; upright RGB is handed back as it is.
        smallest_side: pixels that are needed; a large JPEG is then decoded at a fraction of its size, much faster.
        name: what messages call a photo that has no path.

    Raises:
        InputError: there is no such file, or it is empty, torn, too large, or not an image.
    """
    if isinstance(source, Path):
        name = str(source)
        if not there(source.is_file):
            problem = (
                "is a folder" if there(source.is_dir) else "is not a file" if there(source.exists) else "does not exist"
            )
            raise InputError(f"{source} {problem}; give an image file.")
    try:
        if isinstance(source, Image.Image):
            plain = type(source) is Image.Image and source.mode == "RGB" and not source.info.keys() - {NOTICE}
            return source if plain else _upright_rgb(source)
        # Pillow is given the open file and not its path: it would map some TIFFs into memory, and turns those wrongly.
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            return _open_and_decode(file, smallest_side)
    except UnidentifiedImageError as error:
        raise InputError(f"{name} {error}; replace it or take it out.") from None
    except Exception as error:  # for damaged files Pillow's readers raise all kinds: struct.error, KeyError and so on
        reason = first_line(error)
        raise InputError(f"{name} cannot be read as a photo ({reason}); replace it or take it out.") from None


def _open_and_decode(file: BinaryIO, smallest_side: int | None) -> Image.Image:
    try:
        image = open_header(file)
    except UnidentifiedImageError:
        content = _content(file)
        start = content.find(b"\xff\xd8\xff", 0, 64)
        if start < 0:
            raise UnidentifiedImageError("is not an image" if content else "is empty") from None
        # A JPEG behind a few bytes that a transfer left there.
        photo = _open_and_decode(io.BytesIO(content[start:]), smallest_side)
        return _with_notice(photo, f"{start} bytes before its beginning are passed over")
    _check_size(image)
    _draft(image, smallest_side)
    try:
        return _upright_rgb(image)
    except OSError:
        if image.format not in ("JPEG", "MPO"):
            raise
        return _without_its_end(_content(file), smallest_side)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def open_header(file: BinaryIO) -> ImageFile.ImageFile:
    """The header of a photo alone; pixels are decoded later.

    Raises:
        UnidentifiedImageError: it is no photo.
    """
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        _register_heif()
        return Image.open(file, formats=("HEIF",))


@cache
def _register_heif() -> None:
    """Teach Pillow HEIC; once, and only where a file has no other format, since the import takes 0.08 s."""
    from pillow_heif import register_heif_opener

    register_heif_opener()


def _check_size(image: ImageFile.ImageFile) -> None:
    progressive = image.info.get("progressive")
    whole = progressive or image.format not in ("JPEG", "MPO")
    if image.width * image.height > (MOST_PIXELS if whole else MOST_PIXELS_AS_DRAFT):
        limit = f"{MOST_PIXELS // 1_000_000} million, of a plain JPEG {MOST_PIXELS_AS_DRAFT // 1_000_000} million"
        raise ValueError(f"it has {image.width:,} x {image.height:,} pixels, and at most {limit} are decoded")
    if progressive and (scans := _content(image.fp).count(b"\xff\xda")) > _MOST_SCANS:
        raise ValueError(f"it is a progressive JPEG of {scans:,} scans")


def _draft(image: ImageFile.ImageFile, smallest_side: int | None) -> None:
    """Have a JPEG decoded at a half, a quarter or an eighth of its size, where that is enough; others ignore it."""
    if smallest_side is not None:
        image.draft(None, (2 * smallest_side, 2 * smallest_side))
    elif image.width * image.height > MOST_PIXELS:
        image.draft(None, (image.width // 2, image.height // 2))


def _without_its_end(content: bytes, smallest_side: int | None) -> Image.Image:
    """A JPEG that was cut off at its end, if no more than a fiftieth of the photo is missing.

    Nothing in the file says how much is missing. But other bytes put in the place of the lost ones change the photo
    there, and nowhere else.

    Raises:
        ValueError: more is missing.
    """

    # Of a marker cut in half, the filler would make a whole one, at which decoding ends whatever follows; room that a
    # download had reserved and never filled is as good as missing.
    content = content.rstrip(b"\xff\x00")

    def decode(filler: bytes, side: int | None = None) -> Image.Image:
        with Image.open(io.BytesIO(content + filler + b"\xff\xd9"), formats=("JPEG",)) as image:
            _draft(image, side)
            return _upright_rgb(image)

    photo, other = decode(b""), decode(bytes(range(1, 255)) * 256)
    left, top, right, bottom = ImageChops.difference(photo, other).getbbox() or (0, 0, 0, 0)
    if 50 * (right - left) * (bottom - top) > photo.width * photo.height:
        raise ValueError("a part of it is missing")
    if smallest_side is not None:
        photo = decode(b"", smallest_side)
    lost = ", and what was lost of the photo is grey" if right else ""
    return _with_notice(photo, f"the end of its file is missing{lost}")


def _with_notice(photo: Image.Image, notice: str) -> Image.Image:
    photo.info[NOTICE] = "; ".join(filter(None, (photo.info.get(NOTICE), notice)))
    return photo


def _upright_rgb(image: Image.Image) -> Image.Image:
    """A new image of the pixels of `image`, with nothing else that its file said."""
    image.load()
    photo = _as_rgb(image)
    photo = photo.transpose(_TURNS[turn]) if (turn := image.getexif().get(0x0112)) in _TURNS else photo
    photo.info = {NOTICE: photo.info[NOTICE]} if NOTICE in photo.info else {}
    return photo


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a photo as it is shown, from its header alone; damaged EXIF may raise anything."""
    on_its_side = image.getexif().get(0x0112) in (5, 6, 7, 8) and image.format != "TIFF"  # which Pillow turns by itself
    return image.size[::-1] if on_its_side else image.size


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _as_bytes(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        # What shows through a transparent photo is the page: white.
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _as_bytes(image: Image.Image) -> Image.Image:
    """Grey levels of more than 8 bits, or numbers with a point, as RGB from black to white.

    White is what the file says it is. Most say nothing: then it is what the bits in use could hold (4,095 for the 12
    bits of a camera in 16), and for numbers with a point 1, 255 or the largest there is.

    Raises:
        ValueError: no pixel is a number.
    """
    levels = np.asarray(image).astype(np.float32)  # (H, W)
    finite = levels[np.isfinite(levels)]
    if not finite.size:
        raise ValueError("none of its pixels is a number")
    largest = float(finite.max())
    white, notice = _largest_sample(image), None
    if white is None and image.mode == "F":
        white = next((level for level in (1.0, 255.0) if largest <= level), largest)
        notice = f"its pixels go up to {largest:g}, and {white:g} is taken for white"
    elif white is None:
        bits = int(max(largest, 1)).bit_length()
        bits = 16 if bits == 15 else bits
        white = float(2**bits - 1)
        notice = None if bits == 16 else f"its pixels use {bits} bits, and {white:,.0f} is taken for white"
    grey = np.nan_to_num(levels * (255 / white), nan=0, posinf=255, neginf=0)
    photo = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    return _with_notice(photo, notice) if notice else photo


def _largest_sample(image: Image.Image) -> float | None:
    """What a TIFF says is white: SMaxSampleValue, or MaxSampleValue."""
    for tag in (341, 281):
        value = getattr(image, "tag_v2", {}).get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def resize_photo(image: Image.Image, size: int) -> np.ndarray:
    """The whole photo as a uint8 array (size, size, 3): squeezed, not cropped, since a caption may name its edges."""
    image = load_photo(image)  # hands back what it made itself
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)  # Pillow filters before it shrinks
    return np.asarray(image)  # (size, size, 3)


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """`function` of every item, in order, on all cores: Pillow lets go of Python's lock while it decodes."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(progress(pool.map(function, items), description, total=len(items), unit="photo"))


def load_pixels(paths: Sequence[Path], size: int, description: str = "decoding photos") -> np.ndarray:
    """All photos as one uint8 array (N, size, size, 3): decoded once, then augmented and batched from memory.

    Raises:
        InputError: a photo cannot be read.
    """
    pixels = np.empty((len(paths), size, size, 3), np.uint8)

    def decode(row: int) -> None:
        pixels[row] = resize_photo(load_photo(paths[row], size), size)

    in_threads(decode, range(len(paths)), description)
    return pixels


class Check(NamedTuple):
    """What looking at photos found out."""

    bad: dict[Path, str]  # those that cannot be used, each with the sentence that says why
    repaired: dict[Path, str]  # those that can, but for which something had to be done: what


def check_photos(paths: Sequence[Path]) -> Check:
    """Decode each photo once, as far as that shows whether it is whole."""

    def look(path: Path) -> tuple[str | None, str | None]:
        try:
            return None, load_photo(path, 1).info.get(NOTICE)
        except InputError as error:
            return str(error), None

    seen = dict(zip(paths, in_threads(look, paths, "checking photos"), strict=True))
    return Check(
        {path: problem for path, (problem, _) in seen.items() if problem},
        {path: notice for path, (_, notice) in seen.items() if notice},
    )


class Found(NamedTuple):
    """What a folder holds."""

    photos: list[Path]
    passed_over: dict[Path, str]  # what is no photo: why


def find_photos(folder: Path) -> Found:
    """All photos in `folder` and the folders in it, in an order that does not depend on the disk.

    A file is a photo if its name says so, or its content does; whether it is whole shows when it is opened. Hidden
    and system files are passed over without a word. Links are followed, to each folder once.

    Raises:
        InputError: there is no such folder, or it cannot be opened.
    """
    if not there(folder.is_dir):
        raise InputError(
            f"{folder} is not a folder of photos; {'give its folder' if there(folder.exists) else 'check the path'}."
        )
    photos, passed_over = [], {}
    for path, problem in walk(folder):
        problem = problem or why_no_photo(path)
        if problem:
            passed_over[path] = problem
        else:
            photos.append(path)
    if folder in passed_over:
        raise InputError(f"The folder {folder} cannot be opened ({passed_over[folder]}); check its permissions.")
    # By the composed form of the names: a copy from a Mac has them decomposed, and stays in the same order.
    # With slashes: those of Windows sort elsewhere.
    key = {path: (unicodedata.normalize("NFC", path.as_posix()), str(path)) for path in [*photos, *passed_over]}
    return Found(sorted(photos, key=key.get), {path: passed_over[path] for path in sorted(passed_over, key=key.get)})


def why_no_photo(path: Path) -> str | None:
    """What speaks against a file's being a photo, looking at its name and its first bytes; None: nothing does."""
    if is_hidden(path.name):
        return "hidden"
    try:
        if not S_ISREG(path.stat().st_mode):
            return "not a file"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return "a link to nothing" if path.is_symlink() else "not a file"
        return f"cannot be read ({error.strerror})"  # as in a folder that may be listed, and not entered
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if path.suffix.lower() in SUFFIXES:
        return None
    try:
        with path.open("rb") as file:
            open_header(file)
    except UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # as in `load_photo`
        return f"cannot be read ({error})"
    return None
