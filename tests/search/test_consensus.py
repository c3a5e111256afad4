"""Consensus: the neighbours against brute force, and what everyone thinks of each caption against a walk by hand."""

import numpy as np
import pytest

from helpers.captioning.captioner import Captioner, new_captioner
from helpers.captioning.self_critical import CiderReward
from helpers.data.text import build_tokenizer
from helpers.search.consensus import agreement, best, candidates, drawn_captions, fit, opinions
from helpers.search.reranking import RIVALS, log_likelihoods

TRUTHS = [
    ["a dog runs on the grass", "a brown dog runs"],
    ["a cat sleeps in a box", "a cat in a box"],
    ["a dog runs after a red ball", "a dog with a ball"],
    ["two boats on the sea", "boats on the blue sea"],
]


@pytest.fixture(scope="module")
def captioners() -> list[Captioner]:
    tokenizer = build_tokenizer("word", [text for photo in TRUTHS for text in photo])
    sizes = {"lstm": {"hidden": 16}, "attention": {"hidden": 16}}
    return [
        new_captioner(kind, tokenizer, 12, "efficientnet_lite0", 9, beam=2, seed=3, **size)
        for kind, size in sizes.items()
    ]


@pytest.fixture(scope="module")
def seen() -> list[np.ndarray]:
    grid = np.random.default_rng(0).random((3, 49, 12), np.float32)
    return [grid.mean(axis=1), grid.astype(np.float16)]


def test_draws_hold_the_own_caption_once_and_repeat(captioners: list[Captioner], seen: list[np.ndarray]) -> None:
    for captioner, features in zip(captioners, seen, strict=True):
        drawn = drawn_captions(captioner, features, count=6, seed=2)
        own = captioner.texts(captioner.decode(features.astype(np.float32)))
        assert [texts[0] for texts in drawn] == own
        assert all(len(set(texts)) == len(texts) <= 7 for texts in drawn) and max(map(len, drawn)) > 2
        assert drawn == drawn_captions(captioner, features, count=6, seed=2)


def test_candidates_are_what_anyone_drew_each_once() -> None:
    first, second = [["a dog", "a cat"], []], [["a cat", "a cow"], ["", "a boat", "."]]
    assert candidates([first]) == first
    assert candidates([first, second]) == [["a dog", "a cat", "a cow"], ["a boat"]]


TEXTS = [["a dog runs", "two boats on the sea"], [], ["a dog runs", "a cat in a box", "a dog on the sea"]]


@pytest.mark.parametrize("voters", [[0], [1], [0, 1]])
def test_opinions_are_mean_log_probabilities(
    captioners: list[Captioner], seen: list[np.ndarray], voters: list[int]
) -> None:
    found = opinions([captioners[voter] for voter in voters], [seen[voter] for voter in voters], TEXTS)
    expected = []
    for photo, texts in enumerate(TEXTS):
        for text in texts:
            alone = [
                log_likelihoods(captioners[voter], seen[voter][[photo]], [text], np.ones((1, 1), bool)).item()
                for voter in voters
            ]
            expected.append(np.mean(alone) / (len(text.split()) + 1) ** 0.7)
    np.testing.assert_allclose(found, expected, rtol=2e-2)  # bfloat16 differs a little with the size of a batch


def test_agreement_is_the_mean_reward_over_the_neighbours() -> None:
    reward = CiderReward(TRUTHS)
    neighbours = np.array([[0, 2], [0, 1], [3, 1]])
    found = agreement(TEXTS, neighbours, reward)
    expected = [
        (reward(one, text) + reward(other, text)) / 2
        for texts, (one, other) in zip(TEXTS, neighbours, strict=True)
        for text in texts
    ]
    np.testing.assert_allclose(found, expected)
    assert found[0] > found[1] and found[3] > found[2]


def test_fit_is_the_cosine_less_half_of_the_crowd() -> None:
    rng = np.random.default_rng(4)

    def unit(rows: int) -> np.ndarray:
        vectors = rng.normal(size=(rows, 5)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    photos, known = unit(3), unit(40)
    space = dict(zip(dict.fromkeys(text for texts in TEXTS for text in texts), unit(4), strict=True))
    found = fit(TEXTS, photos, known, lambda texts: np.stack([space[text] for text in texts]))
    expected = [
        photos[photo] @ space[text] - np.sort(known @ space[text])[-RIVALS:].mean() / 2
        for photo, texts in enumerate(TEXTS)
        for text in texts
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_best_of_each_photo_is_chosen() -> None:
    assert best(TEXTS, np.array([0.1, 0.2, 0.5, 0.7, 0.6])) == ["two boats on the sea", "", "a cat in a box"]
    assert best(TEXTS, np.array([0.3, 0.2, 0.5, 0.5, 0.5])) == ["a dog runs", "", "a dog runs"]  # the first of equals
