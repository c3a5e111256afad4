"""Which column of a table names the photos, which holds the captions, and which the split: told by what they hold."""

import ast
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from helpers.data.manifest import Split, split_called
from helpers.data.readers.place import Place

_CAPTION = re.compile(
    r"(captions?|comments?|sentences?|descriptions?|texts?|titles?|raw|alt)[ _-]*(text|en)?[ _-]*(\d*)"
)
# Python's lists of strings, and NumPy's, which has no commas: read as a whole, Python would join its parts.
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_LIST = re.compile(rf"\[(?:{_STRING.pattern})(?:[\s,]+(?:{_STRING.pattern}))*\s*\]", re.DOTALL)
_NESTED = ("raw", "caption", "text", "sentence")  # where a caption is in a record of its own


class Columns(NamedTuple):
    """The columns of a table that are read."""

    photo: Hashable
    captions: tuple[Hashable, ...]
    split: Hashable | None


def captions_in(value: Any) -> Iterator[str]:
    """The captions in a cell or a field: one, or a list of them, perhaps as JSON.

    >>> list(captions_in(["a dog", {"raw": "a cat"}])), list(captions_in('["a dog", "a cat"]'))
    (['a dog', 'a cat'], ['a dog', 'a cat'])
    """
    if isinstance(value, str):
        if (parts := _listed(value)) is None:
            yield value
        else:
            yield from parts
    elif isinstance(value, Mapping):
        yield from (value[name] for name in _NESTED if isinstance(value.get(name), str))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for part in value:
            yield from [part] if isinstance(part, str) else captions_in(part) if isinstance(part, Mapping) else ()


def _listed(text: str) -> list[str] | None:
    """The parts of a list of strings, as JSON (Flickr30k's table on the Hugging Face hub) or as pandas writes it."""
    if not text.startswith(('["', "['")):
        return None
    try:
        parts = json.loads(text)
        return parts if all(isinstance(part, str) for part in parts) else None
    except (ValueError, RecursionError):
        pass
    if not _LIST.fullmatch(text):
        return None
    try:
        return [ast.literal_eval(part[0]) for part in _STRING.finditer(text)]
    except (ValueError, SyntaxError):
        return None


def choose_columns(records: Sequence[Mapping[Hashable, Any]], place: Place) -> Columns | None:
    """The columns of a table, from its first records; None where none names photos or none holds captions.

    Photos: the column in which at least half of what it holds names photos, and more than in any other. Captions: the
    columns called so (`caption`, or `caption_0` to `caption_4`), else the one with the most words.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = {name: [value for record in records if isinstance(value := record.get(name), str)] for name in names}
    hits = {name: sum(map(place.names_a_photo, values)) for name, values in cells.items()}
    whole = {name: sum(place.names_a_photo(value, whole=True) for value in values) for name, values in cells.items()}
    # A number may stand for a photo and not be its name: what is a whole name goes first.
    photo = max(names, key=lambda name: (whole[name], hits[name]), default=None)
    if photo is None or hits[photo] < max(1, len(records) / 2):
        return None
    others = [name for name in names if name != photo]
    split = next((name for name in others if _holds_splits(name, records)), None)
    words = {
        name: sum(len(text.split()) for record in records for text in captions_in(record.get(name)))
        for name in others
        if name != split
    }
    called = {name: match for name in words if (match := _CAPTION.fullmatch(_plain(name)))}
    numbered = [name for name, match in called.items() if match[3]]
    if len(numbered) > 1 and any(words[name] for name in numbered):
        return Columns(photo, tuple(numbered), split)
    best = max([name for name in called if words[name]] or words, key=words.get, default=None)
    return None if best is None or not words[best] else Columns(photo, (best,), split)


def _plain(name: Hashable) -> str:
    return str(name).strip().lower()


def is_called(cell: str) -> bool:
    """Whether `cell` is what a column of captions or of splits is called."""
    return _plain(cell) == "split" or _CAPTION.fullmatch(_plain(cell)) is not None


def _holds_splits(name: Hashable, records: Sequence[Mapping[Hashable, Any]]) -> bool:
    values = [record[name] for record in records if record.get(name)]
    return bool(values) and all(isinstance(value, str) and split_called(value) for value in values)


def split_in(record: Mapping[Hashable, Any], columns: Columns) -> Split | None:
    """The split of a record, where its table has them."""
    value = record.get(columns.split) if columns.split is not None else None
    return split_called(value) if isinstance(value, str) else None
