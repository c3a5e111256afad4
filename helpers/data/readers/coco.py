"""COCO: `train2017/` and `val2017/` (or 2014) beside `annotations/captions_*.json` (Chen et al., arXiv:1504.00325).

Files of another name that are made like these are read, too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.data.left_out import Findings
from helpers.data.readers.place import Captioned, Place, Row, join, split_of
from helpers.data.readers.tables import names_of, which_of
from helpers.files import InputError, read_as

_OTHER_KINDS = ("instances_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")


@dataclass
class _Image:
    id: int
    file_name: str


@dataclass
class _Caption:
    image_id: int
    caption: str | None = None  # boxes and outlines have none, whatever their file is called


@dataclass
class _Annotations:
    images: list[_Image]
    annotations: list[_Caption] | None = None


def read_coco(place: Place, findings: Findings) -> Captioned | None:
    """The captions of COCO's annotation files, of training and validation or of one of them; None: there are none.

    Raises:
        InputError: a file is not as expected, or no caption belongs to a photo.
    """
    files = [path for path in place.files(".json") if path.parent.name == "annotations"]
    chosen = sorted(path for path in files if path.name.startswith("captions_"))
    if len(chosen) == 1:
        findings.say(f"{chosen[0]} is the only file of captions; COCO has one for training and one for validation.")
    if not chosen:
        return None
    return _read(chosen, place, findings)


def read_like_coco(place: Place, findings: Findings) -> Captioned | None:
    """Captions of files of any name that are made like COCO's; None: there are none.

    Raises:
        InputError: a file is not as expected, or no caption belongs to a photo.
    """
    files = place.files(".json")
    chosen = which_of([path for path in files if _has_captions(path)], place)
    if chosen:
        return _read(chosen, place, findings)
    if others := [path for path in files if path.parent.name == "annotations" and path.name.startswith(_OTHER_KINDS)]:
        raise InputError(
            f"{others[0].parent} holds {', '.join(path.name for path in others[:3])}, which have no captions; put "
            "captions_train2017.json and captions_val2017.json of the same download beside them."
        )
    return None


def _read(files: list[Path], place: Place, findings: Findings) -> Captioned:
    rows = (row for file in files for row in _rows(file, place, findings, len(files) > 1))
    found = join(rows, place, files[0], findings, f"COCO, {names_of(files, place)}")
    if len(parts := set(found.splits.values())) != 1:
        return found
    findings.say(f"All photos with captions are of the part {parts.pop()}; which are to train on is left to chance.")
    return found._replace(splits={})


def _has_captions(file: Path) -> bool:
    """Whether a file of any name is made as COCO's are, and has captions."""
    if file.name.startswith(_OTHER_KINDS):
        return False
    try:
        content = file.read_bytes()
    except OSError:
        return False
    if not all(word in content for word in (b"image_id", b"caption", b"images")):
        return False  # which saves most of those that are none from being taken apart
    try:
        parts = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(parts, dict):
        return False
    return _any_with(parts.get("images"), "id", "file_name") and _any_with(
        parts.get("annotations"), "image_id", "caption"
    )


def _any_with(records: Any, *names: str) -> bool:
    return isinstance(records, list) and any(isinstance(one, dict) and one.keys() >= {*names} for one in records)


def _rows(file: Path, place: Place, findings: Findings, of_split: bool) -> Iterator[Row]:
    split = split_of(file, place.folder) if of_split else None
    part = file.stem.removeprefix("captions_")  # train2017, or train2014
    content = read_as(_Annotations, file, made_by="the download of COCO's captions")
    captions = content.annotations
    if captions is None or (captions and all(row.caption is None for row in captions)):
        raise InputError(
            f"{file} holds no captions but another kind of COCO's annotations; put {file.name} of the download of its "
            "captions in its place."
        )
    names = {image.id: image.file_name for image in content.images}
    for number, row in enumerate(captions, start=1):
        text = row.caption or ""
        if (name := names.get(row.image_id)) is None:
            where = f"image_id {row.image_id} ({file.name}, annotation {number})"
            findings.leave_out("caption", where, "of a photo that their file does not list", text)
        else:
            yield Row(f"{part}/{name}", text, f"annotation {number}", split)
