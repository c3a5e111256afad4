"""Photos: open any of them as upright RGB, and bring them to the square of bytes that the networks take."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.environment import cores, progress
from helpers.files import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def load_photo(path: Path, smallest_side: int | None = None) -> Image.Image:
    """The photo at `path` as upright 8-bit RGB, whatever the file holds: CMYK, palette, grey, 16-bit, alpha, EXIF turn.

    Args:
        path: an image file.
        smallest_side: pixels that are needed; a large JPEG is then decoded at a fraction of its size, much faster.

    Raises:
        InputError: the file is missing, empty, torn, or not an image.
    """
    try:
        with Image.open(path) as image:
            if smallest_side is not None:
                image.draft(None, (2 * smallest_side, 2 * smallest_side))  # JPEG only; others ignore it
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give an image file.") from None
    except UnidentifiedImageError:
        reason = "is empty" if path.stat().st_size == 0 else "is not an image"
        raise InputError(f"{path} {reason}; replace it or take it out.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a photo ({error}); replace it or take it out.") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: keep the high byte; a plain convert would clip to white
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        # What shows through a transparent photo is the page: white.
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def resize_photo(image: Image.Image, size: int) -> np.ndarray:
    """The whole photo as a uint8 array (size, size, 3): squeezed, not cropped, since a caption may name its edges."""
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


def unreadable_photos(paths: Sequence[Path]) -> dict[Path, str]:
    """The photos that cannot be used, each with the sentence that says why."""

    def reason(path: Path) -> str | None:
        try:
            load_photo(path)
        except InputError as error:
            return str(error)
        return None

    reasons = in_threads(reason, paths, "checking photos")
    return {path: why for path, why in zip(paths, reasons, strict=True) if why is not None}
