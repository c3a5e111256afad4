"""Files of weights: the same bytes for the same weights; checkpoints that others may have written."""

import errno
import io
import os
import pickle
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.storage import TypedStorage

from helpers.encoders.training import EncoderSettings
from helpers.files import CHECKPOINT, InputError, write_json
from helpers.training import checkpoints
from helpers.training.checkpoints import (
    load_checkpoint,
    load_finished,
    load_tensors,
    load_trained,
    resume,
    save_checkpoint,
    save_tensors,
    save_trained,
)
from helpers.training.loop import Training
from helpers.training.optimizer import adamw


def test_the_same_weights_are_the_same_bytes_whoever_saves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.nn.Linear(3, 2).state_dict()
    save_checkpoint(tmp_path / "one.pt", "abc", weights)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    save_checkpoint(tmp_path / "other.pth", "abc", load_checkpoint(tmp_path / "one.pt", "abc"))
    assert (tmp_path / "other.pth").read_bytes() == (tmp_path / "one.pt").read_bytes()


failures = pytest.mark.parametrize(
    ("error", "way"),
    [
        (MemoryError(), "free some memory"),
        (PermissionError(errno.EACCES, "Permission denied"), "get the right to read it"),
        (OSError(errno.EIO, "Input/output error"), "put that right"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "free some memory"),
        (RuntimeError("can't allocate memory: you tried to allocate 8589934592 bytes."), "free some memory"),
    ],
    ids=lambda given: type(given).__name__,
)


@failures
def test_a_good_checkpoint_stays_where_the_machine_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, way: str
) -> None:
    """Set aside, the hours in it would be lost to whoever just begins again."""

    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "abc", {"epoch": 3})
    before = path.read_bytes()
    said = rf"checkpoint\.pt could not be loaded \(.+\) and is left as it is; {way} and run this again\.$"
    with pytest.raises(InputError, match=said):
        resume(path, "abc", fail)
    monkeypatch.setattr(checkpoints, "load_tensors", fail)
    with pytest.raises(InputError, match=said):
        load_checkpoint(path, "abc")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@dataclass(frozen=True)
class Width:
    width: int


class Wide(nn.Linear):
    def __init__(self, config: Width) -> None:
        super().__init__(config.width, 1)
        self.config = config


@failures
def test_nothing_is_to_be_trained_again_where_the_machine_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, way: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    weights = tmp_path / "weights.pt"
    save_trained(weights, Wide(Width(3)))
    load = partial(load_trained, weights, Width, Wide, "notebook 04a", "a wide model")
    assert load().config == Width(3)
    monkeypatch.setattr(checkpoints, "load_tensors", fail)
    for again in (load, partial(load_finished, Wide(Width(3)), weights)):
        with pytest.raises(InputError, match=rf"weights\.pt could not be loaded .* left as it is; {way} and run this"):
            again()


class Line(Training):
    """A straight line through noise."""

    def loss_of(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        return (self.model(torch.ones(len(rows), 2)) - torch.from_numpy(rng.random((len(rows), 3), np.float32))).sum()

    def judge(self) -> tuple[dict[str, float], float]:
        return {"accuracy": 1}, float(len(self.epochs))


def train(folder: Path, epochs: int) -> Line:
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    line = Line(model, adamw(model.parameters(), 1e-3, 1e-4), EncoderSettings(epochs=epochs, batch=2), 6)
    line.run(folder, "run")
    return line


def short_moments(state: dict[str, Any]) -> None:
    """As many numbers as the weights seem to have, and memory for one: the fused step would write beyond it."""
    moments = state["optimizer"]["state"][0]
    moments["exp_avg"] = torch.zeros(1).expand(moments["exp_avg"].shape)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "moments of another shape": lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(1)),
    "moments in less memory": short_moments,
    "moments that are missing": lambda state: state["optimizer"]["state"].clear(),
    "weights of another shape": lambda state: state["model"].update(weight=torch.zeros(7, 7)),
    "best weights of another shape": lambda state: state["best"]["model"].update(weight=torch.zeros(7, 7)),
    "no best epoch": lambda state: state["best"].pop("epoch"),
    "figures that are none": lambda state: state["epochs"].append({"seconds": "soon"}),
    "no epochs": lambda state: state.pop("epochs"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_moments_and_all_else_of_a_checkpoint_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    train(tmp_path, 2)
    state = load_checkpoint(tmp_path / CHECKPOINT, "run")
    change(state)
    save_checkpoint(tmp_path / CHECKPOINT, "run", state)
    with pytest.raises(InputError, match=r"does not fit this training .* set aside as checkpoint.pt.misfit"):
        train(tmp_path, 3)
    again = train(tmp_path, 3)  # as the sentence says
    expected = train(tmp_path / "undisturbed", 3)
    assert [row["train_loss"] for row in again.epochs] == [row["train_loss"] for row in expected.epochs]


def test_a_checkpoint_that_fits_is_gone_on_from(tmp_path: Path) -> None:
    train(tmp_path, 2)
    state = load_checkpoint(tmp_path / CHECKPOINT, "run")
    line = train(tmp_path, 3)
    assert [row["train_loss"] for row in line.epochs[:2]] == [row["train_loss"] for row in state["epochs"]]
    assert type(line.epochs[0]["accuracy"]) is int  # figures come back as they were


def test_the_code_of_what_is_trained_is_part_of_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "fingerprint_files", lambda paths: [path.name for path in paths])
    code = checkpoints._code.__wrapped__()
    assert {"devices.py", "backbones.py", "checkpoints.py", "captioner.py", "dual_encoder.py"} < set(code)


def test_the_history_of_another_training_is_not_taken_for_that_of_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights of A")
    write_json(tmp_path / checkpoints.HISTORY, {"epochs": 6})
    checkpoints.mark_finished(weights, "A")
    assert checkpoints.finished_history(weights, "A") == {"epochs": 6}
    write_json(tmp_path / checkpoints.HISTORY, {"epochs": 2})  # of B, which ended before it wrote its weights
    assert checkpoints.finished_history(weights, "A") is None


def test_a_checkpoint_that_another_run_put_aside_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, "hours", {"epoch": 9})
    assert load_checkpoint(path, "by mistake") is None
    save_checkpoint(path, "by mistake", {"epoch": 1})
    capsys.readouterr()
    assert load_checkpoint(path, "hours") == {"epoch": 9}
    assert "checkpoint.pt is what was set aside as checkpoint.pt.old before" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {CHECKPOINT, f"{CHECKPOINT}.old"}
    assert load_checkpoint(path, "hours") == {"epoch": 9} and load_checkpoint(path, "by mistake") == {"epoch": 1}
    assert load_checkpoint(path, "a third") is None and not path.exists()
    assert load_checkpoint(path, "by mistake") == {"epoch": 1} and path.exists()  # that left nothing itself
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_of_other_code_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_code", lambda: "of other code")
        assert load_checkpoint(tmp_path / CHECKPOINT, "run") is None
    assert "comes from other code: set aside as checkpoint.pt.old" in capsys.readouterr().out
    torch.save({"fingerprint": "run", "state": {}}, tmp_path / CHECKPOINT)  # as versions wrote it that did not note it
    assert load_checkpoint(tmp_path / CHECKPOINT, "run")["epochs"]  # what was set aside is of this code


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    train(tmp_path, 2)
    torch.save({"fingerprint": "run", "state": Command(tmp_path / "ran")}, tmp_path / CHECKPOINT)
    assert len(train(tmp_path, 3).epochs) == 3 and not (tmp_path / "ran").exists()
    assert (tmp_path / f"{CHECKPOINT}.old").exists()


def forge(path: Path, weights: dict[str, Tensor], pattern: bytes, by: bytes) -> None:
    """A file of these weights, in whose pickle something has been replaced."""
    torch.save(weights, path)
    forged = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, re.sub(pattern, by, part, count=1, flags=re.S) if name.endswith("data.pkl") else part)
    path.write_bytes(forged.getvalue())


def test_a_hook_that_a_file_hangs_on_a_tensor_is_not_kept(tmp_path: Path) -> None:
    forge(tmp_path / "x", {"weight": torch.ones(3)}, rb"(OrderedDict\nq.)\)Rq.", rb"\1")  # the type, not one of it
    assert isinstance(torch.load(tmp_path / "x", weights_only=True)["weight"]._backward_hooks, type)
    found = load_tensors(tmp_path / "x")
    assert found["weight"]._backward_hooks is None
    save_tensors(tmp_path / "y", found)


def test_a_storage_in_an_odd_file_is_not_quoted_number_by_number(tmp_path: Path) -> None:
    forge(tmp_path / "x", {"weight": torch.ones(1_000_000)}, rb"Q", rb"Q)R")  # called, as if it were a function
    quoted, began = TypedStorage.__str__, time.process_time()
    with pytest.raises(pickle.UnpicklingError, match="Trying to call reduce"):
        load_tensors(tmp_path / "x")
    assert time.process_time() - began < 1 and TypedStorage.__str__ is quoted
