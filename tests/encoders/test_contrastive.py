"""The contrastive loss against plain NumPy, and its gradients against finite differences."""

import numpy as np
import pytest
import torch

from helpers.encoders.contrastive import MAX_SCALE, ContrastiveLoss, same, soft_cross_entropy


def unit_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, 6)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_loss(images: np.ndarray, texts: np.ndarray, positives: np.ndarray, temperature: float) -> float:
    """Pair by pair, without any vectorised softmax."""
    scores = images.astype(float) @ texts.T.astype(float) / temperature
    total = 0.0
    for matrix, matches in ((scores, positives), (scores.T, positives.T)):
        rows = []
        for row, match in zip(matrix, matches, strict=True):
            own = [np.exp(score) for score, yes in zip(row, match, strict=True) if yes]
            rows.append(np.mean([-np.log(value / sum(np.exp(row))) for value in own]))
        total += np.mean(rows) / 2
    return total


@pytest.mark.parametrize(
    ("ids", "text_ids"),
    [([0, 1, 2, 3], [0, 1, 2, 3]), ([0, 1, 2], [0, 0, 1, 2, 2, 2]), ([0, 1, 0, 0], [0, 1, 0, 0])],
    ids=["one text a photo", "several texts a photo", "photos of the same class"],
)
def test_loss_agrees_with_numpy(ids: list[int], text_ids: list[int]) -> None:
    rng = np.random.default_rng(0)
    images, texts = unit_rows(rng, len(ids)), unit_rows(rng, len(text_ids))
    positives = same(torch.tensor(ids), torch.tensor(text_ids))
    assert positives.tolist() == [[a == b for b in text_ids] for a in ids]
    loss = ContrastiveLoss(temperature=0.2)(torch.from_numpy(images), torch.from_numpy(texts), positives)
    assert loss.item() == pytest.approx(slow_loss(images, texts, positives.numpy(), 0.2), rel=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    rng = np.random.default_rng(1)
    images, texts = unit_rows(rng, 4), unit_rows(rng, 6)
    ids, text_ids = [0, 1, 2, 2], [0, 1, 1, 2, 0, 2]
    positives = same(torch.tensor(ids), torch.tensor(text_ids))
    loss_of = ContrastiveLoss()
    assert loss_of.temperature == pytest.approx(0.07)
    a, b = torch.from_numpy(images).requires_grad_(), torch.from_numpy(texts).requires_grad_()
    loss_of(a, b, positives).backward()

    def slow(images: np.ndarray, texts: np.ndarray, log_scale: float) -> float:
        return slow_loss(images, texts, positives.numpy(), np.exp(-log_scale))

    start, step = -np.log(0.07), 1e-5
    images, texts = images.astype(float), texts.astype(float)
    slope = (slow(images, texts, start + step) - slow(images, texts, start - step)) / (2 * step)
    assert loss_of.log_scale.grad.item() == pytest.approx(slope, rel=1e-3)
    for array, gradient in ((images, a.grad), (texts, b.grad)):
        for place in np.ndindex(*array.shape):
            kept = array[place]
            array[place] = kept + step
            above = slow(images, texts, start)
            array[place] = kept - step
            below = slow(images, texts, start)
            array[place] = kept
            assert gradient[place].item() == pytest.approx((above - below) / (2 * step), rel=1e-2, abs=1e-3)


def test_a_twin_caption_is_pushed_away_only_when_it_counts_as_a_negative() -> None:
    # Two captions of photo 0: one already fits, the other does not yet.
    images = torch.eye(3)
    texts = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.7], [0, 1, 0], [0, 0, 1]]), dim=1)
    pull = {}
    for name, owners in {"negative": [0, 3, 1, 2], "positive": [0, 0, 1, 2]}.items():
        leaf = texts.clone().requires_grad_()
        scores = 5 * images @ leaf.T
        soft_cross_entropy(scores, same(torch.arange(3), torch.tensor(owners))).backward()
        pull[name] = -leaf.grad[1, 0].item()  # how the second caption moves along photo 0
    assert pull["negative"] < 0 < pull["positive"]


def test_temperature_is_clamped_and_can_come_back() -> None:
    loss_of = ContrastiveLoss()
    with torch.no_grad():
        loss_of.log_scale.fill_(10.0)
    # Wrong pairs are closest, so a larger temperature is better: the gradient must still say so at the limit.
    images = torch.eye(3)
    loss_of(images, images.roll(1, dims=0), torch.eye(3, dtype=torch.bool)).backward()
    assert loss_of.temperature == pytest.approx(1 / MAX_SCALE)
    assert loss_of.log_scale.grad.item() > 0


def test_bfloat16_vectors_are_compared_in_float32() -> None:
    rng = np.random.default_rng(2)
    images = torch.from_numpy(unit_rows(rng, 8)).bfloat16()
    positives = torch.eye(8, dtype=torch.bool)
    loss = ContrastiveLoss()(images, images, positives)
    assert loss.dtype == torch.float32
    expected = slow_loss(images.float().numpy(), images.float().numpy(), positives.numpy(), 0.07)
    assert loss.item() == pytest.approx(expected, rel=1e-3)
