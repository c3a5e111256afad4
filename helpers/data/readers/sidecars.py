"""A text file beside each photo, a caption a line: `dog.jpg` and `dog.txt`; also what a WebDataset's tar unpacks to."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.data.readers.columns import captions_in
from helpers.data.readers.place import TEXTS, Captioned, Place, Row, join, lines_of

_FIELDS = ("captions", "caption", "text", "description", "title", "sentences")  # of a .json
_NUMBER = re.compile(r"[-+.,\d]+(e[-+]?\d+)?")
_LOOKED_AT = 60  # photos beside which something is said, to tell whether it is said in words

Captions = list[tuple[str, str]]  # place in the file, caption


def read_sidecars(place: Place, findings: Findings) -> Captioned | None:
    """The captions of the text files beside photos; None: fewer than half of the photos have one, or not in words.

    Of several beside one photo the first that holds words is read: .txt and .json say the same in a WebDataset.

    Raises:
        InputError: no caption can be used.
    """
    if first_in_words(place) is None:
        return None
    endings: set[str] = set()

    def rows() -> Iterator[Row]:
        for photos, files in _by_photo(place):
            file, captions, lacking = _read_first(files, place, findings)
            endings.add(file.suffix.lower())
            if lacking:
                findings.leave_out("caption", place.name(file), lacking)
            for photo in photos:
                yield from (Row(place.name(photo), text, f"{file.name} {where}".strip()) for where, text in captions)

    found = join(rows(), place, place.folder, findings, "")
    alone = []
    for file, why in place.beside_none().items():
        if why:
            findings.leave_out("caption", place.name(file), f"beside a file that is no photo ({why})")
        elif _read(file, place, Findings())[0]:  # words, and no list of photos
            alone.append(place.name(file))
    if alone:
        findings.say(f"Texts beside no photo were passed over ({len(alone):,}), such as {', '.join(alone[:3])}.")
    named = " or ".join(ending for ending in TEXTS if ending in endings)
    return found._replace(what=f"a {named} beside each photo, with a caption a line")


def first_in_words(place: Place) -> Path | None:
    """The first text beside a photo that holds words; None: fewer than half of the photos have a text, or not in words.

    What detectors are trained on lies beside photos, too: `0 0.5 0.5 0.2 0.3`, or outlines as JSON.
    """
    if not place.mostly_beside:
        return None
    first, worded, others = None, 0, 0
    for _, files in _by_photo(place):
        file, captions, lacking = _read_first(files, place, Findings())
        first = first or (file if captions else None)
        worded, others = worded + bool(captions), others + (lacking == _NO_WORDS)
        if worded + others == _LOOKED_AT:
            break
    return first if worded >= others else None


def _by_photo(place: Place) -> Iterable[tuple[list[Path], list[Path]]]:
    """The photos of each name, and the texts beside them."""
    files: dict[Path, list[Path]] = defaultdict(list)
    for file, photos in place.beside.items():
        files[photos[0]].append(file)
    for beside in files.values():
        yield place.beside[beside[0]], sorted(beside, key=lambda file: TEXTS.index(file.suffix.lower()))


def _read_first(files: list[Path], place: Place, findings: Findings) -> tuple[Path, Captions, str]:
    """The first of some files with captions in words, and these; else the first file, none, and why there are none."""
    why = ""
    for file in files:
        captions, lacking = _read(file, place, findings)
        if captions:
            return file, captions, ""
        why = why or lacking
    return files[0], [], why


_NO_WORDS = "in a file without words"


def _read(file: Path, place: Place, findings: Findings) -> tuple[Captions, str]:
    """The captions of a file, and why there are none."""
    text = place.text(file, findings)
    captions = [(f"line {number}", line) for number, line in lines_of(text)]
    if file.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return [], "in a file that is not valid JSON"
        fields = content if isinstance(content, dict) else {"captions": content}
        value = next((fields[name] for name in _FIELDS if fields.get(name)), None)
        captions = [("", caption) for caption in captions_in(value)] if value else []
    if not captions:
        return [], "in a file that is empty"
    worded = any(_is_in_words(text) and not place.names_a_photo(text, whole=True) for _, text in captions)
    return (captions, "") if worded else ([], _NO_WORDS)


def _is_in_words(caption: str) -> bool:
    """Whether at least half of it are words."""
    parts = caption.split()
    words = sum(any(map(str.isalpha, part)) and not _NUMBER.fullmatch(part) for part in parts)
    return 2 * words >= max(1, len(parts))
