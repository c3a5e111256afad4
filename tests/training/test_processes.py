"""Several processes: the steps of one, the same each time, and an end in one sentence when one of them is killed."""

import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
import shared_training
import torch
from small_captioners import SETTINGS, prepared
from torch import Tensor

from helpers import devices
from helpers.captioning.captioner import WEIGHTS, load_captioner
from helpers.captioning.training import History, train_captioner
from helpers.environment import project_root
from helpers.features.rows import Rows
from helpers.files import CHECKPOINT, InputError
from helpers.training import processes
from helpers.training.checkpoints import save_checkpoint
from helpers.training.processes import gathered, share, together

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="several processes were tried on Linux alone")


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_processes", 2)


@on_linux
def test_ten_steps_of_two_processes_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one = shared_training.ten_steps()
    monkeypatch.setattr(devices, "_processes", 2)
    both = together(shared_training.ten_steps)
    for name, steps in one.items():
        for what, numbers in steps.items():
            assert both[name][what] == pytest.approx(numbers, rel=1e-9, abs=1e-12), (name, what)


def learn(folder: Path, **changes: float) -> History:
    captioner, train, val = prepared(20, kind="lstm")
    settings = replace(SETTINGS, epochs=2, self_critical_epochs=1, self_critical_captions=2, **changes)
    return train_captioner(captioner, shared_training.Deadly(**vars(train)), val, settings, folder)


def figures(history: History) -> list[dict[str, float]]:
    return [{name: value for name, value in epoch.items() if "second" not in name} for epoch in history]


@on_linux
def test_one_is_killed_the_other_ends_with_a_sentence_and_the_run_goes_on(
    two: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = learn(tmp_path / "whole")
    assert capfd.readouterr().out.count("epoch  1") == 1  # one of them prints
    threads = torch.get_num_threads()
    monkeypatch.setenv("DEADLY", "1")
    with pytest.raises(InputError, match=r"^One of the 2 processes of this training was ended by SIGKILL.* again"):
        learn(tmp_path / "killed")
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [CHECKPOINT]
    assert torch.get_num_threads() == threads and not [one for one in os.environ if one in ("RANK", "WORLD_SIZE")]
    monkeypatch.delenv("DEADLY")
    assert figures(learn(tmp_path / "killed")) == figures(whole)
    assert "continuing after epoch" in capfd.readouterr().out
    weights = [load_captioner(tmp_path / name).model.state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(first, second) for first, second in zip(*(one.values() for one in weights), strict=True))
    assert not (tmp_path / "killed" / CHECKPOINT).exists()
    # What two have trained is not what one would have.
    monkeypatch.setattr(devices, "_processes", 1)
    before = (tmp_path / "whole" / WEIGHTS).read_bytes()
    learn(tmp_path / "whole")
    assert (tmp_path / "whole" / WEIGHTS).read_bytes() != before


@on_linux
def test_a_loss_that_is_no_number_is_one_for_all(two: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The training loss is no longer a number in epoch 1"):
        learn(tmp_path, learning_rate=1e30)


@on_linux
def test_when_the_main_process_is_killed_the_others_end_too(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from helpers import devices
from helpers.training.processes import together
import shared_training
if __name__ == "__main__":
    devices._processes = 2
    together(shared_training.wait_for_ever, Path({str(tmp_path)!r}))
"""
    paths = os.pathsep.join([str(project_root()), str(project_root() / "tests"), os.environ.get("PYTHONPATH", "")])
    main = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths})
    notes = [tmp_path / "0", tmp_path / "1"]
    while not all(note.exists() and note.read_text() for note in notes):
        assert main.poll() is None
        time.sleep(0.1)
    other = psutil.Process(int(notes[1].read_text()))
    main.kill()
    main.wait()
    other.wait(timeout=20)


@on_linux
def test_a_process_that_cannot_begin_is_a_sentence(two: None, tmp_path: Path) -> None:
    said = (
        r"^One of the 2 processes of this training ended with ValueError: invalid literal for int.* last whole epoch\.$"
    )
    with pytest.raises(InputError, match=said):
        together(shared_training.wait_for_ever, Unreadable())


@on_linux
def test_one_that_ends_before_it_has_joined_is_missed(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    join = processes._join

    def alone(*place: int) -> None:
        for other in multiprocessing.active_children():
            other.kill()
        join(*place)

    monkeypatch.setattr(processes, "_join", alone)
    monkeypatch.setattr(processes, "_JOINING", timedelta(seconds=3))
    with pytest.raises(InputError, match=r"^One of the 2 processes of this training was ended by SIGKILL.* again"):
        together(os.getpid)


@on_linux
@pytest.mark.parametrize(
    ("index", "error", "said"),
    [
        (1, InputError("The loss is no longer a number."), r"^The loss is no longer a number\.$"),
        (
            1,
            KeyError("colour"),
            r"^One of the 2 processes of this training ended with KeyError: 'colour'\. Run this again",
        ),
        (0, RuntimeError("of its own"), r"^of its own$"),
    ],
)
def test_an_error_is_told_by_whoever_had_it(two: None, index: int, error: Exception, said: str) -> None:
    with pytest.raises(InputError if index else RuntimeError, match=said):
        together(shared_training.fail_alone, index, error)


@on_linux
@pytest.mark.parametrize("stumbling", [(0, 1), (1,), (0,)])
def test_a_checkpoint_that_does_not_fit_is_set_aside_once_and_by_all(
    two: None, tmp_path: Path, stumbling: tuple[int, ...]
) -> None:
    save_checkpoint(tmp_path / CHECKPOINT, "run", {"epoch": 1})
    with pytest.raises(
        InputError, match=rf"does not fit this training.* set aside as {CHECKPOINT}\.misfit; run this again"
    ):
        together(shared_training.go_on, tmp_path / CHECKPOINT, stumbling)
    assert [path.name for path in tmp_path.iterdir()] == [f"{CHECKPOINT}.misfit"]


class Unreadable:
    def __reduce__(self) -> tuple:
        return int, ("no number",)


def test_shares_cover_a_batch_and_small_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(11)
    assert share(rows) is rows or np.array_equal(share(rows), rows)
    monkeypatch.setattr(processes, "_count", lambda: 3)
    parts = []
    for index in range(3):
        monkeypatch.setattr(processes, "process_index", lambda index=index: index)
        parts.append(share(rows))
    assert np.array_equal(np.concatenate(parts), rows) and {len(part) for part in parts} == {3, 4}
    with pytest.raises(InputError, match="A batch of 5 photos is too small for 3 processes"):
        share(rows[:5])


def test_alone_nothing_is_copied() -> None:
    vectors: Tensor = torch.randn(4, 2)
    assert gathered(vectors, 4) is vectors and processes.agreed(lambda: vectors) is vectors


def test_more_processes_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 4)
    with pytest.raises(InputError, match="5 processes need as many of the 4 cores"):
        devices.choose_device("cpu", 5)
    assert devices.chosen_processes() == 1


def test_rows_on_disk_are_opened_by_each(tmp_path: Path) -> None:
    import pickle

    np.save(tmp_path / "rows.npy", np.arange(12.0).reshape(4, 3))
    rows = Rows(tmp_path / "rows.npy", "a test").view([2, 0])
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[:], rows[:])
