"""The self-critical stage: its reward against pycocoevalcap, its gradient against brute force, and what it leads to."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pycocoevalcap.cider.cider import Cider
from small_captioners import KINDS, prepared
from torch import Tensor

from helpers.captioning import self_critical
from helpers.captioning.captioner import Captioner, new_captioner
from helpers.captioning.decoding import sample, trim
from helpers.captioning.scoring import tokenize
from helpers.captioning.self_critical import CiderReward, advantages, self_critical_loss
from helpers.data.text import build_tokenizer

CAPTIONS = [
    ["A dog's toy lies on the grass.", "a dog plays on the green grass", "the dog can't stop playing"],
    ["A cat sleeps in a box .", "a black cat in a box"],
    ["two dogs run on the grass", "two dogs run and run on grass", "dogs run", "a dog follows a dog"],
    ["a red boat on the sea"],
]
ANSWERS = [  # to each photo, in turn: right, ended too early, far too long, wrong, nothing
    ["a dog plays on the grass", "a cat in a box", "two dogs run on the grass", "a red boat on the sea"],
    ["a dog plays on the", "a cat in a", "two dogs run on", "a red boat on the"],
    ["the dog the dog plays on and on on the green grass and on the sea and on the grass and in a box"] * 4,
    ["a zebra talks to mr. smith", "a dog plays on the grass", "a cat in a box", "two dogs run"],
    ["", ".", "a", "grass"],
]


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rounding to bfloat16, so that equal means equal."""
    monkeypatch.setattr(self_critical, "autocast", nullcontext)


@pytest.mark.parametrize("answers", ANSWERS)
def test_reward_is_cider_d_of_the_package_over_captions_with_their_end(answers: list[str]) -> None:
    def ended(text: str) -> str:
        return " ".join([*tokenize(text), "<EOS>"])

    # The package counts in how many photos an n-gram occurs in the references that it is given: all of them.
    truths = {photo: [ended(text) for text in texts] for photo, texts in enumerate(CAPTIONS)}
    _, expected = Cider().compute_score(truths, {photo: [ended(text)] for photo, text in enumerate(answers)})
    reward = CiderReward(CAPTIONS)
    found = [reward(photo, text) for photo, text in enumerate(answers)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_the_end_is_worth_something() -> None:
    reward = CiderReward(CAPTIONS)
    whole, cut = reward(1, "a black cat in a box"), reward(1, "a black cat in a")
    assert whole > 1.5 * cut
    assert reward(3, "a red boat on the sea") == pytest.approx(10)


def test_advantages_equal_a_count_by_hand() -> None:
    rewards = np.array([[1.0, 4.0, 7.0], [2.0, 2.0, 2.0]])
    expected = [[1 - (4 + 7) / 2, 4 - (1 + 7) / 2, 7 - (1 + 4) / 2], [0, 0, 0]]
    np.testing.assert_allclose(advantages(rewards), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_equal_brute_force(kind: str, in_float32: None) -> None:
    captioner, train, _ = prepared(4, kind, dropout=0)
    model, reward = captioner.model, CiderReward(train.captions)
    photos, count = [2, 0, 3], 16
    features = torch.from_numpy(train.features(np.array(photos)))
    rules = captioner.rules
    drawn = sample(model.eval(), features, rules, temperature=0.8, count=count, seed=5)
    loss, mean = self_critical_loss(captioner, features, photos, reward, count, seed=5)
    assert not model.training  # the captions must come from the distribution whose gradient is taken
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    rewards = [reward(photos[row // count], captioner.tokenizer.decode(c.tokens)) for row, c in enumerate(drawn)]
    assert mean == pytest.approx(np.mean(rewards)) and len(set(rewards)) > 2
    model.zero_grad()
    memory = model.encode(features)
    start = model.initial_state(memory)
    terms: list[Tensor] = []
    for row, caption in enumerate(drawn):
        own = slice(row // count, row // count + 1)
        rivals = [rewards[other] for other in range(len(drawn)) if other // count == row // count and other != row]
        advantage = rewards[row] - np.mean(rivals)
        state, written = tuple(part[own] for part in start), [rules.sos_id]
        for word in [*caption.tokens, rules.eos_id]:
            log_probs, state, _ = model.step(torch.tensor(written[-1:]), state, memory[own])
            allowed = trim(rules.apply(log_probs, torch.tensor([written])), temperature=0.8)
            if len(written) < rules.max_length - 1:  # at the last place the end is forced
                terms.append(-advantage * allowed[0, word])
            written.append(word)
    expected = torch.stack(terms).mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert set(found) == set(gradients) and max(grad.abs().max() for grad in found.values()) > 1e-3
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}")


def test_the_seed_decides_the_loss() -> None:
    captioner, train, _ = prepared(6, dropout=0)
    reward, features = CiderReward(train.captions), torch.from_numpy(train.features(np.arange(6)))

    def loss(seed: int) -> tuple[float, float]:
        value, mean = self_critical_loss(captioner, features, range(6), reward, 3, seed)
        return value.item(), mean

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def little(kind: str, **model: float) -> tuple[Captioner, Tensor, CiderReward]:
    """An untrained captioner of five words, and four photos that differ in colour and animal."""
    captions = [[f"{colour} {animal}"] for colour in ("red", "blue") for animal in ("dog", "cat")]
    tokenizer = build_tokenizer("word", [text for photo in captions for text in photo])
    features = torch.tensor([[1.0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]])
    features = features if kind == "lstm" else features[:, None].repeat(1, 4, 1)
    return new_captioner(kind, tokenizer, 4, "none", 6, dropout=0, **model), features, CiderReward(captions)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("lstm", {"embedding": 8, "hidden": 16}),
        ("attention", {"embedding": 8, "hidden": 16, "attention": 8}),
        ("transformer", {"width": 16, "heads": 2, "decoder_layers": 1, "grid": 2}),
    ],
)
def test_drawn_captions_get_better_when_following_the_gradient(
    kind: str, model: dict[str, int], in_float32: None
) -> None:
    captioner, features, reward = little(kind, **model)
    optimizer = torch.optim.Adam(captioner.model.parameters(), 0.02)
    means = []
    for seed in range(60):
        loss, mean = self_critical_loss(captioner, features, range(4), reward, 12, seed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        means.append(mean)
    assert np.mean(means[-5:]) > 2.5 * np.mean(means[:5])
    texts = captioner.texts(captioner.decode(features))
    assert len(set(texts)) > 1  # and they tell photos apart
