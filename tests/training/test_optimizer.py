import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers.training.optimizer import adamw, descend, orthogonal, set_learning_rate, warmup_cosine


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


def test_muon_steps_along_all_directions_alike_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 40)).to(memory_format=torch.channels_last)
    filters, matrix = model[0].weight, model[2].weight
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = adamw(model.parameters(), 0.01, weight_decay=0.5, matrices=[filters, matrix])
    model(torch.randn(64, 3, 3, 3)).square().sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    optimizer.step()
    for name, weight in {"0.weight": filters, "2.weight": matrix}.items():
        left, _, right = np.linalg.svd(gradients[name].flatten(1).double().numpy(), full_matrices=False)
        rows, columns = before[name].flatten(1).shape
        turned = 0.2 * math.sqrt(max(rows, columns)) * (left @ right)  # (m, n), all of whose singular values are equal
        step = (before[name] * (1 - 0.01 * 0.5) - weight.detach()) / 0.01
        np.testing.assert_allclose(step.flatten(1).numpy(), turned, atol=2e-3)
    for name in ("0.bias", "2.bias"):
        now = dict(model.named_parameters())[name]
        torch.testing.assert_close(now, before[name] - 0.01 * gradients[name].sign())  # AdamW's first step


def test_directions_that_are_mostly_chance_stay_weak() -> None:
    turns = [torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)))[0] for seed in (1, 2)]
    strengths = torch.tensor([1, 0.1, 0.01, 1e-4, 0])
    given = turns[0] @ torch.diag(strengths) @ turns[1]
    now = torch.linalg.svdvals(orthogonal(given))
    torch.testing.assert_close(now, torch.tensor([1, 1, 1, 0.05, 0]), atol=1e-3, rtol=0)
    for shape in ((3, 7), (7, 3)):
        assert not orthogonal(torch.zeros(shape)).any() and orthogonal(torch.ones(shape)).shape == shape
        assert orthogonal(torch.full(shape, torch.nan)).isnan().all()  # and no error of the solver


def test_the_momentum_of_muon_is_that_of_pytorch() -> None:
    torch.manual_seed(3)
    ours, theirs = nn.Linear(12, 6, bias=False), nn.Linear(12, 6, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizer = adamw(ours.parameters(), 0.01, 0.1, matrices=ours.parameters())
    # Their steps turn by an iteration that ends near the matrix itself, so with more of them, and slower ones, at it.
    exact = {"ns_coefficients": (1.5, -0.5, 0.0), "ns_steps": 40, "adjust_lr_fn": "match_rms_adamw"}
    reference = torch.optim.Muon(theirs.parameters(), lr=0.01, weight_decay=0.1, **exact)
    for _ in range(6):
        photos = torch.randn(16, 12)  # (B, 12)
        for model, its in ((ours, optimizer), (theirs, reference)):
            its.zero_grad()
            model(photos).square().mean().backward()
            its.step()
        optimizer.load_state_dict(optimizer.state_dict())  # as when a training goes on
    torch.testing.assert_close(ours.weight, theirs.weight, atol=1e-3, rtol=0)  # which count in bfloat16


def test_muon_makes_no_step_from_a_gradient_that_is_no_number() -> None:
    model = nn.Linear(4, 3)
    before = model.weight.detach().clone()
    optimizer = adamw(model.parameters(), 0.1, 0.5, matrices=[model.weight])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    descend(model, optimizer, model(torch.full((2, 4), torch.inf)).sum(), None, scaler)
    assert torch.equal(model.weight, before) and scaler.get_scale() == 2.0
    descend(model, optimizer, model(torch.eye(4)).sum(), None, scaler)
    assert not torch.equal(model.weight, before) and model.weight.isfinite().all()
