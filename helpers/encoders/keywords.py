"""Keywords: the nouns that a photo's captions agree on, and how many of them two photos share.

A tagger says which words of a caption are nouns and brings them to their dictionary form, so that "dogs" and "dog"
meet. HanTa's English model ships with the package and needs no download (Wartena, "A Probabilistic Morphology Model
for German Lemmatization", 2019). A noun counts for a photo when two of its captions have it: what one person alone
mentions, or what the tagger got wrong once, says little.

Shared keywords stand in for "these photos are alike": two or more make a pair to train on, and their overlap,
weighted so that a rare word counts more than "man", says how right an answer of a search is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from helpers.data.manifest import Photo
from helpers.data.text import clean_caption, is_english
from helpers.encoders.metrics import blocks
from helpers.environment import progress
from helpers.files import InputError

AGREED = 2  # captions of a photo that must have a noun
LEAST_PHOTOS = 2  # training photos that must have a keyword: one that nobody shares pairs nothing
LARGEST_SHARE = 0.5  # of the training photos; a keyword of more of them tells few apart

# Nouns about the picture, about places in it, or about amounts: they say nothing of what can be seen.
_GENERIC = frozenset(
    "area back background bit body bottom bunch camera center centre corner couple day direction distance edge end "
    "foreground front group image kind left line lot middle number object one other pair part photo photograph "
    "picture piece place position right row scene set shot side someone something spot thing time top view way".split()
)

_CORRECTED = {"skis": "ski", "leaves": "leaf"}  # which the tagger takes for forms of "sky" and "to leave"


@cache
def _tagger() -> Any:
    from HanTa.HanoverTagger import HanoverTagger  # here, since its model takes a moment to load

    return HanoverTagger("morphmodel_en.pgz")


def nouns(text: str) -> frozenset[str]:
    """The nouns of a text in their dictionary form, without names and without those that say nothing.

    >>> sorted(nouns("Two dogs run in front of a man's red boat ."))
    ['boat', 'dog', 'man']
    """
    words = [word.removesuffix("'s") for word in clean_caption(text).split()]
    tagged = _tagger().tag_sent(words) if words else []
    found = {_CORRECTED.get(word, lemma.lower()) for word, lemma, tag in tagged if tag.startswith("NN")}
    return frozenset(noun for noun in found if len(noun) > 1 and noun not in _GENERIC)


def photo_nouns(photos: Sequence[Photo]) -> list[frozenset[str]]:
    """For each photo, the nouns that at least AGREED of its captions have (its only caption, where there is one).

    In other languages than English, all words.
    """
    # The tagger knows English. Elsewhere all words count; those that are everywhere are no keywords anyway.
    english = is_english(caption for photo in photos for caption in photo.captions)
    words = nouns if english else lambda text: frozenset(clean_caption(text).split())
    of_caption: dict[str, frozenset[str]] = {}
    found = []
    for photo in progress(photos, "finding nouns", unit="photo"):
        for caption in photo.captions:
            if caption not in of_caption:
                of_caption[caption] = words(caption)
        counts = Counter(noun for caption in photo.captions for noun in of_caption[caption])
        agreed = min(AGREED, len(photo.captions))
        found.append(frozenset(noun for noun, count in counts.items() if count >= agreed))
    return found


@dataclass(frozen=True)
class Vocabulary:
    """The keywords of a data set.

    Attributes:
        names: K keywords in alphabetical order.
        weights: float32 (K,), inverse document frequency: log(training photos / those with the keyword).
    """

    names: list[str]
    weights: np.ndarray

    def table(self, photos: Iterable[frozenset[str]]) -> np.ndarray:
        """Nouns of N photos -> bool (N, K): which photo has which keyword."""
        photos, place = list(photos), {name: column for column, name in enumerate(self.names)}
        table = np.zeros((len(photos), len(self.names)), bool)
        for row, found in enumerate(photos):
            table[row, [place[noun] for noun in found if noun in place]] = True
        return table

    def words(self, row: np.ndarray) -> list[str]:
        """The keywords in a row (K,) of such a table, the rarest first."""
        return [self.names[place] for place in np.argsort(-self.weights, kind="stable") if row[place]]


def build_vocabulary(photos: Sequence[frozenset[str]]) -> Vocabulary:
    """The keywords of training photos given by their nouns, those that are too rare or too frequent left out.

    Raises:
        InputError: no noun is shared by two photos.
    """
    counts = Counter(noun for found in photos for noun in found)
    names = sorted(noun for noun, n in counts.items() if LEAST_PHOTOS <= n <= max(2, LARGEST_SHARE * len(photos)))
    if not names:
        raise InputError(
            f"The captions of the {len(photos):,} training photos share no nouns, so there are no pairs to learn from; "
            "give more photos that have something in common."
        )
    return Vocabulary(names, np.log([len(photos) / counts[name] for name in names]).astype(np.float32))


def shared_counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Tables (N, K) and (M, K) -> int (N, M): how many keywords each two photos share."""
    first, shared = first.astype(np.float32), np.empty((len(first), len(second)), np.int32)
    for rows in blocks(len(second), len(first) + second.shape[1]):  # as numbers, a large table takes four times as much
        shared[:, rows] = first @ second[rows].T.astype(np.float32)
    return shared


def overlap(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tables (N, K) and (M, K) -> float32 (N, M) from 0 (nothing shared) to 1 (the same keywords).

    Weighted Jaccard: the weight of what both have over the weight of what either has.
    """
    both = (first * weights) @ second.T.astype(np.float32)  # (N, M)
    either = (first @ weights)[:, None] + (second @ weights)[None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
