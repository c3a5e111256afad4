"""What the benchmarks rest on: processes, time and memory, slopes, reading, and that `pytest` alone runs none."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_data import write_photo

from helpers.environment import project_root
from helpers.files import InputError, write_json
from helpers.graphs import processor
from helpers.speed.benchmarks import (
    cost,
    in_fresh_process,
    in_words,
    keep_benchmarks,
    load_benchmarks,
    slope,
    tables,
    target,
)


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


def test_a_part_of_the_benchmarks_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "benchmarks.json"
    everything = {"bench_a": {"table": {"8": 1.5}, "seconds": 2.0}, "bench_b": {"targets": [], "seconds": 1.0}}
    keep_benchmarks(everything, path)
    assert load_benchmarks(path) == everything
    keep_benchmarks({"bench_b": {"seconds": 3.0}}, path)
    assert load_benchmarks(path) == everything | {"bench_b": {"seconds": 3.0}}
    path.write_text("{torn")
    with pytest.raises(InputError, match="run `make bench` again"):
        keep_benchmarks(everything, path)
    assert path.read_text() == "{torn"


BENCH = """
import pytest

@pytest.mark.parametrize("name", ["one", "two", "broken"])
def bench_tiny(once, reach, name):
    once(int if name == "broken" else dict, way=name)  # int takes no such word
    reach(name, 3, at_least=2)
"""


def test_make_bench_records_each_benchmark_with_its_processor_and_run_and_quick_ones_not_at_all(tmp_path: Path) -> None:
    path, folder = tmp_path / "benchmarks.json", tmp_path / "benchmarks"
    folder.mkdir()
    for name in ("conftest.py", "sizes.py"):
        shutil.copy(project_root() / "tests" / "benchmarks" / name, folder)
    (folder / "bench_tiny.py").write_text(BENCH)
    # Not beside the benchmarks of this machine.
    (tmp_path / "conftest.py").write_text(
        f"from helpers.speed import benchmarks as b\nb.BENCHMARKS = b.Path({str(path)!r})"
    )
    old = {"bench_tiny[two]": {"seconds": 7.0}, "bench_other": {"seconds": 8.0}}
    keep_benchmarks(old, path)
    makefile = (project_root() / "Makefile").read_text(encoding="utf-8")
    options = re.search(r"-m pytest tests/benchmarks (.+?) \$\(BENCH\)", makefile, re.DOTALL)[1].replace("\\\n", " ")
    command = [sys.executable, "-m", "pytest", str(folder), "--rootdir", str(tmp_path), *shlex.split(options)]

    def bench(**environment: str) -> subprocess.CompletedProcess[str]:
        paths = {"PYTHONPATH": os.pathsep.join((str(project_root()), str(folder)))}
        own = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")
        }  # else no timing
        told = own | paths | environment
        return subprocess.run([*command, "-k", "one or broken"], cwd=tmp_path, env=told, capture_output=True, text=True)

    quick = bench(BENCH_QUICK="1")
    assert "1 failed, 1 passed" in quick.stdout and "not kept" in quick.stdout, quick.stdout + quick.stderr
    assert load_benchmarks(path) == old
    assert "1 failed, 1 passed" in bench(BENCH_RUN="holidays").stdout
    found = load_benchmarks(path)
    new = found.pop("bench_tiny[one]")
    assert found == old  # neither what was not asked for nor what failed
    assert new["table"] == {"way": "one"} and new["targets"][0]["met"] and new["seconds"] < 1
    assert (new["processor"], new["run"]) == (processor(), "holidays") and new["threads"] >= 1
    path.write_text("{torn")
    assert "make bench" in (torn := bench()).stdout + torn.stderr and torn.returncode == 2


def test_pytest_alone_runs_no_benchmark() -> None:
    folder = project_root() / "tests" / "benchmarks"
    assert list(folder.glob("bench_*.py")) and not list(folder.glob("test_*.py"))
    command = [sys.executable, "-m", "pytest", "tests/benchmarks", "--collect-only"]
    run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True)
    assert run.returncode == 5, run.stdout + run.stderr  # nothing collected


def test_own_photos_are_those_that_can_be_opened_as_photos(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{number:02}.png", (number, 0, 0)) for number in range(64)]
    photos.append(photos[0].rename(tmp_path / "no suffix"))
    (tmp_path / "._01.png").write_bytes(b"of a Mac")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "02.png").write_bytes(b"of a disk station")
    own_photos = runpy.run_path(str(project_root() / "tests" / "benchmarks" / "conftest.py"))["own_photos"]
    assert own_photos(str(tmp_path)) == photos[1:]
    photos[-1].unlink()
    for folder, said in ((tmp_path, "63 photos, and at least 64"), (tmp_path / "gone", "not a folder")):
        with pytest.raises(pytest.exit.Exception, match=said):
            own_photos(str(folder))


def test_the_run_of_a_name_is_measured(holidays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RUN", "holidays")
    measured_run = runpy.run_path(str(project_root() / "tests" / "benchmarks" / "conftest.py"))["measured_run"]
    assert measured_run() == holidays
    monkeypatch.setenv("BENCH_RUN", "weekend")
    with pytest.raises(pytest.exit.Exception, match=r"finished run.*no run has this name"):
        measured_run()
