"""A second device that needs no hardware: PyTorch takes it for one of its own, and it computes on the processor.

Its tensors mix with the processor's as little as those of a GPU: an operation that gets some of both fails, and so does
`.numpy()`. What runs through here leaves nothing behind on the processor that belongs on the device.

Once `register` has told PyTorch of it, `.to("other")` and `device="other"` work everywhere in the process. It builds on
what PyTorch has for backends that are written in Python ("PrivateUse1").
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_iter, tree_map

NAME = "other"
_TAKES_BOTH = ("aten::_to_copy", "aten::copy_")  # which exist to move
_aten = torch.ops.aten


class OtherTensor(Tensor):
    """A tensor of the other device, around one of the processor."""

    @staticmethod
    def __new__(cls, real: Tensor) -> "OtherTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=torch.device(NAME, 0),
        )
        made.real_ = real
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OtherTensor({self.real_})"

    def __format__(self, form: str) -> str:
        return format(self.real_, form)

    def tolist(self) -> list:
        return self.real_.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if (parts := func.decompose(*args, **kwargs or {})) is not NotImplemented:  # made of other operations
            return parts
        given, name = (args, kwargs or {}), func._schema.name
        tensors = [one for one in tree_iter(given) if isinstance(one, Tensor)]
        if name not in _TAKES_BOTH and any(not isinstance(one, cls) and one.dim() for one in tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} got some of both.")
        device = given[1].get("device")
        here = device is None or torch.device(device).type == NAME
        wrapper_of = {id(one.real_): one for one in tensors if isinstance(one, cls)}  # what is changed in place
        real_args, real_kwargs = tree_map(lambda one: one.real_ if isinstance(one, cls) else one, given)
        if device is not None:
            real_kwargs["device"] = "cpu"
        found = _LSTM.get(func, func)(*real_args, **real_kwargs)
        if name == "aten::_to_copy" and not here:
            return found.clone() if any(found is one for one in real_args) else found

        def wrap(one: Any) -> Any:
            return wrapper_of[id(one)] if id(one) in wrapper_of else cls(one) if isinstance(one, Tensor) else one

        with torch.inference_mode(False), torch.no_grad():  # views of ordinary tensors have to be ordinary, too
            return tree_map(wrap, found)


def _real(tensor: Tensor) -> Tensor:
    return tensor.real_ if isinstance(tensor, OtherTensor) else tensor


def _lstm_cell(of_input: Tensor, of_state: Tensor, c: Tensor, *biases: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The LSTM cell that PyTorch has for devices in one operation, and for the processor in several."""
    gates = of_input + of_state + sum(bias for bias in biases if bias is not None)
    i, f, g, o = gates.chunk(4, dim=1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    return o * new.tanh(), new, torch.cat([i, f, g, o], dim=1)


def _lstm_cell_backward(
    grad_h: Tensor | None, grad_c: Tensor | None, old: Tensor, new: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    i, f, g, o = workspace.chunk(4, dim=1)
    grad_h = torch.zeros_like(old) if grad_h is None else grad_h
    through = grad_h * o * (1 - new.tanh() ** 2) + (0 if grad_c is None else grad_c)
    gates = [through * g * i * (1 - i), through * old * f * (1 - f), through * i * (1 - g**2)]
    gates = torch.cat([*gates, grad_h * new.tanh() * o * (1 - o)], dim=1)
    return gates, through * f, gates.sum(0) if has_bias else None


_LSTM = {
    _aten._thnn_fused_lstm_cell.default: _lstm_cell,
    _aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
}


class _Module(backend_registration._DummyBackendModule):
    """What `torch.other` is, beside what PyTorch supplies."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@cache
def register() -> torch.library.Library:
    """Tell PyTorch of the device, before it computes a first gradient."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("aten", "IMPL")

    def empty(size: Any, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
        return OtherTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))

    def empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Tensor:
        return OtherTensor(torch.empty_strided(size, stride, dtype=dtype))

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        _real(target).copy_(_real(source))
        return target

    library.impl("_copy_from", copy_from, "PrivateUse1")
    library.impl("empty.memory_format", empty, "PrivateUse1")
    library.impl("empty_strided", empty_strided, "PrivateUse1")
    return library
