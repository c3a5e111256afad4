"""The optimiser that all trainings share: AdamW, a warm-up, then half a cosine down to zero.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019) and "SGDR" (2017).
"""

import math
from collections.abc import Iterable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn

from helpers.environment import trim_memory
from helpers.training.processes import average_gradients


class _AdamW(torch.optim.AdamW):
    """PyTorch's AdamW without the wrappers that tell PyTorch's compiler to leave its methods alone.

    To tell it, they load it, and that takes nearly as long as loading PyTorch. Nothing here is compiled.
    """

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)


def adamw(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    pretrained: Iterable[nn.Parameter] = (),
    share: float = 0.1,
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and filters only; biases, scales and temperatures are left alone.

    Those of `parameters` that are also in `pretrained` learn at this `share` of the rate. Frozen ones stay out: they
    never get moments, and a checkpoint could not bring any back.
    """
    pretrained = {id(weight) for weight in pretrained}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for weight in parameters:
        if weight.requires_grad:
            key = (weight_decay if weight.dim() > 1 else 0.0, share if id(weight) in pretrained else 1.0)
            groups.setdefault(key, []).append(weight)
    optimizer = _AdamW(
        [{"params": group, "weight_decay": decay, "share": of_rate} for (decay, of_rate), group in groups.items()],
        fused=True,
    )
    set_learning_rate(optimizer, learning_rate)
    return optimizer


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step` of `steps`; `warmup` is the share of the steps that climb to it."""
    climbing = max(1, round(warmup * steps))
    if step < climbing:
        return (step + 1) / climbing
    return 0.5 * (1 + math.cos(math.pi * (step - climbing) / max(1, steps - climbing)))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate` for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["share"]


def descend(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    clip: float | None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """One step down the gradient; `clip` is the largest norm of all gradients of `model` together.

    Where several processes train, the gradient is the mean of theirs. `scaler` is from
    `helpers.devices.gradient_scaler`, where the loss may have been computed in float16.
    """
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    average_gradients(optimizer)
    if clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
    trim_memory()


def load_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Give an optimizer of `adamw` the moments that `state_dict` of another one held; its settings stay its own.

    The fused step goes through the memory of weights and moments side by side, as many numbers as a weight has, and
    PyTorch does not look whether the moments have as many: those of a file that somebody else wrote could be less.

    Raises:
        ValueError: they do not fit the weights.
    """
    optimizer.load_state_dict({"state": saved["state"], "param_groups": optimizer.state_dict()["param_groups"]})
    for group in optimizer.param_groups:
        for weight in group["params"]:
            state = optimizer.state[weight]
            moments = [state[name] for name in ("exp_avg", "exp_avg_sq")]
            if not all(like.shape == weight.shape and like.stride() == weight.stride() for like in moments):
                raise ValueError("moments of another size than the weights")
            if state["step"].shape != () or len(state) != 3:
                raise ValueError("a state that AdamW does not have")


def load_scale(scaler: torch.amp.GradScaler, state: dict[str, Any]) -> None:
    """Go on with a checkpoint's scale, if it has one; after a training in other numbers there is none."""
    if state.get("scaler"):
        scaler.load_state_dict(state["scaler"])
