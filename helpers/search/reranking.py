"""Better orders than the cosine's: hubs put in their place, and a second look at the first hits.

Hubs are photos (and texts) that are near to everything, and come first where they should not. The nearest neighbours
among the training data show who they are. The score of Conneau et al., "Word Translation Without Parallel Data" (2018,
arXiv:1710.04087, section 2.3), halved:

    score = cosine - (mean cosine of the photo to its nearest training texts
                      + mean cosine of the text to its nearest training photos) / 2

The second look ranks the first hits again by how well a captioner would have said the text. A search compares two
vectors that were made without knowing of each other. A captioner can weigh every word of the text against the photo,
but has to run once for each pair, so it looks at the first hits only.

    score = score + weight * (log p(text | photo) - mean log p(text | training photos that the text fits best))

The last term asks whether the text fits *this* photo better than others like it. Without it, short and common sentences
win wherever texts compete with each other: what counts is the mutual information of text and photo, not how
likely the text is (Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016). Photos
that compete for one text share the term, so a search for photos can do without.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from helpers.captioning.captioner import Captioner
from helpers.data.text import clean_caption
from helpers.devices import autocast, to_device
from helpers.encoders.metrics import blocks
from helpers.environment import progress
from helpers.features.rows import Rows

WEIGHT = 0.03  # of the captioner's word in the score; chosen on Flickr8k's validation photos
HITS = 20  # pairs of each query that get a second look
RIVALS = 20  # training photos (or texts) that a text (or a photo) is compared with
_TOGETHER = 96  # texts that are judged in one call of the model


def crowding(vectors: np.ndarray, others: np.ndarray, count: int = RIVALS) -> np.ndarray:
    """Mean cosine of each of `vectors` (N, E) to the `count` of `others` (M, E) that are nearest to it: (N,).

    All are unit vectors. Where there are fewer than `count` others, all of them count.

    >>> crowding(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), count=2).round(2).tolist()
    [0.8, 0.9]
    """
    count = min(count, len(others))
    means = np.empty(len(vectors), np.float32)
    for rows in blocks(len(vectors), max(len(others), 2**15)):  # some at a time: the table may not fit into memory
        cosines = torch.from_numpy(vectors[rows] @ others.T)
        means[rows] = cosines.topk(count, dim=1).values.mean(dim=1)  # seven times as fast as NumPy's partition
    return means


def without_hubs(cosines: np.ndarray, photo_crowding: np.ndarray, text_crowding: np.ndarray) -> np.ndarray:
    """Cosines (N, M) of photos and texts, and the `crowding` of either, (N,) and (M,) -> fairer scores (N, M)."""
    return cosines - (photo_crowding[:, None] + text_crowding) / 2


def first_hits(scores: np.ndarray, count: int = HITS) -> np.ndarray:
    """Scores (Q, N) -> bool (Q, N), True at the `count` highest of each row."""
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, np.argsort(-scores, axis=1)[:, :count], True, axis=1)
    return chosen


def log_likelihoods(
    captioner: Captioner, seen: np.ndarray | Rows, texts: Sequence[str], pairs: np.ndarray
) -> np.ndarray:
    """log p(text | photo) in nats, float32 (N, M), for the pairs that are asked for; NaN for all others.

    Args:
        captioner: as from `load_captioner`.
        seen: what it sees of each photo, (N, D) or (N, R, C); read row by row, so it may lie on disk.
        texts: M texts; words the captioner does not know count as <UNK>.
        pairs: bool (N, M).
    """
    found = np.full(pairs.shape, np.nan, np.float32)
    rows, columns = np.nonzero(pairs)
    found[rows, columns] = pair_log_likelihoods(captioner, seen, texts, rows, columns)
    return found


@torch.inference_mode()
def pair_log_likelihoods(
    captioner: Captioner, seen: np.ndarray | Rows, texts: Sequence[str], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """`log_likelihoods` of single pairs, photo `rows` and text `columns` (P,) each: float32 (P,)."""
    captioner.model.eval()
    tokens = captioner.tokenizer.encode_batch([clean_caption(text) for text in texts], captioner.max_length)
    found = np.empty(len(rows), np.float32)
    if not len(rows):
        return found
    order = np.lexsort((columns, rows))  # each photo once, with all its texts
    photos, begin = np.unique(rows[order], return_index=True)
    parts = list(zip(photos, np.split(order, begin[1:]), strict=True))
    together = _of_similar_size(parts)
    for group in progress(together, "log-likelihoods", unit="batch") if len(parts) > 100 else together:
        most = max(len(places) for _, places in group)
        # A photo with fewer texts repeats its last: the model takes as many of each.
        places = np.stack([np.pad(own, (0, most - len(own)), mode="edge") for _, own in group])  # (P, k)
        words = torch.from_numpy(tokens[columns[places.ravel()]])  # (P * k, T)
        words = words[:, : int((words != 0).sum(dim=1).max())]  # without padding that none of them needs
        words = to_device(words, captioner.model)
        features = np.stack([seen[photo] for photo, _ in group]).astype(np.float32)
        following = words[:, 1:]
        real = following != 0
        with autocast(words.device):
            states = captioner.model.states(to_device(features, captioner.model), words[:, :-1])  # (P * k, T - 1, H)
            logits = captioner.model.logits(states[real])  # (words, V)
        log_probs = -F.cross_entropy(logits.float(), following[real], reduction="none")  # (words,)
        sums = torch.zeros(real.shape, device=words.device).masked_scatter(real, log_probs).sum(dim=1)  # (P * k,)
        found[places.ravel()] = sums.cpu().numpy()
    return found


def _of_similar_size(parts: Sequence[tuple[int, np.ndarray]]) -> list[list[tuple[int, np.ndarray]]]:
    """Photos with their texts, in groups of at most _TOGETHER texts (or one photo), those with as many side by side."""
    groups: list[list[tuple[int, np.ndarray]]] = [[]]
    for part in sorted(parts, key=lambda part: len(part[1])):
        if groups[-1] and (len(groups[-1]) + 1) * len(part[1]) > _TOGETHER:
            groups.append([])
        groups[-1].append(part)
    return groups


def usual_log_likelihoods(
    captioner: Captioner,
    seen: np.ndarray | Rows,
    photos: np.ndarray,
    vectors: np.ndarray,
    texts: Sequence[str],
    rivals: int = RIVALS,
) -> np.ndarray:
    """How likely the captioner finds each text for photos like those it describes: (M,), in nats.

    Args:
        captioner: as from `load_captioner`.
        seen: what it sees of the N training photos, (N, D) or (N, R, C).
        photos: their unit vectors (N, E); the mean is over the `rivals` that are nearest to each text.
        vectors: unit vectors (M, E) of the texts.
        texts: M texts.
    """
    rivals = min(rivals, len(photos))
    best = np.empty((rivals, len(texts)), np.int64)
    for part in blocks(len(texts), len(photos)):
        best[:, part] = np.argsort(-(photos @ vectors[part].T), axis=0)[:rivals]
    best.sort(axis=0)
    columns = np.broadcast_to(np.arange(len(texts)), best.shape)
    found = pair_log_likelihoods(captioner, seen, texts, best.ravel(), columns.ravel())
    return found.reshape(best.shape).mean(axis=0)


def second_scores(
    scores: np.ndarray, likelihoods: np.ndarray, usual: np.ndarray | float = 0.0, weight: float = WEIGHT
) -> np.ndarray:
    """Scores (N, M) of the first look and log-likelihoods (N, M) -> scores (N, M) of the second look.

    Pairs without one (NaN) keep their order and come after all pairs that got one.
    """
    pairs = ~np.isnan(likelihoods)  # few of a large table, so only they are computed with
    looked = scores[pairs] + weight * (likelihoods[pairs] - np.broadcast_to(usual, scores.shape)[pairs])  # (P,)
    again = np.min(looked, initial=0.0) - 2.0 + scores  # all pairs of the first look stay below those of the second
    again[pairs] = looked
    return again
