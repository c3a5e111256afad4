"""Which photos a search may find at all: of a split, with a label, or with a word in their caption.

One filter serves both indexes: as a mask over the rows of a table, and as an expression in the language of Milvus.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.data.text import clean_caption
from helpers.files import InputError

LONGEST_WORD, MOST_WORDS = 64, 200  # characters, words of a caption: what a field of Milvus holds


def words(caption: str | None) -> list[str]:
    """The different words of a caption, as `Filter.word` finds them.

    >>> words("A dog's dog !")
    ['a', "dog's", 'dog']
    """
    found = dict.fromkeys(clean_caption(caption or "").split())
    return [word for word in found if len(word) <= LONGEST_WORD][:MOST_WORDS]


def spaced(caption: str | None) -> str:
    """The different words of a caption, each between spaces: what an index keeps, and looks for a word in."""
    return f" {' '.join(words(caption))} "


@dataclass(frozen=True)
class Filter:
    """Only photos for which all that is given here holds.

    Attributes:
        split: such as "test".
        label: the class, such as "dog".
        word: a whole word of the caption, in any case.

    Raises:
        InputError: `word` is not one word.
    """

    split: str | None = None
    label: str | None = None
    word: str | None = None

    def __post_init__(self) -> None:
        if self.word is not None and len(words(self.word)) != 1:
            raise InputError(f"A filter takes one word of the captions, and {self.word!r} is not one word.")

    def mask(self, about: pa.Table) -> np.ndarray:
        """Which rows of a table with the columns split, label and words it lets through, bool (N,)."""
        mask = np.ones(len(about), bool)
        for name, value in (("split", self.split), ("label", self.label)):
            if value is not None:
                mask &= pc.fill_null(pc.equal(about[name], value), False).to_numpy()
        if self.word is not None:
            mask &= pc.match_substring(about["words"], spaced(self.word)).to_numpy()
        return mask

    def expression(self) -> str:
        """The same for Milvus, over fields of these names.

        Milvus Lite takes 0.1 s to look for a word in 100,000 captions so, and 4 s in arrays of words.

        >>> Filter(split="test", word="Dog").expression()
        'split == "test" and words like "% dog %"'
        """
        given = {"split": self.split, "label": self.label}
        parts = [f"{name} == {_quoted(value)}" for name, value in given.items() if value is not None]
        if self.word is not None:
            parts.append(f'words like "%{spaced(self.word)}%"')  # a word holds no mark that means something here
        return " and ".join(parts)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a string of JSON is one of Milvus, quotes and all
