"""Tables of captions as text: Kaggle's `captions.txt`, Flickr30k's `results.csv`, `metadata.csv`, and what people make.

What is between the cells (comma, tab, semicolon or bar), whether there is a header, and which column is which is told
by what the file holds. Cells that hold the separator are quoted, so only a CSV reader gets captions whole.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.data.left_out import Findings
from helpers.data.manifest import Split
from helpers.data.readers.columns import Columns, captions_in, choose_columns, is_called, split_in
from helpers.data.readers.place import Captioned, Place, Row, join, split_of
from helpers.files import InputError

SUFFIXES = (".txt", ".csv", ".tsv")
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_LINES = 60  # of a file that are looked at to tell what it is
_LONGEST = 100  # lines of a row
_NUMBER = re.compile(r"\d{3,}")  # of a part of a file: 00000-of-00002
_HASH = re.compile(r"(?<=-of-\d{5})-[0-9a-f]{8,}")  # which may follow it


class _Table(NamedTuple):
    """How a file is laid out."""

    separator: str
    width: int  # cells in a row
    columns: Columns  # by number
    header: list[str] | None
    whole: bool  # photos are named with their suffixes

    def name(self, column: int) -> str:
        return repr(self.header[column]) if self.header else f"column {column + 1}"


def read_tables(place: Place, findings: Findings) -> Captioned | None:
    """The captions of the tables in a folder; None: there are none.

    Several are read together where their names, or those of their folders, tell the splits (`train.csv`, `val.csv`).

    Raises:
        InputError: it cannot be told which file counts, a row has a caption with a separator that is not quoted, or no
            row belongs to a photo.
    """
    tables = {path: table for path in place.files(*SUFFIXES) if (table := _recognised(path, place))}
    chosen = which_of(list(tables), place)
    if not chosen:
        return None
    rows = (row for path in chosen for row in _rows(path, tables[path], place, findings, len(chosen) > 1))
    first, table = chosen[0], tables[chosen[0]]
    named, captions = names_of(chosen, place), ", ".join(map(table.name, table.columns.captions))
    photo = table.name(table.columns.photo)
    what = f"{named}, a table with {_SEPARATORS[table.separator]}: photos in {photo}, captions in {captions}"
    return join(rows, place, first, findings, what)


def which_of(paths: list[Path], place: Place) -> list[Path]:
    """Of several files with captions those to read: all, where they are of different splits or parts of one file.

    Else it is the one that is named for it.

    Raises:
        InputError: that cannot be told.
    """
    if len(paths) < 2:
        return paths
    by_split: dict[Split | None, list[Path]] = defaultdict(list)
    for path in paths:
        by_split[split_of(path, place.folder)].append(path)
    if (len(by_split) == 1 or None not in by_split) and all(map(_are_parts, by_split.values())):
        return paths
    for name in ("captions", "metadata", "results"):
        if len(named := [path for path in paths if path.stem.lower() == name]) == 1:
            return named
    names = ", ".join(place.name(path) for path in paths[:4])
    raise InputError(
        f"{place.folder} holds {len(paths)} files with captions ({names}); keep one, or call them train, val and test."
    )


def _are_parts(paths: list[Path]) -> bool:
    """Whether these are one file in parts, numbered from 0 or 1 on: `train-00000-of-00002`, `train-00001-of-00002`."""
    first = _NUMBER.search(min(path.name for path in paths))
    alike = len({(path.parent, _NUMBER.sub("0", _HASH.sub("", path.name))) for path in paths}) == 1
    return len(paths) == 1 or (alike and first is not None and int(first[0]) <= 1)


def names_of(paths: list[Path], place: Place) -> str:
    """The names of the files that are read, for people."""
    more = [f"{len(paths) - 3:,} more"] if len(paths) > 3 else []
    return " and ".join([*map(place.name, paths[:3]), *more])


def _recognised(path: Path, place: Place) -> _Table | None:
    lines = [line for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", place.head(path)) if line.strip()][:_LINES]
    best, most = None, 0.0
    for separator in _SEPARATORS:
        if not lines or separator not in lines[0]:
            continue
        # Line by line, as where a quote is not closed; and by quotes, as where a caption has several lines.
        for rows in ([_cells([line], separator)[0] for line in lines], _cells(lines, separator)):
            table, share = _table(rows, separator, place)
            if table is not None and share > most:
                best, most = table, share
    return best


def _table(rows: list[list[str]], separator: str, place: Place) -> tuple[_Table | None, float]:
    """How a table is laid out that has these rows, and the share of the rows that name a photo; None: it is none."""
    first = [cell.strip() for cell in rows[0]]
    headed = _is_header(first, rows[1:], place)
    body = [dict(enumerate(row)) for row in rows[headed:]]
    if headed and len(set(first)) == len(first):
        columns = choose_columns([dict(zip(first, row.values(), strict=False)) for row in body], place)
        if columns is not None:
            photo, captions, split = columns
            columns = Columns(
                first.index(photo), tuple(map(first.index, captions)), None if split is None else first.index(split)
            )
    else:
        columns = choose_columns(body, place)
    if columns is None or max(columns.photo, *columns.captions) >= len(first):
        return None, 0.0
    names = [row.get(columns.photo, "") for row in body]
    hits = sum(map(place.names_a_photo, names))
    whole = sum(place.names_a_photo(name, whole=True) for name in names)
    return _Table(separator, len(first), columns, first if headed else None, whole > hits / 2), hits / len(body)


def _is_header(first: list[str], rows: list[list[str]], place: Place) -> bool:
    """Whether the first row names columns: also where a photo is called `image.jpg`, and a column `image`."""
    named = [number for number, cell in enumerate(first) if place.names_a_photo(cell)]
    if any(place.names_a_photo(first[number], whole=True) for number in named):
        return False
    if any(map(is_called, first)):
        return True
    below = [[place.names_a_photo(row[number], whole=True) for row in rows if number < len(row)] for number in named]
    return all(2 * sum(whole) > len(whole) for whole in below)  # names with their suffixes, below one without


def _cells(lines: list[str], separator: str) -> list[list[str]]:
    """The cells of each row in some lines."""
    try:
        rows = list(csv.reader(lines, delimiter=separator))
    except csv.Error:
        rows = []
    return rows or [line.rstrip("\r\n").split(separator) for line in lines]


def _rows(path: Path, table: _Table, place: Place, findings: Findings, of_split: bool) -> Iterator[Row]:
    """The captions in the rows of a file."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", place.text(path, findings))
    torn: list[int] = []
    columns = table.columns
    of_file = split_of(path, place.folder) if of_split else None
    whole, headed = place.seen_from(path), table.header is not None
    if not headed:
        findings.say(f"{path} has no header; its first line is read as a caption.")
    for number, row in _read(lines, table, place, torn):
        if headed:
            headed = False
            continue
        if len(row) > table.width and any(cell.strip() for cell in row[table.width :]):
            raise InputError(
                f"Line {number} of {path} has {len(row)} columns instead of {table.width}; "
                f"put captions that hold {_SEPARATORS[table.separator]} in double quotes."
            )
        if len(row) <= max(columns.photo, min(columns.captions)):
            findings.leave_out("caption", f"{path.name}, line {number}", "in a row with too few columns")
            continue
        photo = whole(row[columns.photo])
        split = of_file if columns.split is None else split_in(dict(enumerate(row)), columns)
        for column in columns.captions:
            for caption in captions_in(row[column]) if column < len(row) else ():
                yield Row(photo, caption, f"line {number}", split)
    if torn:
        findings.say(
            f"{path} has rows that are no CSV, mostly since a double quote is not closed or not doubled "
            f"({len(torn):,}, first at line {torn[0]}); each is read as a row of its own."
        )


def _read(lines: list[str], table: _Table, place: Place, torn: list[int]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of its first line; the numbers of rows that are no CSV go to `torn`.

    A quote that is never closed swallows the rows after it: a row that has another one in a cell is read by its first
    line alone.
    """
    separator, photo = table.separator, table.columns.photo

    def holds_a_row(cell: str) -> bool:
        pieces = (line.split(separator) for line in re.split(r"[\r\n]+", cell)[1:])
        return any(len(row) > max(photo, 1) and place.names_a_photo(row[photo], table.whole) for row in pieces)

    number = 0
    while number < len(lines):
        line = lines[number].rstrip("\r\n")
        row, used = line.split(separator), 1
        if '"' in line:
            reader = csv.reader(lines[number : number + _LONGEST], delimiter=separator, strict=True)
            try:
                row, used = next(reader), reader.line_num
                whole = used == 1 or not any(map(holds_a_row, row))
            except csv.Error:
                whole = False
            if not whole:
                row, used = _torn_apart(line, table), 1
                torn.append(number + 1)
        if line.strip():
            yield number + 1, row
        number += used


def _torn_apart(line: str, table: _Table) -> list[str]:
    """The cells of a row with odd quotes: all that is too much belongs to the caption, if that is first or last."""
    captions = table.columns.captions
    if max(captions) == table.width - 1:
        cells = line.split(table.separator, table.width - 1)
    elif min(captions) == 0:
        cells = line.rsplit(table.separator, table.width - 1)
    else:
        cells = line.split(table.separator)
    return [cell.strip().removeprefix('"').removesuffix('"').replace('""', '"') for cell in cells]
