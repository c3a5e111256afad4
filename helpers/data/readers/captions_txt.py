"""`Images/` with `captions.txt`, CSV with the header `image,caption`: Flickr8k and Flickr30k on Kaggle."""

import csv
import re
from collections import defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from unicodedata import normalize

from helpers.data.images import SUFFIXES, why_no_photo
from helpers.data.readers.plain_text import read_text
from helpers.files import InputError

LONGEST = 10_000  # characters of a caption


def has_captions_txt(folder: Path) -> bool:
    """Whether `folder` is laid out so, perhaps not completely."""
    return (folder / "Images").is_dir() or (folder / "captions.txt").is_file()


def read_captions(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from `Images/` and `captions.txt`.

    Captions hold commas, and are then quoted: only a CSV reader gets them whole. A quote that is never closed would
    swallow the rows after it; its row ends where the next one begins. What is left out (missing photos, empty captions,
    repeated rows) is added to `notices`.

    Raises:
        InputError: the folder is not laid out as expected, or no caption belongs to a photo.
    """
    images, captions_file = folder / "Images", folder / "captions.txt"
    for path, there in ((images, images.is_dir()), (captions_file, captions_file.is_file())):
        if not there:
            raise InputError(
                f"{path} is missing, so {folder} is not a complete captioned data set; it needs Images/ and "
                "captions.txt (if it was downloaded, delete the folder and run again)."
            )
    # By the composed form of its name: a Mac writes é as two characters, and a caption file perhaps as one.
    present = {normalize("NFC", entry.name): entry for entry in images.iterdir()}
    captions: dict[str, list[str]] = defaultdict(list)
    dropped: dict[str, list[str]] = defaultdict(list)
    for image, caption in _caption_rows(captions_file, present, notices):
        if image not in present:
            dropped["name a photo that is missing in Images"].append(image)
        elif not any(character.isalnum() for character in caption):
            dropped["have an empty caption"].append(image)
        elif len(caption) > LONGEST:
            dropped[f"have a caption of more than {LONGEST:,} characters"].append(image)
        elif caption in captions[image]:
            dropped["repeat a row"].append(image)
        else:
            captions[image].append(caption)
    for reason, names in dropped.items():
        examples = ", ".join(dict.fromkeys(names[:3]))
        notices.append(f"{len(names):,} rows of {captions_file} {reason} and are left out, for example: {examples}.")
    uncaptioned = [name for name, path in present.items() if not captions.get(name) and not why_no_photo(path)]
    if uncaptioned:
        notices.append(
            f"{len(uncaptioned):,} photos in {images} have no caption and are left out, for example {min(uncaptioned)}."
        )
    found = {present[name]: tuple(rows) for name, rows in captions.items() if rows}
    if not found:
        raise InputError(
            f"No row of {captions_file} belongs to a photo in {images}; check the names in its first column."
        )
    return found


def _caption_rows(file: Path, present: Container[str], notices: list[str]) -> Iterator[tuple[str, str]]:
    """The name and the caption in each row."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", read_text(file, notices))
    torn: list[int] = []
    for number, row in _rows(lines, present, torn):
        if number == 1:
            if [cell.strip().lower() for cell in row] == ["image", "caption"]:
                continue
            if len(row) != 2 or Path(row[0]).suffix.lower() not in SUFFIXES:
                raise InputError(
                    f"The first line of {file} is {','.join(row)[:80]!r}, but should be the header image,caption."
                )
            notices.append(f"{file} has no header image,caption; its first line is read as a caption.")
        if len(row) != 2:
            raise InputError(
                f"Line {number} of {file} has {len(row)} columns instead of 2; "
                "put captions that hold a comma in double quotes."
            )
        yield normalize("NFC", row[0].strip()), " ".join(row[1].split())
    if torn:
        notices.append(
            f"{len(torn):,} rows of {file} are no CSV, mostly since a double quote is not closed or not doubled (first "
            f"at line {torn[0]}); everything behind the first comma is taken for the caption."
        )


def _rows(lines: list[str], present: Container[str], torn: list[int]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of its first line; rows that are no CSV are added to `torn`."""

    def up_to_the_next_row(start: int) -> Iterator[str]:
        yield lines[start]
        for line in lines[start + 1 : start + 100]:
            name = normalize("NFC", line.partition(",")[0].strip(' "'))
            if name in present or Path(name).suffix.lower() in SUFFIXES:
                return
            yield line

    place = 0
    while place < len(lines):
        row, used = lines[place].rstrip("\r\n").split(","), 1
        if '"' in lines[place]:
            reader = csv.reader(up_to_the_next_row(place), strict=True)
            try:
                row, used = next(reader), reader.line_num
            except csv.Error:
                name, _, caption = lines[place].partition(",")
                row = [name.strip(' "'), caption.strip().strip('"').replace('""', '"')]
                torn.append(place + 1)
        if row != [""]:
            yield place + 1, row
        place += used
