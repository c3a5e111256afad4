"""Consensus: of many captions for a photo, the one that its captioners, similar photos and a search engine like best.

The caption that a model finds most probable is a safe one. So many are drawn, also from several captioners, and others
are asked. The training photos most like this one: how well would each caption have described them, by CIDEr-D against
what people wrote of them? A pair of towers trained for search: how well does it fit this very photo?

    score = log p(caption | photo) / words ** length_power
            + NEIGHBOURS_WEIGHT * mean CIDEr-D for the similar photos
            + SEARCH_WEIGHT * (cosine of caption and photo - half of how crowded it is around the caption)

Devlin et al., "Exploring Nearest Neighbor Approaches for Image Captioning" (2015, arXiv:1505.04467), choose among the
captions of the neighbours like this; Mao et al. (2015, arXiv:1412.6632, section 8) among captions of their model. Fang
et al., "From Captions to Visual Concepts and Back" (2015, arXiv:1411.4952), choose with the cosine of photo and text.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from helpers.captioning.captioner import Captioner
from helpers.captioning.decoding import sample
from helpers.captioning.self_critical import CiderReward
from helpers.data.text import clean_caption
from helpers.devices import autocast, device_of
from helpers.environment import progress
from helpers.search.reranking import crowding, pair_log_likelihoods

DRAWS = 20  # captions drawn of each captioner for a photo, beside the one that it would give
TEMPERATURE = 0.8
NEIGHBOURS = 10  # training photos that are asked
NEIGHBOURS_WEIGHT = 2.5  # these numbers were chosen on Flickr8k's validation photos
SEARCH_WEIGHT = 4.0
_BATCH = 25  # photos decoded together


def drawn_captions(captioner: Captioner, seen: np.ndarray, count: int = DRAWS, seed: int = 0) -> list[list[str]]:
    """For each photo in `seen` (N, ...), the captioner's own caption and `count` drawn ones, without repetitions."""
    found: list[list[str]] = []
    for start in range(0, len(seen), _BATCH):
        part = seen[start : start + _BATCH].astype(np.float32)
        own = captioner.texts(captioner.decode(part))
        with torch.inference_mode(), autocast(device_of(captioner.model)):
            drawn = sample(
                captioner.model,
                torch.from_numpy(part),
                captioner.rules,
                temperature=TEMPERATURE,
                count=count,
                seed=seed + start,
            )
        texts = captioner.texts(drawn)
        found += [
            list(dict.fromkeys([first, *texts[row * count : (row + 1) * count]])) for row, first in enumerate(own)
        ]
    return found


def candidates(drawn: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """What each of several captioners has drawn for N photos -> the different texts for each photo.

    Captions without a word are left out: there is nothing to say of them.
    """
    return [
        list(dict.fromkeys(text for texts in photo for text in texts if clean_caption(text)))
        for photo in zip(*drawn, strict=True)
    ]


def opinions(captioners: Sequence[Captioner], seen: Sequence[np.ndarray], texts: Sequence[Sequence[str]]) -> np.ndarray:
    """What the captioners think of each caption: log-probabilities in nats, over words ** length power; their mean.

    Args:
        captioners: one or several.
        seen: what each sees of N photos, (N, D) or (N, R, C).
        texts: for each photo, from `candidates`; M altogether.

    Returns:
        (M,).
    """
    every = [text for photo in texts for text in photo]
    photos = np.repeat(np.arange(len(texts)), list(map(len, texts)))  # (M,)
    lengths = np.array([len(text.split()) + 1 for text in every])  # the end counts as a word
    return np.mean(
        [
            pair_log_likelihoods(captioner, features, every, photos, np.arange(len(every)))
            / lengths**captioner.length_power
            for captioner, features in zip(captioners, seen, strict=True)
        ],
        axis=0,
    )


def agreement(texts: Sequence[Sequence[str]], neighbours: np.ndarray, reward: CiderReward) -> np.ndarray:
    """How well each caption would describe similar photos: mean CIDEr-D, of which 10 is the best.

    Args:
        texts: for each of N photos, from `candidates`; M altogether.
        neighbours: (N, K), rows in `reward` of the photos that are most like this one.
        reward: knows what people wrote of the training photos.

    Returns:
        (M,).
    """
    asked = progress(zip(texts, neighbours, strict=True), "neighbours", total=len(texts), unit="photo")
    return np.array([reward.mean(rows, text) for photo, rows in asked for text in photo])


def fit(
    texts: Sequence[Sequence[str]],
    photos: np.ndarray,
    known: np.ndarray,
    embed_texts: Callable[[Sequence[str]], np.ndarray],
) -> np.ndarray:
    """How well each caption fits its photo in the space of a search model: the cosine, hubs put in their place.

    Args:
        texts: for each of N photos, from `candidates`; M altogether.
        photos: their unit vectors (N, E).
        known: those of the training photos (K, E), for `crowding`.
        embed_texts: texts to unit vectors of the same space.

    Returns:
        (M,).
    """
    every = [text for photo in texts for text in photo]
    different = {text: row for row, text in enumerate(dict.fromkeys(every))}  # many photos share a caption
    vectors = embed_texts(list(different))
    crowds = crowding(vectors, known)
    rows = np.array([different[text] for text in every], int)
    own = np.repeat(photos, list(map(len, texts)), axis=0)  # (M, E)
    return (vectors[rows] * own).sum(axis=1) - crowds[rows] / 2


def best(texts: Sequence[Sequence[str]], scores: np.ndarray) -> list[str]:
    """The caption of each photo with the highest of `scores` (M,); an empty one where there is none.

    >>> best([["a dog", "a brown dog"], [], ["a boat"]], np.array([-2.0, -1.0, -3.0]))
    ['a brown dog', '', 'a boat']
    """
    ends = np.cumsum(list(map(len, texts)))
    parts = zip(texts, np.split(scores, ends[:-1]), strict=True)
    return [photo[int(part.argmax())] if photo else "" for photo, part in parts]
