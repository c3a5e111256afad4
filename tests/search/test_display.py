"""What a file says of itself, for every format that a photo may have."""

import subprocess
import sys
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from helpers.data.images import load_photo
from helpers.environment import project_root
from helpers.search.display import photo_details


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg"])
def test_details_are_read_from_any_photo_also_the_first_of_a_process(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    exif = Image.Exif()
    exif[272] = "Camera 7"
    image = Image.new("RGB", (48, 32), "green")
    if name.endswith("heic"):
        pillow_heif.from_pillow(image).save(path, exif=exif.tobytes())
    else:
        image.save(path, exif=exif)
    # A process of its own: reading HEIC is learned once, and another test may have taught it.
    code = "import sys, pathlib; from helpers.search.display import photo_details as details; "
    code += "print(details(pathlib.Path(sys.argv[1])))"
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=project_root(), capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "{'Camera': 'Camera 7', 'Size': '48 × 32 pixels'}"


@pytest.mark.parametrize("turn", [None, *range(1, 9)])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "photo.webp", "photo.heic"])
def test_the_size_is_that_of_the_upright_photo(tmp_path: Path, name: str, turn: int | None) -> None:
    exif = Image.Exif()
    if turn is not None:
        exif[0x0112] = turn
    image = Image.new("RGB", (48, 32), "green")
    if name.endswith("heic"):
        pillow_heif.from_pillow(image).save(tmp_path / name, exif=exif.tobytes())
    else:
        image.save(tmp_path / name, exif=exif)
    width, height = load_photo(tmp_path / name).size
    assert photo_details(tmp_path / name) == {"Size": f"{width} × {height} pixels"}
