"""Karpathy's split files `dataset_*.json`: which photo trains, validates or tests (Karpathy and Fei-Fei 2015)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from unicodedata import normalize

from pydantic import Field

from helpers.data.manifest import Split
from helpers.files import InputError, read_as

_COCO_2014 = re.compile(r"COCO_(?:train|val)2014_(\d{12}\.jpg)")


@dataclass
class _Image:
    filename: Annotated[str, Field(min_length=1)]
    split: Literal["train", "restval", "val", "test"]
    cocoid: Annotated[int, Field(ge=0, lt=10**12)] | None = None


@dataclass
class _SplitFile:
    images: Annotated[list[_Image], Field(min_length=1)]


def read_karpathy_split(path: Path) -> dict[str, Split]:
    """Split of each photo by file name (in its composed form, NFC); "restval", COCO's second training part, is "train".

    Raises:
        InputError: the file is not a split file, or has a photo in two splits.
    """
    splits: dict[str, Split] = {}
    for image in read_as(_SplitFile, path, made_by="the download of the split files").images:
        # COCO 2017 names its photos by number alone: 000000391895.jpg.
        name = normalize("NFC", image.filename) if image.cocoid is None else f"{image.cocoid:012d}.jpg"
        split = {"restval": "train"}.get(image.split, image.split)
        if splits.setdefault(name, split) != split:
            raise InputError(f"{path} has {name} in {splits[name]} and in {split}; give each photo one split.")
    return splits


def name_in_split_file(path: Path) -> str:
    """What `read_karpathy_split` calls a photo: COCO's by its number, in 2014 as in 2017.

    >>> name_in_split_file(Path("val2014/COCO_val2014_000000000042.jpg"))
    '000000000042.jpg'
    """
    name = normalize("NFC", path.name)
    numbered = _COCO_2014.fullmatch(name)
    return numbered[1] if numbered else name
