"""What the benchmarks rest on: processes, time and memory, slopes, reading, and that `pytest` alone runs none."""

import os
import runpy
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.environment import project_root
from helpers.files import InputError, write_json
from helpers.speed.benchmarks import cost, in_fresh_process, in_words, load_benchmarks, slope, tables, target


def test_a_fresh_process_is_another_one_and_gives_the_result() -> None:
    assert in_fresh_process(os.getpid) != os.getpid()
    assert in_fresh_process(divmod, 17, 5) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(divmod, 1, 0)


def hold_80_megabytes() -> None:
    block = np.ones(20_000_000, np.float32)  # gone when the call ends
    time.sleep(2)  # long enough for a look at it, however busy the machine is
    del block


def test_time_and_memory_of_a_call() -> None:
    # In a fresh process, as every measurement: one that keeps freed memory has the block already and needs no more.
    spent = in_fresh_process(cost, hold_80_megabytes)
    assert 2 <= spent.seconds < 20
    assert 70 < spent.megabytes < 120
    assert in_fresh_process(cost, partial(time.sleep, 0.05)).megabytes < 20
    with pytest.raises(RuntimeError, match="broken"):
        cost(lambda: (_ for _ in ()).throw(RuntimeError("broken")))


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_the_slope_is_the_power(power: float) -> None:
    sizes = np.array([3.0, 30.0, 90.0])
    assert slope(sizes, 7 * sizes**power) == pytest.approx(power, abs=1e-9)


def test_targets_are_met_or_missed_and_say_so() -> None:
    assert target("a", 5, at_least=5)["met"] and target("a", 3, at_most=3)["met"]
    missed = target("photos", 4.9, at_least=5)
    assert not missed["met"] and in_words(missed).split()[-3:] == [">=", "5", "missed"]
    assert in_words(target("ms", 0.25, at_most=1)).split()[1:] == ["0.25", "<=", "1", "reached"]


def test_recorded_benchmarks_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    assert load_benchmarks(path) is None
    runs = [
        {"name": "bench_growth[fill_the index]", "stats": {"median": 2.0}, "extra_info": {"table": {"slope": 1}}},
        {"name": "bench_latency[x]", "stats": {"median": 0.5}, "extra_info": {}},
    ]
    write_json(path, {"benchmarks": runs})
    found = load_benchmarks(path)
    assert found["bench_latency[x]"]["seconds"] == 0.5
    assert tables(found, "bench_growth") == {"fill the index": {"slope": 1}}
    assert tables(found, "bench_latency") == {}
    for torn in ("", "{}", '{"benchmarks": [{"name": "a"}]}'):
        path.write_text(torn)
        with pytest.raises(InputError, match="run `make bench` again"):
            load_benchmarks(path)


def test_pytest_alone_runs_no_benchmark() -> None:
    folder = project_root() / "tests" / "benchmarks"
    assert list(folder.glob("bench_*.py")) and not list(folder.glob("test_*.py"))
    command = [sys.executable, "-m", "pytest", "tests/benchmarks", "--collect-only"]
    run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True)
    assert run.returncode == 5, run.stdout + run.stderr  # nothing collected


def test_the_run_of_a_name_is_measured(holidays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RUN", "holidays")
    measured_run = runpy.run_path(str(project_root() / "tests" / "benchmarks" / "conftest.py"))["measured_run"]
    assert measured_run() == holidays
    monkeypatch.setenv("BENCH_RUN", "weekend")
    with pytest.raises(pytest.exit.Exception, match=r"finished run.*no run has this name"):
        measured_run()
