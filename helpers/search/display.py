"""How photos are shown: small pictures, tidy captions, what a file says of itself; and how dropped ones come in.

Pictures are always made anew from the pixels, as JPEG. What else a file holds (a place, a name, a script) stays in it,
and photos show that no browser could open by itself.
"""

import io
import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from PIL import Image
from PIL.ExifTags import IFD, Base

from helpers.data.images import load_photo, open_header, upright_size
from helpers.files import InputError

SMALL, LARGE = 400, 1600  # pixels of the longer side: in a grid of hits, and alone on a page
LONG_SIDE = 640  # pixels of a dropped photo that are worth decoding: twice what the largest backbone looks at


def as_jpeg(image: Image.Image, side: int = SMALL) -> bytes:
    """`image` as a JPEG of at most `side` pixels a side."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def small_picture(path: Path) -> bytes:
    """The photo at `path` for a grid of hits.

    Raises:
        InputError: the photo cannot be read.
    """
    return _small(path, file_version(path))


def large_picture(path: Path) -> bytes:
    """The photo at `path` for a page of its own; raises as `small_picture` does."""
    return _large(path, file_version(path))


# A photo that is found often is made small once, and again when its file has changed.
@lru_cache(maxsize=4096)  # 80 MB
def _small(path: Path, version: int) -> bytes:
    return as_jpeg(load_photo(path, SMALL // 2), SMALL)


@lru_cache(maxsize=32)  # 10 MB
def _large(path: Path, version: int) -> bytes:
    return as_jpeg(load_photo(path, LARGE // 2), LARGE)


def file_version(path: Path) -> int:
    """A number that changes when the file does; 0 if it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def tidy(caption: str) -> str:
    """A caption for people: data sets write a space before the full stop."""
    return re.sub(r"\s+([.,!?])", r"\1", caption)


def photo_details(path: Path) -> dict[str, str]:
    """What a file says of itself, as label -> text: when it was taken and with what (EXIF), and its size in pixels.

    What is missing, or makes no sense, is left out. Texts are as the file has them, and not yet safe as HTML.

    Raises:
        InputError: the file is gone, or no photo.
    """
    try:
        with path.open("rb") as file:
            image = open_header(file)
            width, height = image.size
            try:
                width, height = upright_size(image)
                exif = image.getexif()
                taken = exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal) or exif.get(Base.DateTime)
                maker, model = (_line(exif.get(tag)) for tag in (Base.Make, Base.Model))
            except Exception:  # Pillow raises whatever its decoder of damaged EXIF stumbles over
                taken, maker, model = None, "", ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"{path} cannot be read as a photo any more; was it moved or changed?") from None
    camera = model if model.startswith(maker) else f"{maker} {model}".strip()  # many cameras say their maker twice
    found = {"Taken": _date(taken), "Camera": camera, "Size": f"{width:,} × {height:,} pixels"}
    return {label: text for label, text in found.items() if text}


def _line(value: object) -> str:
    """A text of EXIF on one line of sensible length, without what cannot be printed."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:100]


def _date(value: object) -> str:
    """ "2021:05:12 14:03:59" as "12 May 2021, 14:03"; cameras whose clock was never set write zeros."""
    try:
        moment = datetime.strptime(_line(value), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def read_upload(name: str, content: bytes) -> Image.Image:
    """A photo that came as bytes, as upright RGB.

    Raises:
        InputError: it is empty, torn, or no image; the message names it `name`.
    """
    photo = load_photo(content, LONG_SIDE // 2, name)
    photo.thumbnail((LONG_SIDE, LONG_SIDE))
    return photo
