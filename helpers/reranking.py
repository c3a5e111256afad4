"""A second look: the first hits of a search, ranked again by how well a captioner would have said the text.

A search compares two vectors that were made without knowing of each other. A captioner can weigh every word of the
text against the photo, but has to run once for each pair, so it looks at the first hits only.

    score = cosine + weight * (log p(text | photo) - mean log p(text | training photos that the text fits best))

The last term asks whether the text fits *this* photo better than others like it. Without it, short and common sentences
win wherever texts compete with each other: what counts is the mutual information of text and photo, not how
likely the text is (Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016). Photos
that compete for one text share the term, so a search for photos can do without.
"""

from collections.abc import Sequence

import numpy as np
import torch

from helpers.captioners import Captioner
from helpers.environment import autocast, progress
from helpers.text import clean_caption

WEIGHT = 0.035  # of the captioner's word in the score; chosen on Flickr8k's validation photos
HITS = 20  # pairs of each query that get a second look
RIVALS = 10  # training photos that say how likely a text is anyway


def first_hits(scores: np.ndarray, count: int = HITS) -> np.ndarray:
    """Scores (Q, N) -> bool (Q, N), True at the `count` highest of each row."""
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, np.argsort(-scores, axis=1)[:, :count], True, axis=1)
    return chosen


@torch.inference_mode()
def log_likelihoods(captioner: Captioner, seen: np.ndarray, texts: Sequence[str], pairs: np.ndarray) -> np.ndarray:
    """log p(text | photo) in nats, float32 (N, M), for the pairs that are asked for; NaN for all others.

    Args:
        captioner: as from `load_captioner`.
        seen: what it sees of each photo, (N, D) or (N, R, C); read row by row, so it may lie on disk.
        texts: M texts; words the captioner does not know count as <UNK>.
        pairs: bool (N, M).
    """
    captioner.model.eval()
    tokens = captioner.tokenizer.encode_batch([clean_caption(text) for text in texts], captioner.max_length)
    found = np.full(pairs.shape, np.nan, np.float32)
    rows = np.flatnonzero(pairs.any(axis=1))
    for row in progress(rows, "second look", unit="photo") if len(rows) > 100 else rows:
        asked = np.flatnonzero(pairs[row])
        words = torch.from_numpy(tokens[asked])  # (k, T)
        words = words[:, : int((words != 0).sum(dim=1).max())]  # without padding that none of them needs
        features = torch.from_numpy(seen[row : row + 1].astype(np.float32))  # one photo for all its texts
        with autocast():
            logits = captioner.model(features, words[:, :-1])  # (k, T - 1, V)
        following = words[:, 1:, None]
        log_probs = logits.float().log_softmax(dim=2).gather(2, following)[:, :, 0]  # (k, T - 1)
        found[row, asked] = log_probs.masked_fill(words[:, 1:] == 0, 0).sum(dim=1).numpy()
    return found


def usual_log_likelihoods(
    captioner: Captioner, seen: np.ndarray, similarity: np.ndarray, texts: Sequence[str], rivals: int = RIVALS
) -> np.ndarray:
    """How likely the captioner finds each text for photos like those it describes: (M,), in nats.

    Args:
        captioner: as from `load_captioner`.
        seen: what it sees of the training photos, (N, D) or (N, R, C).
        similarity: cosines (N, M) of the training photos and the texts; the mean is over each text's `rivals` best.
        texts: M texts.
    """
    pairs = np.zeros(similarity.shape, bool)
    best = np.argsort(-similarity, axis=0)[:rivals]
    np.put_along_axis(pairs, best, True, axis=0)
    return np.nanmean(log_likelihoods(captioner, seen, texts, pairs), axis=0)


def second_scores(
    scores: np.ndarray, likelihoods: np.ndarray, usual: np.ndarray | float = 0.0, weight: float = WEIGHT
) -> np.ndarray:
    """Cosines (N, M) and log-likelihoods (N, M) -> scores (N, M) of the second look.

    Pairs without one (NaN) keep their order and come after all pairs that got one.
    """
    looked = scores + weight * (likelihoods - usual)
    floor = np.nanmin(looked, initial=0.0) - 1.0
    return np.where(np.isnan(looked), floor - 1.0 + scores, looked)
