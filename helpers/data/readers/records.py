"""Captions as records: JSON, JSON Lines (`metadata.jsonl` of Hugging Face's ImageFolder among them), and Parquet.

JSON may be a list of records, an object that holds such a list (Karpathy's `dataset_*.json` among them), or an object
`{"photo.jpg": ["a caption", ...]}`. Which field is which is told as in a table.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers.data.left_out import Findings
from helpers.data.readers.columns import Columns, captions_in, choose_columns, split_in
from helpers.data.readers.packed import read_parquet
from helpers.data.readers.place import Captioned, Place, Row, join, lines_of, split_of
from helpers.data.readers.tables import names_of, which_of
from helpers.files import InputError

_LOOKED_AT = 60  # records of a file, to tell what it is

Records = list[tuple[str, Mapping[str, Any]]]  # place in the file, fields


def read_records(place: Place, findings: Findings) -> Captioned | None:
    """The captions of the files of records in a folder; None: there are none.

    Raises:
        InputError: it cannot be told which file counts, one is damaged, or no record belongs to a photo.
    """
    readers = {".json": _json, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
    found: dict[Path, tuple[Records, Columns]] = {}
    for path in place.files(*readers):
        if path.suffix.lower() == ".parquet" or _looks_like_json(place.head(path)):
            records = readers[path.suffix.lower()](path, place, findings)
            columns = choose_columns([record for _, record in records[:_LOOKED_AT]], place)
            if columns is not None:
                found[path] = records, columns
    chosen = which_of(list(found), place)
    if not chosen:
        return None
    rows = (row for path in chosen for row in _rows(path, *found[path], place, len(chosen) > 1))
    columns = found[chosen[0]][1]
    captions = ", ".join(repr(name) for name in columns.captions)
    what = f"{names_of(chosen, place)}, records: photos in {columns.photo!r}, captions in {captions}"
    return join(rows, place, chosen[0], findings, what)


def _rows(path: Path, records: Records, columns: Columns, place: Place, of_split: bool) -> Iterator[Row]:
    of_file = split_of(path, place.folder) if of_split else None
    whole = place.seen_from(path)
    for where, record in records:
        photo = record.get(columns.photo)
        if isinstance(photo, str):
            for name in columns.captions:
                for caption in captions_in(record.get(name)):
                    yield Row(whole(photo), caption, where, split_in(record, columns) or of_file)


def _looks_like_json(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")


def _json(path: Path, place: Place, findings: Findings) -> Records:
    text = place.text(path, findings)  # which says by itself what is wrong with an encoding
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); save it again, or take it out of the folder.") from None
    if isinstance(content, Mapping):
        if content and all(_is_captions(value) for value in content.values()):
            content = [{"photo": name, "captions": value} for name, value in content.items()]
        else:
            content = max((part for part in content.values() if isinstance(part, list)), key=len, default=[])
    return [(f"record {number}", part) for number, part in enumerate(content, start=1) if isinstance(part, Mapping)]


def _is_captions(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def _parquet(path: Path, place: Place, findings: Findings) -> Records:
    return [(f"record {number}", record) for number, record in enumerate(read_parquet(path), start=1)]


def _json_lines(path: Path, place: Place, findings: Findings) -> Records:
    records = []
    for number, line in lines_of(place.text(path, findings)):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, Mapping):
            records.append((f"line {number}", record))
        else:
            findings.leave_out("caption", f"{path.name}, line {number}", "in a line that is not valid JSON", line)
    return records
