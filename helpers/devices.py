"""Where arithmetic runs: on the processor or on a GPU, chosen once at the start of a notebook.

Models that are trained, and finished ones that are loaded, go to the device that was chosen. Batches are made in the
processor's memory, and `to_device` takes them to the model; vectors and captions come back. So no model asks where it
is, and whoever chooses nothing (the search page, an album) stays on the processor.
"""

import copy
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.environment import command, cores, counted_threads, supports_bf16
from helpers.files import InputError

CPU = torch.device("cpu")
_chosen = CPU
_processes = 1


def choose_device(name: str, processes: int = 1) -> torch.device:
    """Use this device from now on: "cpu", "cuda" or "mps"; "auto" is a GPU that CUDA knows, else the processor.

    A Mac's GPU ("mps") has to be asked for by name: PyTorch lacks some of the operations there. Trainings run in so
    many `processes`, on a GPU each where it is "cuda".

    Raises:
        InputError: there is no such device here, or there are more processes than GPUs or cores.
    """
    global _chosen, _processes
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if found["cuda"] else "cpu"
    if not found[name]:
        why = {
            "cuda": 'PyTorch sees no NVIDIA GPU, or is a build without CUDA (README, "And a GPU?")',
            "mps": "PyTorch sees no Apple GPU",
        }[name]
        raise InputError(f"The device {name} cannot be used: {why}. Use the processor: {command(device='cpu')}.")
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(name, cores())
    if processes > there:
        what = "GPU of a Mac" if name == "mps" else "GPUs" if name == "cuda" else "cores that this process may use"
        fewer = command(processes=there)
        raise InputError(f"{processes} processes need as many of the {there} {what}; use fewer: {fewer}.")
    _chosen, _processes = torch.device(name), processes
    return _chosen


def chosen_device() -> torch.device:
    """The device that `choose_device` took; the processor, where nothing was chosen."""
    return _chosen


def chosen_processes() -> int:
    """How many processes share a training, as chosen beside the device."""
    return _processes


def device_of(model: Any) -> torch.device:
    """Where a model's weights are; of what has none, such as a graph of OpenVINO, the processor."""
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), CPU)


def to_device(rows: np.ndarray | Tensor, to: Any) -> Tensor:
    """`rows` as a tensor on a device, or where a model is; without a copy if they are there.

    To an NVIDIA GPU they go through pinned memory, out of which it reads by itself while the processor goes on.
    """
    tensor = torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows
    device = to if isinstance(to, torch.device) else device_of(to)
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device == CPU:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


def on_cpu(content: Any) -> Any:
    """Tensors, or dicts and lists of them, with every tensor on the processor, without its history; nothing is copied
    that is there.
    """
    if isinstance(content, Tensor):
        return content.detach().cpu()
    if isinstance(content, dict):
        copied = copy.copy(content)  # of the same kind, with what else it carries: a state of PyTorch has versions
        for name, part in content.items():
            copied[name] = on_cpu(part)
        return copied
    return [on_cpu(part) for part in content] if isinstance(content, list) else content


@cache
def short_floats(device: torch.device) -> torch.dtype | None:
    """The 16-bit numbers in which this device multiplies faster; None: it does not, or is not known to."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and supports_bf16() else None


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Matrix products and convolutions in 16 bits where the device gains by it, else in float32 as written."""
    kind = short_floats(device)
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)


def gradient_scaler(device: torch.device) -> torch.amp.GradScaler:
    """What keeps small gradients from becoming 0 in float16; with other numbers it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=short_floats(device) is torch.float16)


def in_words(device: torch.device) -> str:
    """The device and its 16-bit numbers, for a line about the versions that a result depends on."""
    kind = str(short_floats(device) or torch.float32).removeprefix("torch.")
    if device.type == "cpu":
        off = "bfloat16 off (this processor has no instructions for it)"
        return f"{counted_threads(torch.get_num_threads())}, {'bfloat16 on' if kind == 'bfloat16' else off}"
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"training on {device.type}{name} in {kind}, else {counted_threads(torch.get_num_threads())}"
