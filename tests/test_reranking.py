"""The second look: likelihoods against the decoder's own steps, which pairs get one, and the order that results."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.captioners import Captioner, new_captioner
from helpers.reranking import first_hits, log_likelihoods, second_scores, usual_log_likelihoods
from helpers.text import build_tokenizer

TEXTS = ["a dog runs", "a cat", "a dog runs after a red ball"]


@pytest.fixture(scope="module", params=["attention", "transformer", "lstm"])
def captioner(request: pytest.FixtureRequest) -> Captioner:
    tokenizer = build_tokenizer("word", TEXTS)
    sizes = {"attention": {"hidden": 16}, "transformer": {"width": 16, "heads": 2}, "lstm": {"hidden": 16}}
    return new_captioner(request.param, tokenizer, 12, "efficientnet_lite0", 10, **sizes[request.param])


@pytest.fixture
def seen(captioner: Captioner) -> np.ndarray:
    shape = (4, 12) if captioner.kind == "lstm" else (4, 49, 12)
    return np.random.default_rng(0).random(shape, np.float32).astype(np.float16)


@torch.inference_mode()
def by_steps(captioner: Captioner, seen: np.ndarray, text: str) -> float:
    """Walk along the text with the function the decoders use, and add up what each next word gets."""
    model = captioner.model.eval()
    memory = model.encode(torch.from_numpy(seen[None].astype(np.float32)))
    state, total = model.initial_state(memory), 0.0
    tokens = captioner.tokenizer.encode(text, captioner.max_length)
    for token, following in pairwise(tokens):
        log_probs, state, _ = model.step(torch.tensor([token]), state, memory)
        total += log_probs[0, following].item()
    return total


def test_likelihoods_are_those_of_the_decoders_steps(captioner: Captioner, seen: np.ndarray) -> None:
    pairs = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]], bool)
    found = log_likelihoods(captioner, seen, TEXTS, pairs)
    assert (np.isnan(found) == ~pairs).all()
    for row, column in np.argwhere(pairs):
        expected = by_steps(captioner, seen[row], TEXTS[column])
        assert found[row, column] == pytest.approx(expected, rel=0.02)  # the fast way rounds to bfloat16


def test_usual_likelihood_is_the_mean_over_the_photos_a_text_fits_best(captioner: Captioner, seen: np.ndarray) -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.2, 0.9], [0.1, 0.7, 0.8], [0.0, 0.6, 0.1]])
    found = usual_log_likelihoods(captioner, seen, similarity, TEXTS, rivals=2)
    expected = [
        np.mean([by_steps(captioner, seen[row], text) for row in rows])
        for text, rows in zip(TEXTS, [(0, 1), (2, 3), (1, 2)], strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_first_hits_are_the_best_of_each_row() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.3, 0.0]])
    assert first_hits(scores, 1).tolist() == [[True, False, False], [False, True, False]]
    assert first_hits(scores, 2).tolist() == [[True, False, True], [True, True, False]]
    assert first_hits(scores, 10).all()


def test_second_look_orders_what_it_saw_and_leaves_the_rest_behind() -> None:
    scores = np.array([[0.5, 0.4, 0.3, 0.2]])
    likelihoods = np.array([[-30.0, -10.0, np.nan, np.nan]])
    found = second_scores(scores, likelihoods, weight=0.02)
    assert np.argsort(-found[0]).tolist() == [1, 0, 2, 3]
    usual = np.array([-32.0, -8.0, 0.0, 0.0])  # the first text is always unlikely, and here less so than usual
    assert np.argsort(-second_scores(scores, likelihoods, usual, weight=0.02)[0]).tolist() == [0, 1, 2, 3]
    unseen = second_scores(scores, np.full((1, 4), np.nan))
    assert np.argsort(-unseen[0]).tolist() == [0, 1, 2, 3]
