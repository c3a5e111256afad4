"""A text file beside each photo, a caption a line: `dog.jpg` and `dog.txt`; also what a WebDataset's tar unpacks to."""

import json
from collections.abc import Iterator
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.data.readers.columns import captions_in
from helpers.data.readers.place import Captioned, Place, Row, join, lines_of

_ENDINGS = (".txt", ".caption", ".cap", ".json")
_FIELDS = ("captions", "caption", "text", "description", "title", "sentences")  # of a .json


def read_sidecars(place: Place, findings: Findings) -> Captioned | None:
    """The captions of the text files beside photos; None: fewer than half of the photos have one.

    Raises:
        InputError: all of them are empty.
    """
    photos: dict[str, list[Path]] = {}
    for path in place.photos:
        photos.setdefault(_key(path), []).append(path)
    beside = {path: _key(path) for path in place.others if path.suffix.lower() in _ENDINGS and _key(path) in photos}
    if not beside or 2 * len(set(beside.values())) < len(photos):
        return None
    endings = sorted({path.suffix.lower() for path in beside})
    if len(endings) > 1:  # .txt and .json of the same photo say the same in a WebDataset
        endings = [next(ending for ending in _ENDINGS if ending in endings)]
    files = sorted(path for path in beside if path.suffix.lower() in endings)
    rows = (row for file in files for row in _rows(file, photos[beside[file]], place, findings))
    return join(rows, place, place.folder, findings, f"a {endings[0]} beside each photo, with a caption a line")


def _key(path: Path) -> str:
    """What a photo and its text have in common: all but the suffix."""
    return str(path.with_suffix(""))


def _rows(file: Path, photos: list[Path], place: Place, findings: Findings) -> Iterator[Row]:
    text = place.text(file, findings)
    captions = [(f"line {number}", line) for number, line in lines_of(text)]
    if file.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            findings.leave_out("caption", place.name(file), "in a file that is not valid JSON")
            return
        fields = content if isinstance(content, dict) else {"captions": content}
        value = next((fields[name] for name in _FIELDS if fields.get(name)), None)
        captions = [("", caption) for caption in captions_in(value)] if value else []
    if not captions:
        findings.leave_out("caption", place.name(file), "in a file that is empty")
    for photo in photos:
        for where, caption in captions:
            yield Row(place.name(photo), caption, f"{file.name} {where}".strip())
