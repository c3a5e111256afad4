"""`Images/` with `captions.txt`, CSV with the header `image,caption`: Flickr8k and Flickr30k on Kaggle."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from helpers.data.images import SUFFIXES
from helpers.files import InputError


def has_captions_txt(folder: Path) -> bool:
    """Whether `folder` is laid out so, perhaps not completely."""
    return (folder / "Images").is_dir() or (folder / "captions.txt").is_file()


def read_captions(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from `Images/` and `captions.txt`.

    Captions hold commas, and are then quoted: only a CSV reader gets them whole. What is left out (missing photos,
    empty captions, repeated rows) is added to `notices`.

    Raises:
        InputError: the folder is not laid out as expected, or no caption belongs to a photo.
    """
    images, captions_file = folder / "Images", folder / "captions.txt"
    for path in (images, captions_file):
        if not path.exists():
            raise InputError(
                f"{path} is missing, so {folder} is not a complete captioned data set; it needs Images/ and "
                "captions.txt (if it was downloaded, delete the folder and run again)."
            )
    present = {entry.name for entry in images.iterdir()}
    captions: dict[str, list[str]] = defaultdict(list)
    dropped: dict[str, list[str]] = defaultdict(list)
    for image, caption in _caption_rows(captions_file, notices):
        if image not in present:
            dropped["name a photo that is missing in Images"].append(image)
        elif not any(character.isalnum() for character in caption):
            dropped["have an empty caption"].append(image)
        elif caption in captions[image]:
            dropped["repeat a row"].append(image)
        else:
            captions[image].append(caption)
    for reason, names in dropped.items():
        examples = ", ".join(dict.fromkeys(names[:3]))
        notices.append(f"{len(names):,} rows of {captions_file} {reason} and are left out, for example: {examples}.")
    uncaptioned = [name for name in present if Path(name).suffix.lower() in SUFFIXES and not captions.get(name)]
    if uncaptioned:
        notices.append(
            f"{len(uncaptioned):,} photos in {images} have no caption and are left out, for example {min(uncaptioned)}."
        )
    found = {images / name: tuple(rows) for name, rows in captions.items() if rows}
    if not found:
        raise InputError(
            f"No row of {captions_file} belongs to a photo in {images}; check the names in its first column."
        )
    return found


def _caption_rows(captions_file: Path, notices: list[str]) -> Iterable[tuple[str, str]]:
    raw = captions_file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        notices.append(f"{captions_file} is not UTF-8 (first at line {line}); it is read as Windows-1252 instead.")
        text = raw.decode("cp1252", errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    for number, row in enumerate(rows, start=1):
        if number == 1:
            if [cell.strip().lower() for cell in row] == ["image", "caption"]:
                continue
            if len(row) != 2 or Path(row[0]).suffix.lower() not in SUFFIXES:
                raise InputError(
                    f"The first line of {captions_file} is {','.join(row)[:80]!r}, "
                    "but should be the header image,caption."
                )
            notices.append(f"{captions_file} has no header image,caption; its first line is read as a caption.")
        if not row:
            continue
        if len(row) != 2:
            raise InputError(
                f"Line {rows.line_num} of {captions_file} has {len(row)} columns instead of 2; "
                "put captions that hold a comma in double quotes."
            )
        yield row[0].strip(), " ".join(row[1].split())
