"""Triplet loss: an anchor shall be closer to a positive than to a negative, by a margin.

Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering" (2015), with
its semi-hard mining: for each anchor and positive of a batch, the negative to learn from is the closest one that is
still farther away than the positive. A negative that is closer than the positive (hard) is often a mistake in the
data, and learning from the hardest ones makes all vectors fall onto one point; a negative that is farther by more
than the margin (easy) teaches nothing.
"""

import torch
from torch import Tensor


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Unit vectors (N, D) and (M, D) -> squared Euclidean distances (N, M), from 0 to 4.

    |a - b|² = |a|² + |b|² - 2 a·b = 2 - 2 cos(a, b)
    """
    return 2 - 2 * first @ second.T


def semi_hard_negatives(distances: Tensor, negatives: Tensor) -> Tensor:
    """For each anchor i and positive j, the distance of i to the negative that the pair learns from: (N, N).

    That is the closest negative which is farther from i than j is. Where all negatives are closer, it is the farthest.

    Args:
        distances: (N, N) of a batch.
        negatives: bool (N, N), True where j is a negative of i; at least one in each row that is used.
    """
    by_distance = distances.masked_fill(~negatives, torch.inf).sort(dim=1).values  # (N, N), the inf at the end
    # For each pair, how many negatives are at most as far as the positive: the place of the next one.
    place = torch.searchsorted(by_distance, distances.contiguous(), right=True)  # (N, N)
    last = (negatives.sum(dim=1, keepdim=True) - 1).clamp(min=0)  # (N, 1)
    return by_distance.gather(1, place.minimum(last))


def triplet_loss(vectors: Tensor, positives: Tensor, negatives: Tensor, margin: float | Tensor) -> Tensor:
    """Mean of d(anchor, positive) - d(anchor, negative) + margin over all pairs of a batch for which it is above 0.

    The others have reached what is asked of them. Counted in, they would make the steps smaller and smaller.

    Args:
        vectors: (N, D), L2-normalised.
        positives: bool (N, N), True where i and j belong together; the diagonal does not.
        negatives: bool (N, N), True where they do not. Pairs that are neither take no part.
        margin: in squared distance; one for all pairs, or one for each, (N, N).
    """
    distances = squared_distances(vectors, vectors)  # (N, N)
    pairs = positives & negatives.any(dim=1, keepdim=True)
    losses = (distances - semi_hard_negatives(distances, negatives) + margin)[pairs].clamp(min=0)
    return losses.sum() / (losses > 0).sum().clamp(min=1)
