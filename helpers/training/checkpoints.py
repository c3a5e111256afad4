"""Checkpoints: a training that was killed continues at its next epoch, with the result it would have had anyway.

Two things make that exact. All that an epoch draws at random comes from `seed_epoch(seed, epoch)` and not from
what ran before, and the checkpoint holds all that an epoch changes (weights, optimiser, history, best so far).
A checkpoint belongs to one run, and to the code that trained: its fingerprint covers settings and data, and a run with
another one, or of other code, sets the file aside instead of continuing from it.

    run = fingerprint_run(settings={"epochs": 12}, ids=ids, captions=captions)
    begun = resume(folder / CHECKPOINT, run, restore)         # False: start from the beginning
    save_checkpoint(folder / CHECKPOINT, run, {"epoch": 3, "model": model.state_dict(), "history": history})

A training that has ended is not repeated either: `mark_finished` notes which run made the weights, and with which code,
and `finished_history` gives that run's history instead of an hour of the same again.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.storage import TypedStorage

from helpers.artefacts import check, seal
from helpers.devices import chosen_device, on_cpu
from helpers.files import (
    FINISHED,
    InputError,
    atomic_path,
    fingerprint_files,
    first_line,
    native_write,
    of_the_machine,
    read_as,
    read_json,
    write_json,
)
from helpers.training.processes import agreed, is_main, process_index, sum_of_all

CONFIG = "config.json"
HISTORY = "history.json"
Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def fingerprint_run(**parts: Any) -> str:
    """Twelve hex digits over whatever decides a run's result: arrays, tensors and values that JSON can hold.

    >>> fingerprint_run(lr=0.1, ids=["a"]) == fingerprint_run(ids=["a"], lr=0.1)
    True
    """
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name}\n".encode())
        if isinstance(part, np.ndarray | torch.Tensor):
            array = np.ascontiguousarray(on_cpu(part))
            digest.update(f"{array.dtype} {array.shape}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8))
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def seed_epoch(seed: int, epoch: int) -> np.random.Generator:
    """Seed PyTorch for this epoch (dropout, augmentation) and return a NumPy generator for what is drawn outside it.

    Where several processes train, the generator draws the same in all of them, and PyTorch does not.
    """
    sequence = np.random.SeedSequence([seed, epoch])
    torch.manual_seed(int(sequence.generate_state(1)[0]) + process_index())
    return np.random.default_rng(sequence)


def save_checkpoint(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) atomically, marked as belonging to `fingerprint`.

    Of several processes the main one does.
    """
    if is_main():
        save_tensors(path, {"fingerprint": fingerprint, "code": _code(), "state": state})


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state saved by the run with this fingerprint, or None when there is none to continue from.

    A file of another run or of other code, or one that is damaged, is renamed to `<name>.old` with a printed notice. It
    takes the place of one that was set aside before, unless that is of this run: then this is gone on with.

    Raises:
        InputError: memory, a disk or a right to read failed; the file stays.
    """
    state, reason = _read(path, fingerprint) if path.exists() else (None, "")
    if state is not None:
        return state
    aside = path.with_name(f"{path.name}.old")
    earlier, _ = _read(aside, fingerprint) if aside.exists() else (None, "")
    if earlier is not None:
        between = path.with_name(f"{path.name}.between")
        for one, to in ((path, between), (aside, path), (between, aside)):  # they change places, if there are two
            if one.exists():
                one.replace(to)
        print(f"{path} is what was set aside as {aside.name} before, and is gone on with.")
    elif reason:
        path.replace(aside)
        print(f"The checkpoint {path} {reason}: set aside as {aside.name}; training starts from the beginning.")
    return earlier


def _read(path: Path, fingerprint: str) -> tuple[dict[str, Any] | None, str]:
    """The state in a checkpoint, or None and why it is not one to go on from."""
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch writes checksums of all parts, and does not look at them
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(damaged)
        content = load_tensors(path)
        if content["fingerprint"] != fingerprint:
            return None, "comes from other settings or data"
        return (content["state"], "") if content.get("code") == _code() else (None, "comes from other code")
    except Exception as error:  # a torn file can make the reader stumble in any way
        if spared := of_the_machine(error, path):  # the file is good, and the hours in it are wanted
            raise spared from None
        return None, f"cannot be read ({type(error).__name__})"


def _aside(path: Path) -> str:
    """Rename a checkpoint that fits no training, so that it is in nobody's way; its name from then on."""
    return path.replace(path.with_name(f"{path.name}.misfit")).name


def resume(path: Path, fingerprint: str, restore: Callable[[dict[str, Any]], None]) -> bool:
    """Hand `restore` the state saved by the run with this fingerprint; whether there was one, see `load_checkpoint`.

    Of several processes the main one reads it, and hands it to the others. Where it does not fit one of them, none goes
    on, and the main one sets it aside.

    Raises:
        InputError: `restore` stumbled over it: it is whole and says that it is of this run, and does not fit it. Or
            memory, a disk or a right to read failed; then the file stays.
    """
    state = agreed(lambda: load_checkpoint(path, fingerprint))
    if state is None:
        return False
    stumbled = ""
    try:
        restore(state)
    except Exception as error:  # what another training has written can fail in any way
        if spared := of_the_machine(error, path):
            raise spared from None
        stumbled = f" ({type(error).__name__})"
    if sum_of_all(bool(stumbled))[0]:
        raise InputError(
            f"The checkpoint {path} does not fit this training{stumbled} and is set aside as "
            f"{agreed(lambda: _aside(path))}; run this again to train from the beginning."
        )
    return True


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors atomically and durably, the same ones always as the same bytes, wherever they are in memory.

    So what was trained on a GPU loads where there is none. The file is handed to PyTorch open, since it would write the
    name of a path into it.
    """
    with atomic_path(path, durable=True) as temporary, temporary.open("wb") as file, native_write():
        torch.save(on_cpu(content), file)


def load_tensors(path: Path) -> Any:
    """What `save_tensors` wrote, on the processor: numbers alone, without the hooks that a file may hang on a tensor.

    A file that is torn, or no such file at all, can fail in any way. PyTorch then quotes what it stumbled over, and a
    storage number by number, which takes minutes for a large one; so here it is quoted by its name.
    """
    quoted = TypedStorage.__str__
    TypedStorage.__str__ = object.__repr__
    try:
        return on_cpu(torch.load(path, map_location="cpu", weights_only=True))
    finally:
        TypedStorage.__str__ = quoted


def mark_finished(weights: Path, fingerprint: str) -> None:
    """Note beside `weights` that the run with this fingerprint made them, and with which code."""
    write_json(weights.with_name(FINISHED), _finished(weights, fingerprint))


def finished_history(weights: Path, fingerprint: str) -> Any:
    """The history of the run that made `weights`, if it was this very one, with a printed notice; else None.

    The same settings, the same data, the same code of what trains: training again would give the same weights.
    """
    marked = weights.with_name(FINISHED)
    if not (marked.exists() and weights.exists() and weights.with_name(HISTORY).exists()):
        return None
    if read_json(marked) != _finished(weights, fingerprint):
        return None
    print(
        f"{weights.parent} holds the finished model of these very settings and data: loaded, not trained again. "
        f"Delete its {FINISHED} to train anew."
    )
    return read_json(weights.with_name(HISTORY))


def load_finished(model: nn.Module, weights: Path) -> None:
    """Give `model` the weights of which `finished_history` knows that they are its own, in evaluation mode.

    Raises:
        InputError: memory, a disk or a right to read failed.
    """
    try:
        model.load_state_dict(load_tensors(weights))
    except Exception as error:
        raise (of_the_machine(error, weights) or error) from None
    model.eval()


def _finished(weights: Path, fingerprint: str) -> dict[str, str]:
    beside = [weights.with_name(name) for name in (CONFIG, HISTORY, "tokenizer.json", "likelihood.pt")]
    files = [weights, *(path for path in beside if path.exists())]  # one that has changed since is made again
    return {"run": fingerprint, "files": fingerprint_files(files), "code": _code()}


@cache
def _code() -> str:
    """The fingerprint of the code that trains, as this process first saw it."""
    helpers = Path(__file__).parents[1]
    wings = ("training", "captioning", "encoders", "features")  # the last for the layers that are trained on
    code = [helpers / "devices.py", *(path for wing in wings for path in sorted((helpers / wing).glob("*.py")))]
    return fingerprint_files(code)


def save_trained(weights: Path, model: nn.Module) -> None:
    """Write the settings of `model` to config.json and its weights beside it, and seal both."""
    write_json(weights.parent / CONFIG, asdict(model.config))
    save_tensors(weights, model.state_dict())
    seal(weights.parent, CONFIG, weights.name)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights: it takes time, and memory that is allocated is not touched, and so free.

    A model made under it holds whatever was in that memory.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if getattr(func, "__module__", "") == "torch.nn.init" else func(*args, **kwargs)


def load_weights(weights: Path, build: Callable[[], Model]) -> Model:
    """A finished model in evaluation mode, on the chosen device: what `build` makes, with the weights of a file.

    Raises:
        InputError: the file holds fewer weights than the model asks for, which is found out before memory is used for
            them. A file that is torn, or of another model, can fail in any other way.
    """
    try:
        with _Undrawn():
            model = build()
    except (MemoryError, RuntimeError):  # where tensors have a size and no memory, it can be asked for its size
        with torch.device("meta"), _Undrawn():
            _check_size(build(), weights)
        raise
    _check_size(model, weights)
    model.load_state_dict(load_tensors(weights))
    return model.to(chosen_device()).eval()


def _check_size(model: nn.Module, weights: Path) -> None:
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    if needed > weights.stat().st_size:
        raise InputError(f"its settings ask for {needed:,} bytes of weights, and {weights.name} has fewer")


def load_trained(
    weights: Path, config: type[Config], build: Callable[[Config], Model], made_by: str, what: str
) -> Model:
    """A finished model in evaluation mode: `build` of the settings in config.json, with `weights` from the same folder.

    Raises:
        InputError: a file is missing, damaged, or belongs to another model than `what`, as `made_by` writes it; or
            memory, a disk or a right to read failed.
    """
    folder = weights.parent
    check(made_by, folder / CONFIG, weights)
    settings = read_as(config, folder / CONFIG, made_by)
    try:
        return load_weights(weights, lambda: build(settings))
    except Exception as error:  # a torn file or one of another model can fail in any way
        wrong = InputError(f"{folder} does not hold {what} ({first_line(error)}); run {made_by} again.")
        raise (of_the_machine(error, weights) or wrong) from None
