import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers.training.optimizer import adamw, descend, set_learning_rate, warmup_cosine


def test_schedule_climbs_then_follows_half_a_cosine() -> None:
    shares = [warmup_cosine(step, 100, 0.2) for step in range(100)]
    np.testing.assert_allclose(shares[:20], np.arange(1, 21) / 20)
    expected = [(1 + math.cos(math.pi * place / 80)) / 2 for place in range(80)]
    np.testing.assert_allclose(shares[20:], expected)
    assert shares[-1] < 0.001


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.1), (1, 1.0), (3, 1.0), (2, 0.0)])
def test_schedule_of_very_short_runs_stays_between_0_and_1(steps: int, warmup: float) -> None:
    shares = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == 1


def test_only_matrices_decay() -> None:
    model = nn.Linear(3, 2)
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = adamw(model.parameters(), learning_rate=0.1, weight_decay=0.5)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    # Without a gradient AdamW only decays: weight * (1 - learning rate * weight decay).
    torch.testing.assert_close(model.weight, before[0] * 0.95)
    torch.testing.assert_close(model.bias, before[1])


def test_learning_rate_reaches_every_group() -> None:
    optimizer = adamw(nn.Linear(3, 2).parameters(), 0.1, 0.5)
    set_learning_rate(optimizer, 0.025)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025]


def test_pretrained_weights_learn_at_a_tenth_of_the_rate() -> None:
    fresh, known = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = adamw([*fresh.parameters(), *known.parameters()], 0.1, 0.5, pretrained=known.parameters())
    for rate in (0.1, 0.04):
        set_learning_rate(optimizer, rate)
        rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
        assert [rates[id(weight)] for weight in fresh.parameters()] == [rate, rate]
        assert [rates[id(weight)] for weight in known.parameters()] == pytest.approx([rate / 10, rate / 10])
    half = adamw([*fresh.parameters(), *known.parameters()], 0.1, 0.5, known.parameters(), share=0.5)
    assert sorted(group["lr"] for group in half.param_groups) == pytest.approx([0.05, 0.05, 0.1, 0.1])


def test_steps_are_those_of_pytorch_to_the_last_bit_and_leave_no_graph() -> None:
    torch.manual_seed(3)
    ours, theirs = nn.Linear(30, 20), nn.Linear(30, 20)
    theirs.load_state_dict(ours.state_dict())
    photos = torch.randn(16, 30)  # (B, 30)
    optimizer = adamw(ours.parameters(), 0.01, 0.1)
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, fused=True)
    for _ in range(5):
        descend(ours, optimizer, ours(photos).square().mean(), None)
        reference.zero_grad()
        theirs(photos).square().mean().backward()
        reference.step()
        optimizer.load_state_dict(optimizer.state_dict())  # as when a training goes on
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    moments = optimizer.state[ours.weight]
    assert torch.equal(moments["exp_avg"], reference.state[theirs.weight]["exp_avg"])
    assert not moments["exp_avg_sq"].requires_grad and ours.weight.is_leaf
