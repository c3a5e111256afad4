"""The second look: likelihoods against the decoder's own steps, which pairs get one, and the order that results."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.captioning.captioner import Captioner, new_captioner
from helpers.data.text import build_tokenizer
from helpers.encoders import metrics
from helpers.search import reranking
from helpers.search.reranking import (
    crowding,
    first_hits,
    log_likelihoods,
    second_scores,
    usual_log_likelihoods,
    without_hubs,
)

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


@pytest.mark.parametrize("together", [1, 4, 96])  # a photo alone, some with as many texts, all in one call
def test_likelihoods_are_those_of_the_decoders_steps(
    captioner: Captioner, seen: np.ndarray, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "_TOGETHER", together)
    pairs = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]], bool)
    found = log_likelihoods(captioner, seen, TEXTS, pairs)
    assert (np.isnan(found) == ~pairs).all()
    for row, column in np.argwhere(pairs):
        expected = by_steps(captioner, seen[row], TEXTS[column])
        assert found[row, column] == pytest.approx(expected, rel=0.02)  # the fast way rounds to bfloat16


def test_usual_likelihood_is_the_mean_over_the_photos_a_text_fits_best(captioner: Captioner, seen: np.ndarray) -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.2, 0.9], [0.1, 0.7, 0.8], [0.0, 0.6, 0.1]])
    # Photos along the axes, so that their products with these vectors are that table.
    found = usual_log_likelihoods(captioner, seen, np.eye(4), similarity.T, TEXTS, rivals=2)
    expected = [
        np.mean([by_steps(captioner, seen[row], text) for row in rows])
        for text, rows in zip(TEXTS, [(0, 1), (2, 3), (1, 2)], strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def unit_rows(rng: np.random.Generator, rows: int, width: int = 6) -> np.ndarray:
    vectors = rng.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_scores_without_hubs_are_half_of_csls() -> None:
    rng = np.random.default_rng(3)
    photos, texts, train_photos, train_texts = (unit_rows(rng, rows) for rows in (5, 7, 40, 1500))
    scores = without_hubs(photos @ texts.T, crowding(photos, train_texts, 4), crowding(texts, train_photos, 4))
    for row, photo in enumerate(photos):
        for column, text in enumerate(texts):
            near_photo = sorted((float(photo @ other) for other in train_texts), reverse=True)[:4]
            near_text = sorted((float(text @ other) for other in train_photos), reverse=True)[:4]
            csls = 2 * float(photo @ text) - sum(near_photo) / 4 - sum(near_text) / 4  # Conneau et al., eq. 4
            assert 2 * scores[row, column] == pytest.approx(csls, abs=1e-5)


def test_crowding_takes_all_others_where_there_are_few_and_many_rows_in_parts() -> None:
    rng = np.random.default_rng(4)
    vectors, others = unit_rows(rng, 2500), unit_rows(rng, 3)
    np.testing.assert_allclose(crowding(vectors, others), (vectors @ others.T).mean(axis=1), atol=1e-6)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch, captioner: Captioner, seen: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    photos, vectors = unit_rows(rng, 4), unit_rows(rng, len(TEXTS))
    expected = usual_log_likelihoods(captioner, seen, photos, vectors, TEXTS, rivals=2)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 4 * 4)  # one text at a time
    np.testing.assert_array_equal(usual_log_likelihoods(captioner, seen, photos, vectors, TEXTS, rivals=2), expected)


def test_a_hub_no_longer_comes_first_everywhere() -> None:
    """Texts along three axes; photo 0 lies between all of them, photos 1 to 3 near one each, but less near."""
    texts = np.eye(3, dtype=np.float32)
    photos = np.array([[1, 1, 1], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]], np.float32)
    photos[0] /= np.sqrt(3)  # photos 1 to 3 keep a length of a half: nearer in kind, with the lower cosine
    cosines = photos @ texts.T
    assert (cosines.argmax(axis=0) == 0).all()
    train_texts = np.repeat(texts, 2, axis=0)
    fair = without_hubs(cosines, crowding(photos, train_texts, 6), np.zeros(3, np.float32))
    assert fair.argmax(axis=0).tolist() == [1, 2, 3]


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


def test_second_scores_are_the_formula_of_the_whole_table() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, (30, 50)).astype(np.float32)
    likelihoods = np.where(rng.random(scores.shape) < 0.3, rng.uniform(-60, -5, scores.shape), np.nan)
    likelihoods = likelihoods.astype(np.float32)
    usual = rng.uniform(-40, -10, 50)
    found = second_scores(scores, likelihoods, usual, weight=0.03)
    formula = scores + 0.03 * (likelihoods - usual)
    seen = ~np.isnan(formula)
    np.testing.assert_array_equal(found[seen], formula[seen])
    assert found[~seen].max() < min(0.0, formula[seen].min())
    np.testing.assert_array_equal(found[~seen].argsort(), scores[~seen].argsort())
