"""Consensus: of many captions for a photo, the one closest to what people said of photos that look like it.

The caption that a model finds most probable is a safe one. So many are drawn, also from several captioners, and the
training photos most like this one are asked: how well would each caption have described them, by CIDEr-D against what
people wrote of them? What the captioners think of it counts as well:

    score = log p(caption | photo) / words ** length_power + weight * mean CIDEr-D for the similar photos

Devlin et al., "Exploring Nearest Neighbor Approaches for Image Captioning" (2015, arXiv:1505.04467), choose among the
captions of the neighbours like this; Mao et al. (2015, arXiv:1412.6632, section 8) among captions of their model.
"""

from collections.abc import Sequence

import numpy as np
import torch

from helpers.captioners import Captioner
from helpers.decoding import sample
from helpers.environment import autocast, progress
from helpers.reranking import log_likelihoods
from helpers.self_critical import CiderReward
from helpers.text import clean_caption

DRAWS = 20  # captions drawn of each captioner for a photo, beside the one that it would give
TEMPERATURE = 0.8
NEIGHBOURS = 10  # training photos that are asked
WEIGHT = 2.5  # of their word; this and the numbers above were chosen on Flickr8k's validation photos
_BATCH = 25  # photos decoded together


def similar_photos(vectors: np.ndarray, known: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """Rows of the `count` of `known` (M, D) that are most like each of `vectors` (N, D): (N, count), the best first.

    Every channel is first brought to mean 0 and deviation 1 over `known`: one that is high for all photos says nothing.
    """
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
    ours, theirs = ((side - mean) / deviation for side in (vectors, known))
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)  # the length of ours changes no order
    return np.argsort(-(ours @ theirs.T), axis=1, kind="stable")[:, :count]


def agreement(texts: Sequence[str], rows: Sequence[int], reward: CiderReward) -> np.ndarray:
    """Mean CIDEr-D (10 is the best) of each text for the training photos `rows` of `reward`: (len(texts),)."""
    return np.array([reward.mean(rows, text) for text in texts])


def drawn_captions(captioner: Captioner, seen: np.ndarray, count: int = DRAWS, seed: int = 0) -> list[list[str]]:
    """For each photo in `seen` (N, ...), the captioner's own caption and `count` drawn ones, without repetitions.

    Captions without a word are left out.
    """
    found: list[list[str]] = []
    for start in range(0, len(seen), _BATCH):
        part = seen[start : start + _BATCH].astype(np.float32)
        own = captioner.texts(captioner.decode(part))
        with torch.inference_mode(), autocast():
            drawn = sample(
                captioner.model,
                torch.from_numpy(part),
                captioner.rules,
                temperature=TEMPERATURE,
                count=count,
                seed=seed + start,
            )
        texts = captioner.texts(drawn)
        for row, first in enumerate(own):
            several = dict.fromkeys([first, *texts[row * count : (row + 1) * count]])
            found.append([text for text in several if clean_caption(text)])
    return found


def consensus_captions(
    captioners: Sequence[Captioner],
    seen: Sequence[np.ndarray],
    drawn: Sequence[Sequence[Sequence[str]]],
    neighbours: np.ndarray,
    reward: CiderReward,
    weight: float = WEIGHT,
) -> list[str]:
    """The caption of each of N photos on which captioners and neighbours agree best.

    Args:
        captioners: one or several; their opinions, log-probabilities a word, are averaged.
        seen: what each captioner sees of the photos, (N, D) or (N, R, C).
        drawn: what each has drawn, from `drawn_captions`.
        neighbours: (N, K), from `similar_photos`: rows in `reward`.
        reward: knows what people wrote of the training photos.
        weight: of the neighbours' word; at 0 the captioners decide alone.

    Returns:
        N captions; an empty one where nothing was drawn.
    """
    candidates = [list(dict.fromkeys(text for texts in photo for text in texts)) for photo in zip(*drawn, strict=True)]
    texts = [text for photo in candidates for text in photo]
    owner = np.repeat(np.arange(len(candidates)), list(map(len, candidates)))  # (texts,)
    pairs = owner == np.arange(len(candidates))[:, None]  # (N, texts)
    opinion = np.mean(
        [log_likelihoods(one, features, texts, pairs)[pairs] for one, features in zip(captioners, seen, strict=True)],
        axis=0,
    )
    lengths = np.array([len(text.split()) + 1 for text in texts])  # the end counts as a word
    scores = opinion / lengths ** captioners[-1].length_power
    if weight:
        asked = progress(zip(candidates, neighbours, strict=True), "neighbours", total=len(candidates), unit="photo")
        scores += weight * np.concatenate([agreement(photo, rows, reward) for photo, rows in asked])
    own = [np.flatnonzero(row) for row in pairs]
    return [texts[rows[scores[rows].argmax()]] if len(rows) else "" for rows in own]
