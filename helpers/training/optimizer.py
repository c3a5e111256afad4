"""The optimiser that all trainings share: AdamW, a warm-up, then half a cosine down to zero.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019) and "SGDR" (2017). Filters and matrices between
layers can take steps by Muon instead: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024),
with the steps as long as AdamW's (Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982).
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


class _Muon(_AdamW):
    """AdamW, except in groups that are marked `orthogonal`."""

    _MOMENTUM = 0.95
    _RMS = 0.2  # of the numbers in a step at a rate of 1, as AdamW's are

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._step_supports_amp_scaling = False  # what scales gradients up has to scale them down before a step

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"] if group["orthogonal"] else ():
                if weight.grad is not None:
                    self._turn(weight, group["lr"], group["weight_decay"])
                    weight.grad = None  # nothing is left of it for AdamW
        super().step(closure)

    def _turn(self, weight: nn.Parameter, learning_rate: float, weight_decay: float) -> None:
        """One step of a matrix, or of filters (out, in, k, k), each of which is a row."""
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}  # the first as PyTorch wants it
        ahead = weight.grad.lerp(state["exp_avg"].lerp_(weight.grad, 1 - self._MOMENTUM), self._MOMENTUM)  # Nesterov's
        rows = ahead.flatten(1)
        turned = orthogonal(rows) * (self._RMS * math.sqrt(max(rows.shape)))
        weight.mul_(1 - learning_rate * weight_decay).sub_(learning_rate * turned.view(weight.shape))


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (m, n) that is closest to `matrix` of those whose singular values are all 1.

    A gradient pushes along a few directions much more than along the others; so all count the same. Those that are
    weaker than a five-hundredth of the whole are mostly chance, and left weak.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    if not (length := matrix.norm()).isfinite():
        return matrix  # of which the next loss will tell
    rows = matrix.float() / length.clamp(min=1e-12)
    products = rows @ rows.T
    eigen = torch.linalg.eigh(products.cpu() if products.is_mps else products)  # which Apple's GPUs do not have
    squares, directions = (part.to(rows.device) for part in eigen)  # of singular values (m,), where they point (m, m)
    return (directions * squares.clamp(min=500**-2).rsqrt()) @ (directions.T @ rows)


def matrices_of(model: nn.Module) -> list[nn.Parameter]:
    """The filters and matrices of a model, which turn vectors into others; word vectors are looked up."""
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return [weight for weight in model.parameters() if weight.dim() > 1 and id(weight) not in looked_up]


def adamw(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    pretrained: Iterable[nn.Parameter] = (),
    share: float = 0.1,
    matrices: Iterable[nn.Parameter] = (),
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and filters only; biases, scales and temperatures are left alone.

    Those of `parameters` that are also in `pretrained` learn at this `share` of the rate. Frozen ones stay out: they
    never get moments, and a checkpoint could not bring any back. Those in `matrices` take steps by Muon.
    """
    pretrained, matrices = ({id(weight) for weight in some} for some in (pretrained, matrices))
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for weight in parameters:
        if weight.requires_grad:
            decay, of_rate = weight_decay if weight.dim() > 1 else 0.0, share if id(weight) in pretrained else 1.0
            groups.setdefault((decay, of_rate, id(weight) in matrices), []).append(weight)
    optimizer = (_Muon if matrices else _AdamW)(
        [
            {"params": group, "weight_decay": decay, "share": of_rate, "orthogonal": by_muon}
            for (decay, of_rate, by_muon), group in groups.items()
        ],
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
            moments = ["exp_avg"] if group["orthogonal"] else ["exp_avg", "exp_avg_sq"]
            for like in (state[name] for name in moments):
                if like.shape != weight.shape or like.stride() != weight.stride():
                    raise ValueError("moments of another size than the weights")
            if state["step"].shape != () or state.keys() != {"step", *moments}:
                raise ValueError("a state that the optimiser does not have")


def load_scale(scaler: torch.amp.GradScaler, state: dict[str, Any]) -> None:
    """Go on with a checkpoint's scale, if it has one; after a training in other numbers there is none."""
    if state.get("scaler"):
        scaler.load_state_dict(state["scaler"])
