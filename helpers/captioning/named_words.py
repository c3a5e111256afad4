"""Colours and numbers that captions name, judged by what people wrote of the same photos.

Of real photos nobody has written down what is so (`facts.py` knows it of drawn ones). But several people have described
each, and a word that one of them has is likely true of the photo, while a word that two of them have is likely to be
missed where it is not said. So of all the colours that captions name:

- precision: how many at least one reference of the photo has, too;
- recall: how many of those that two references agree on (or the only one has) the caption says.

Nobody names every colour, so a precision below 100 is no proof of mistakes: `people` is what one person's caption gets
against the others'.

    table = named_words(texts, references)
    print_named_words({"attention": table})
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helpers.data.text import clean_caption
from helpers.uncertainty import Interval, brackets, mean_interval

_COLOURS = "black white red blue green yellow orange brown gray pink purple tan blond gold".split()
_NUMBERS = "two three four five six seven eight".split()  # not "one", which mostly means somebody
_SPELLINGS = {  # a way to write a word -> the word
    "colour": {"grey": "gray", "blonde": "blond", "golden": "gold"} | {word: word for word in _COLOURS},
    "number": {str(number): word for number, word in enumerate(_NUMBERS, start=2)} | {word: word for word in _NUMBERS},
}
AGREED = 2  # references that have a word before a caption without it has missed it


@dataclass(frozen=True)
class NamedWords:
    """How captions do with the words of one kind, in percent.

    Attributes:
        said: how many such words the captions say, each once a caption.
        precision: of these, the share that at least one reference of the photo has.
        precision_within: its interval over photos.
        commonest: what precision would be if these captions said the commonest word of this kind instead.
        agreed: how many such words at least AGREED references of a photo have.
        recall: of these, the share that the caption says.
        recall_within: its interval over photos.
        people: precision of each photo's first reference against its others; None where there are no others.
    """

    said: int
    precision: float
    precision_within: Interval
    commonest: float
    agreed: int
    recall: float
    recall_within: Interval
    people: float | None


def words_of(text: str, kind: str) -> frozenset[str]:
    """The words of a kind, "colour" or "number", that a text has.

    >>> sorted(words_of("Two men in grey-green shirts and 3 dogs", "colour"))
    ['gray', 'green']
    >>> sorted(words_of("Two men in grey-green shirts and 3 dogs", "number"))
    ['three', 'two']
    """
    words = re.findall(r"[a-z]+|\d+", clean_caption(text))
    return frozenset(_SPELLINGS[kind][word] for word in words if word in _SPELLINGS[kind])


def named_words(texts: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, NamedWords]:
    """How the captions `texts` by photo do with colours and numbers, judged by the photos' `references`.

    By kind, where captions say such words and references agree on some.
    """
    found = {kind: _of_kind(kind, texts, {photo: references[photo] for photo in texts}) for kind in _SPELLINGS}
    return {kind: named for kind, named in found.items() if named is not None}


def _of_kind(kind: str, texts: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> NamedWords | None:
    said = {photo: words_of(text, kind) for photo, text in texts.items()}
    written = {photo: [words_of(text, kind) for text in own] for photo, own in references.items()}
    counts = {photo: Counter(word for words in own for word in words) for photo, own in written.items()}  # references
    photos_with = Counter(word for own in counts.values() for word in own)
    commonest = max(photos_with, key=photos_with.__getitem__, default="")
    agreed = {
        photo: [word for word, count in own.items() if count >= min(AGREED, len(written[photo]))]
        for photo, own in counts.items()
    }
    said_right = _asked(said, lambda photo, word: word in counts[photo])
    guessed, _ = _asked(said, lambda photo, _: commonest in counts[photo])
    told = _asked(agreed, lambda photo, word: word in said[photo])
    first = {photo: own[0] for photo, own in written.items() if len(own) > 1}
    person, _ = _asked(first, lambda photo, word: counts[photo][word] > 1)
    if not len(guessed) or not len(told[0]):
        return None
    precision, recall = ((float(right.mean()), mean_interval(right, owners)) for right, owners in (said_right, told))
    people = float(person.mean()) if len(person) else None
    return NamedWords(len(guessed), *precision, float(guessed.mean()), len(told[0]), *recall, people)


def _asked(words: Mapping[str, Iterable[str]], holds: Callable[[str, str], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Of each photo's words whether it `holds`, 100 or 0, (M,), and the number of the photo, (M,)."""
    asked = [(100.0 * holds(photo, word), number) for number, photo in enumerate(words) for word in words[photo]]
    return np.array([right for right, _ in asked]), np.array([number for _, number in asked], int)


def print_named_words(tables: Mapping[str, Mapping[str, NamedWords]]) -> None:
    """A table for each kind of words, with a line for each of `tables`."""
    for kind in _SPELLINGS:
        rows = {name: table[kind] for name, table in tables.items() if kind in table}
        if rows:
            print(f"{kind + 's':>12}  said    in a reference  commonest  a person  two agree on     said of these")
        for name, row in rows.items():
            precise, recalled = (
                f"{value:.0f} % {brackets(within, 0)}"
                for value, within in ((row.precision, row.precision_within), (row.recall, row.recall_within))
            )
            person = "–" if row.people is None else f"{row.people:.0f} %"
            others = f"{row.commonest:9.0f} %{person:>10}"
            print(f"{name:>12} {row.said:5}{precise:>18}{others}{row.agreed:14}{recalled:>18}")
