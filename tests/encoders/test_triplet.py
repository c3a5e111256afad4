"""Triplet loss and semi-hard mining against plain loops, and three vectors worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.encoders.triplet import semi_hard_negatives, squared_distances, triplet_loss


def unit_vectors(count: int, seed: int) -> Tensor:
    vectors = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


def relations(count: int, seed: int, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric positives and negatives that exclude each other; some pairs are neither."""
    draw = np.random.default_rng(seed).random((count, count))
    draw = np.triu(draw, 1) + np.triu(draw, 1).T
    apart = ~np.eye(count, dtype=bool)
    return (draw < share) & apart, (draw > 1 - share) & apart


def by_loops(vectors: np.ndarray, positives: np.ndarray, negatives: np.ndarray, margin: float | np.ndarray) -> float:
    losses, margins = [], np.broadcast_to(margin, positives.shape)
    for a in range(len(vectors)):
        to = [float(((vectors[a] - other) ** 2).sum()) for other in vectors]
        away = [to[n] for n in np.flatnonzero(negatives[a])]
        for p in np.flatnonzero(positives[a]):
            if away:
                farther = [distance for distance in away if distance > to[p]]
                losses.append(max(0.0, to[p] - (min(farther) if farther else max(away)) + margins[a, p]))
    active = [loss for loss in losses if loss > 0]
    return sum(active) / len(active) if active else 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_loss_equals_that_of_plain_loops(seed: int, margin: float) -> None:
    vectors = unit_vectors(14, seed)
    positives, negatives = relations(14, seed)
    negatives[3] = False  # an anchor without negatives
    found = triplet_loss(vectors, torch.from_numpy(positives), torch.from_numpy(negatives), margin)
    assert found.item() == pytest.approx(by_loops(vectors.double().numpy(), positives, negatives, margin), abs=1e-5)


def test_each_pair_can_have_a_margin_of_its_own() -> None:
    vectors = unit_vectors(14, seed=7)
    positives, negatives = relations(14, seed=7)
    margins = np.random.default_rng(7).random(positives.shape)
    found = triplet_loss(vectors, *map(torch.from_numpy, (positives, negatives, margins)))
    assert found.item() == pytest.approx(by_loops(vectors.double().numpy(), positives, negatives, margins), abs=1e-5)


def test_distances_are_euclidean() -> None:
    first, second = unit_vectors(4, seed=0), unit_vectors(5, seed=1)
    np.testing.assert_allclose(squared_distances(first, second), torch.cdist(first, second) ** 2, atol=1e-5)


def test_the_chosen_negative_is_the_closest_beyond_the_positive() -> None:
    distances = torch.tensor([[0.0, 0.5, 0.3, 0.6, 0.9], *[[0.0] * 5] * 4])
    negatives = torch.tensor([[False, False, True, True, True], *[[False] * 5] * 4])
    chosen = semi_hard_negatives(distances, negatives)[0]
    assert chosen[1] == pytest.approx(0.6)  # not 0.3, which is hard, and not 0.9, which is farther
    distances[0, 1] = 0.6  # as far as a negative: the next one
    assert semi_hard_negatives(distances, negatives)[0, 1] == pytest.approx(0.9)
    distances[0, 1] = 1.2  # all negatives are closer than the positive: the farthest of them
    assert semi_hard_negatives(distances, negatives)[0, 1] == pytest.approx(0.9)


def test_three_vectors_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])  # distances to the first: 0.4 and 0.8
    pair = torch.zeros(3, 3, dtype=torch.bool)
    positives, negatives = pair.clone(), pair.clone()
    positives[0, 1] = negatives[0, 2] = True
    assert triplet_loss(vectors, positives, negatives, 0.5).item() == pytest.approx(0.1)
    assert triplet_loss(vectors, positives, negatives, 0.3).item() == 0
    assert triplet_loss(vectors, pair, negatives, 0.5).item() == 0  # no pairs: nothing to learn, and no NaN


def test_a_step_down_the_gradient_mends_a_violated_triplet() -> None:
    leaf = unit_vectors(3, seed=2).requires_grad_()
    positives = torch.tensor([[False, True, False], [True, False, False], [False] * 3])
    negatives = torch.tensor([[False, False, True], [False, False, True], [False] * 3])
    before = triplet_loss(torch.nn.functional.normalize(leaf, dim=1), positives, negatives, 1.0)
    before.backward()
    with torch.no_grad():
        moved = torch.nn.functional.normalize(leaf - 0.05 * leaf.grad, dim=1)
    assert triplet_loss(moved, positives, negatives, 1.0) < before
