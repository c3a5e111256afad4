"""Photos and captions small enough for tests."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_photo(path: Path, colour: tuple[int, int, int] = (200, 60, 30), size: tuple[int, int] = (40, 30)) -> Path:
    """A plain photo with a dark left third, so that mirroring and turning can be seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    pixels[:, : size[0] // 3] = 10
    Image.fromarray(pixels).save(path)
    return path


def write_captions(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """`captions.txt` with a header and `rows`."""
    path = folder / "captions.txt"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return path
