"""Several processes train one model: each computes its share of every batch, and all of them take the same step.

The process of a notebook is the main one. `together` starts the others for one training, with copies of all that it
needs, and ends them with it; only the main one writes, prints and judges. Every process draws the same batch from the
epoch's seed and takes its share. What a loss has to see of the whole batch is gathered, and gradients are averaged once
a step, in `descend`. Without batch normalisation and dropout, which see a share alone, the steps are those of one
process. How the processes find each other is left to Hugging Face Accelerate.
"""

import importlib
import io
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from helpers.devices import choose_device, chosen_device, chosen_processes
from helpers.environment import end_with_parent, keep_freed_memory, set_threads
from helpers.files import InputError, first_line

Result = TypeVar("Result")
_LONGEST = timedelta(hours=12)  # that the others wait for the main process, which judges alone
_JOINING = timedelta(minutes=1)  # that all wait for each other at first: by then each has nothing else left to do
_TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_AGAIN = "Run this again: it goes on after its last whole epoch."


def several() -> dict[str, int]:
    """For a run's fingerprint: the number of processes, where it is more than one."""
    return {"processes": chosen_processes()} if chosen_processes() > 1 else {}


def is_main() -> bool:
    """Whether this is the process that writes: where only one trains, it is."""
    return process_index() == 0


def process_index() -> int:
    """The number of this process among those that train; 0 is the main one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def share(rows: np.ndarray) -> np.ndarray:
    """What this process takes of a batch; all of it, where only one trains.

    Raises:
        InputError: it is too small to be shared: batch normalisation needs two photos in each process.
    """
    if _count() > 1 and len(rows) < 2 * _count():
        raise InputError(
            f"A batch of {len(rows)} photos is too small for {_count()} processes, each of which needs two of it; "
            "take larger batches or fewer processes."
        )
    return np.array_split(rows, _count())[process_index()]


def weighed(mean: Tensor, count: int) -> Tensor:
    """A mean over `count` things of this process, so that averaged gradients are those of the mean over all things."""
    return mean if _count() == 1 else mean * (count * _count() / sum_of_all(count)[0])


def gathered(local: Tensor, rows: int) -> Tensor:
    """Vectors (b, D) that each process has of its `share` of `rows` -> those of all (rows, D), with gradients.

    Rows may be groups: (b * k, D) becomes (rows * k, D). All processes compute the same loss of it, and each sends its
    gradient into its own vectors alone. So that it survives the average over the processes, it is multiplied by their
    number.
    """
    if _count() == 1:
        return local
    each = len(local) // len(share(np.arange(rows)))
    sizes = [each * len(part) for part in np.array_split(np.arange(rows), _count())]
    padded = local.new_zeros((max(sizes), *local.shape[1:]))
    padded[: len(local)] = local.detach()
    found = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(found, padded)
    parts = [part[:size] for part, size in zip(found, sizes, strict=True)]
    if local.requires_grad:
        own = local.clone()
        own.register_hook(lambda gradient: gradient * _count())
        parts[process_index()] = own
    return torch.cat(parts)


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Give all processes the mean of their gradients."""
    if _count() == 1:
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
    flat = torch.cat([weight.grad.reshape(-1) for weight in weights])
    dist.all_reduce(flat)
    parts = (flat / _count()).split([weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad.copy_(part.view_as(weight))


def sum_of_all(*numbers: float) -> list[float]:
    """Sums over all processes."""
    if _count() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64, device=chosen_device())
    dist.all_reduce(sums)
    return sums.tolist()


def agreed(find: Callable[[], Result]) -> Result:
    """What `find` gives in the main process, in all of them."""
    if _count() == 1:
        return find()
    found = [find() if is_main() else None]
    dist.broadcast_object_list(found)
    return found[0]


def share_statistics(model: nn.Module) -> None:
    """Give all processes the main one's running means of batch normalisation, each having seen its own shares."""
    if _count() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def together(work: Callable[..., Result], *arguments: Any) -> Result:
    """`work(*arguments)` here and in the other processes at once, on copies there; the result here.

    Raises:
        InputError: one of the other processes has ended; where it could, it says why.
    """
    count = chosen_processes()
    if count == 1:
        return work(*arguments)
    content = io.BytesIO()
    torch.save((work, arguments), content)  # which, unlike pickle, can take tensors to another GPU
    threads, device, port = torch.get_num_threads(), chosen_device().type, _free_port()
    context = multiprocessing.get_context("spawn")
    last_words = context.SimpleQueue()  # the first in it are of the process that failed before it broke others
    others = []
    for index in range(1, count):
        begun = context.Event()
        place = index, count, port, device, max(1, threads // count)
        process = context.Process(target=_take_part, args=(begun, last_words, place, content.getvalue()), daemon=True)
        process.start()
        others.append((process, begun))
    del content
    set_threads(max(1, threads // count))
    try:
        for process, begun in others:
            while not begun.wait(0.2):
                if not process.is_alive():
                    raise _ended([process], last_words)
        with _leaving():
            try:
                _join(0, count, port)
                result = work(*arguments)
                dist.barrier()  # a process that ends early would be one that is missing
                return result
            except RuntimeError:  # here, where the others are still joined: what this one did would else end them
                ended = wait([process.sentinel for process, _ in others], 5)  # what one leaves behind is noticed before
                if dead := [process for process, _ in others if process.sentinel in ended]:
                    raise _ended(dead, last_words) from None
                raise
    finally:
        for process, _ in others:
            process.terminate()
            process.join()
        set_threads(threads)


def _take_part(begun: Any, last_words: Any, place: tuple[int, int, int, str, int], content: bytes) -> None:
    """One of the other processes, from its start to its end; if that is an error, its sentence goes to the main one."""
    index, count, port, device, threads = place
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of them; the main one ends the others
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - to the end
    with _telling(last_words):  # before it ends, and others notice that it has left
        set_threads(threads)
        keep_freed_memory()
        choose_device(device, count)
        if device == "cuda":
            torch.cuda.set_device(index)
        work, arguments = torch.load(io.BytesIO(content), map_location=chosen_device(), weights_only=False)
        importlib.import_module("accelerate")  # which takes seconds, and may fail
        begun.set()
        _join(index, count, port)
        work(*arguments)
        dist.barrier()


@contextmanager
def _telling(last_words: Any) -> Iterator[None]:
    """Put the sentence of an error in here into `last_words`."""
    try:
        yield
    except InputError as error:
        last_words.put(str(error))
        raise
    except Exception as error:
        what = ": ".join(dict.fromkeys((type(error).__name__, first_line(error))))
        last_words.put(f"One of the {chosen_processes()} processes of this training ended with {what}. {_AGAIN}")
        raise


def _join(index: int, count: int, port: int) -> None:
    """Become one of `count` processes that know each other."""
    from accelerate import PartialState  # here, since few need it

    told = index, count, index, count, "127.0.0.1", port
    os.environ.update({name: str(value) for name, value in zip(_TOLD, told, strict=True)})
    PartialState(cpu=chosen_device().type == "cpu", timeout=_JOINING)
    dist.distributed_c10d._set_pg_timeout(_LONGEST)


@contextmanager
def _leaving() -> Iterator[None]:
    """Whatever is joined in here is left at the end, and the environment is as it was."""
    before = {name: os.environ.get(name) for name in _TOLD}
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        dist.distributed_c10d._world.group_count = 0  # PyTorch counts joinings that failed, and would name the next so
        if accelerate := sys.modules.get("accelerate"):
            accelerate.PartialState._reset_state()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _count() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _ended(processes: Sequence[BaseProcess], last_words: Any) -> InputError:
    """Why some have ended: one that was killed says nothing, and what others say is then that it is missing."""
    for process in processes:
        process.join()  # its status is known a moment after all that it held was closed
    status, one = min(process.exitcode for process in processes), f"One of the {chosen_processes()} processes"
    if status >= 0:
        return InputError(
            f"{one} of this training ended with status {status}. {_AGAIN}" if last_words.empty() else last_words.get()
        )
    name = signal.Signals(-status).name
    if name != "SIGKILL":
        return InputError(f"{one} of this training was ended by {name}. {_AGAIN}")
    return InputError(
        f"{one} of this training was ended by SIGKILL, as it is when memory runs out. {_AGAIN} With fewer processes or "
        "smaller batches it begins anew."
    )
