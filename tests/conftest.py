"""Fixtures shared by the tests: small captioned folders that look like the Kaggle ones."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# The tensors of the tests are tiny. On a busy machine a second thread would cost a hundred times what it saves.
torch.set_num_threads(1)


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


@pytest.fixture
def captioned_folder(tmp_path: Path) -> Path:
    """Twelve photos with two captions each, one of them with a comma."""
    folder = tmp_path / "captioned"
    rows = []
    for number in range(12):
        name = f"photo_{number:02d}.jpg"
        write_photo(folder / "Images" / name, (20 * number, 100, 200 - 10 * number))
        rows += [(name, f"A red dog , number {number} , runs ."), (name, "A dog on a hill .")]
    write_captions(folder, rows)
    return folder


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """Two classes with twelve photos each, in the Animals-10 layout."""
    for number in range(12):
        write_photo(tmp_path / "classes" / "raw-img" / "cane" / f"{number}.jpg", (10 * number, 0, 0))
        write_photo(tmp_path / "classes" / "raw-img" / "gatto" / f"{number}.png", (0, 10 * number, 0))
    return tmp_path / "classes"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder of a finished run in miniature, see tiny_run.py; tests that change it take a copy."""
    from tiny_run import make_tiny_run  # here, since only the tests of the search need so much

    outputs = tmp_path_factory.mktemp("tiny_run")
    make_tiny_run(outputs)
    return outputs
