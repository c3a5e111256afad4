"""Any table of photos and captions, for the tests that write one in some layout and read it back."""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.data.readers.place import Captioned
from helpers.files import InputError

Table = Mapping[str, Sequence[str]]

_LETTERS = st.characters(codec="utf-8", exclude_characters="/\\\0\ufffd", exclude_categories=("Cs", "Cc", "Zl", "Zp"))
_NAMES = st.text(_LETTERS, min_size=1, max_size=12).map(lambda name: f"{normalize('NFC', name).strip('. ')}x.jpg")
_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd", exclude_categories=("Cs",)), max_size=40)

few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def _no_two_alike(table: Table) -> bool:
    return len({name.casefold() for name in table}) == len(table)


def tables(captions: st.SearchStrategy[str] = _WORDS) -> st.SearchStrategy[dict[str, list[str]]]:
    """Photo -> captions, as odd as people write them; each photo has one with words."""
    rows = st.tuples(st.lists(captions, max_size=4), st.sampled_from(["a dog runs", "ein Hund läuft", "一只狗"]))
    several = st.dictionaries(_NAMES, rows.map(lambda pair: [*pair[0], pair[1]]), min_size=1, max_size=5)
    return several.filter(_no_two_alike)


one_line = _WORDS.filter(lambda text: not re.search(r"[\r\n]", text))


def touch(folder: Path, table: Table) -> None:
    """Photos of the names in `table`, which are looked at by name alone here."""
    for name in table:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def expected(table: Table) -> dict[str, tuple[str, ...]]:
    """What can be kept: captions with words, each once, with single spaces."""
    kept = {}
    for name, captions in table.items():
        texts = [" ".join(text.split()) for text in captions]
        kept[name] = tuple(dict.fromkeys(text for text in texts if any(map(str.isalnum, text))))
    return kept


def _quietly(folder: Path) -> Captioned:
    with contextlib.redirect_stdout(io.StringIO()):
        return read_captioned(folder, Findings(), scratch=folder / "scratch")


def read_back(folder: Path) -> dict[str, tuple[str, ...]]:
    """Photo, as seen from the folder -> captions."""
    found = _quietly(folder)
    return {normalize("NFC", path.name): texts for path, texts in found.captions.items()}


def reads_or_refuses(folder: Path) -> None:
    """Whatever lies in a folder: photos with captions, or one sentence."""
    try:
        found = _quietly(folder)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert found.captions and all(path.is_file() and texts for path, texts in found.captions.items())
