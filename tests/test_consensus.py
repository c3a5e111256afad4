"""Consensus: the neighbours against brute force, their word against the reward, the choice against a walk by hand."""

import numpy as np
import pytest
import torch

from helpers.captioners import Captioner, new_captioner
from helpers.consensus import agreement, consensus_captions, drawn_captions, similar_photos
from helpers.reranking import log_likelihoods
from helpers.self_critical import CiderReward
from helpers.text import build_tokenizer

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


def test_similar_photos_are_those_of_the_highest_cosine_after_scaling() -> None:
    rng = np.random.default_rng(1)
    known, vectors = rng.normal(size=(30, 6)) * [1, 1, 1, 1, 1, 90] + 5, rng.normal(size=(4, 6)) + 5
    found = similar_photos(vectors, known, 7)
    for row, vector in enumerate(vectors):
        ours = (vector - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)
        theirs = (known - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)
        cosines = [ours @ other / np.linalg.norm(ours) / np.linalg.norm(other) for other in theirs]
        assert found[row].tolist() == sorted(range(30), key=lambda place: -cosines[place])[:7]
    assert (similar_photos(known, known, 1)[:, 0] == np.arange(30)).all()  # each is most like itself


def test_agreement_is_the_mean_reward_over_the_neighbours() -> None:
    reward = CiderReward(TRUTHS)
    texts = ["a dog runs", "two boats on the sea", ""]
    found = agreement(texts, [0, 2], reward)
    np.testing.assert_allclose(found, [(reward(0, text) + reward(2, text)) / 2 for text in texts])
    assert found[0] > found[1] >= found[2] == 0


def test_draws_hold_the_own_caption_once_and_repeat(captioners: list[Captioner], seen: list[np.ndarray]) -> None:
    for captioner, features in zip(captioners, seen, strict=True):
        drawn = drawn_captions(captioner, features, count=6, seed=2)
        own = captioner.texts(captioner.decode(features.astype(np.float32)))
        assert [texts[0] for texts in drawn] == own
        assert all(len(set(texts)) == len(texts) <= 7 for texts in drawn) and max(map(len, drawn)) > 2
        assert drawn == drawn_captions(captioner, features, count=6, seed=2)


def by_hand(
    captioners: list[Captioner], seen: list[np.ndarray], texts: list[str], photo: int, rows: list[int], weight: float
) -> str:
    """The best of `texts` for one photo, scored one by one."""
    reward, scores = CiderReward(TRUTHS), []
    for text in texts:
        every = np.ones((1, 1), bool)
        opinions = [
            log_likelihoods(captioner, features[[photo]], [text], every).item()
            for captioner, features in zip(captioners, seen, strict=True)
        ]
        worth = sum(reward(row, text) for row in rows) / len(rows)
        scores.append(np.mean(opinions) / (len(text.split()) + 1) ** 0.7 + weight * worth)
    return texts[int(np.argmax(scores))]


@pytest.mark.parametrize("weight", [0.0, 2.5, 1000.0])
@pytest.mark.parametrize("voters", [[0], [1], [0, 1]])
def test_the_choice_equals_a_score_by_hand(
    captioners: list[Captioner], seen: list[np.ndarray], voters: list[int], weight: float
) -> None:
    writers, looks = [captioners[voter] for voter in voters], [seen[voter] for voter in voters]
    drawn = [drawn_captions(writer, look, 8, seed=5) for writer, look in zip(writers, looks, strict=True)]
    extra = [[[*texts, "a dog runs on the grass"] for texts in writer] for writer in drawn]
    neighbours = np.array([[0, 2], [1, 3], [3, 0]])
    with torch.inference_mode():
        found = consensus_captions(writers, looks, extra, neighbours, CiderReward(TRUTHS), weight)
    for photo, text in enumerate(found):
        texts = list(dict.fromkeys(text for writer in extra for text in writer[photo]))
        assert text == by_hand(writers, looks, texts, photo, neighbours[photo].tolist(), weight)
    without = [[[], *writer[1:]] for writer in drawn]
    assert consensus_captions(writers, looks, without, neighbours, CiderReward(TRUTHS), weight)[0] == ""
    if weight == 1000:
        assert found[0] == "a dog runs on the grass"  # word for word what was said of the first neighbour
