import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from helpers import environment
from helpers.environment import (
    can_pin,
    located,
    pasted,
    places,
    portable,
    progress,
    project_root,
    set_seed,
    set_threads,
)


def test_project_root_holds_the_fixed_layout() -> None:
    assert {"helpers", "notebooks", "tests", "run_all.py"} <= {path.name for path in project_root().iterdir()}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("linux", r"python run_all.py --set 'captions_folder=C:\My photos'"),
        ("win32", r'python run_all.py --set "captions_folder=C:\My photos"'),  # its shell takes no other quotes
    ],
)
def test_a_command_is_quoted_as_the_shell_of_the_system_takes_it(
    monkeypatch: pytest.MonkeyPatch, system: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(shutil, "which", lambda _: sys.executable)
    assert pasted(["python", "run_all.py", "--set", r"captions_folder=C:\My photos"]) == expected


def test_a_command_begins_with_the_python_that_can_run_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["python", "-m", "helpers.search.album"]
    assert pasted(words) == "python -m helpers.search.album"  # the tests' own environment is active
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "python").touch(0o755)  # another one
    for here, typed in (
        (project_root() / "env" / "bin" / "python", "env/bin/python"),
        (tmp_path / "a b" / "python",) * 2,
    ):
        monkeypatch.setattr(sys, "executable", str(here))
        assert shlex.split(pasted(words)) == [str(typed), "-m", "helpers.search.album"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert pasted(words).startswith("python ")


def test_a_home_that_there_is_not_is_a_name_like_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert located("~nobody-here/a") == project_root() / "~nobody-here" / "a"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a home, in a container
    assert portable(tmp_path) == tmp_path.as_posix()


def test_a_copy_of_the_helpers_elsewhere_finds_what_was_noted_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    known = [portable(place) for place in (project_root() / "data", tmp_path / "cache" / "flickr8k", tmp_path / "a")]
    shutil.copytree(project_root() / "helpers", tmp_path / "sent" / "helpers")
    code = f"from helpers.environment import located; print(*map(located, {known}), sep='|')"
    environment = {name: value for name, value in os.environ.items() if name != "KAGGLEHUB_CACHE"}
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "sent",
        env=environment | places(),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [project_root() / "data", tmp_path / "cache" / "flickr8k", tmp_path / "a"]
    assert there.stdout.strip().split("|") == [str(place) for place in expected]


def grouped(monkeypatch: pytest.MonkeyPatch, folder: Path, own: str, files: dict[str, str]) -> None:
    """A container as Linux describes it: in which groups this process is, and what is in their files."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    monkeypatch.setattr(environment, "_OWN_GROUPS", folder / "own")
    monkeypatch.setattr(environment, "_GROUPS", folder / "groups")
    monkeypatch.setattr(environment, "available_cores", lambda: list(range(16)))
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: range(16), raising=False)
    machine = SimpleNamespace(total=64 * 2**30, available=40 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)


@pytest.mark.skipif(not can_pin(), reason="control groups are of Linux")
@pytest.mark.parametrize(
    ("own", "files", "count", "total", "free"),
    [
        ("", {}, 16, 64, 40),
        # docker run --cpus=1.5 --memory=8g, with version 2: a container sees its own group as the outermost.
        (
            "0::/\n",
            {
                "cpu.max": "150000 100000",
                "memory.max": f"{8 * 2**30}",
                "memory.current": f"{3 * 2**30}",
                "memory.stat": f"anon 1\ninactive_file {2**30}",
            },
            *(2, 8, 6),
        ),
        # A service of systemd without a limit of its own, in a slice with one.
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/cpu.max": "max 100000", "a.slice/cpu.max": "400000 100000"},
            4,
            64,
            40,
        ),
        # The same container with version 1, which names a folder that only the machine outside has.
        (
            "4:memory:/docker/3f2a\n3:cpu,cpuacct:/docker/3f2a\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "150000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": f"{8 * 2**30}",
                "memory/memory.usage_in_bytes": f"{3 * 2**30}",
                "memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {2**30}",
            },
            *(2, 8, 6),
        ),
        # Version 1 without limits.
        (
            "4:memory:/\n3:cpu:/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": f"{3 * 2**30}",
            },
            *(16, 64, 40),
        ),
    ],
)
def test_the_limits_of_a_container_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, files: dict[str, str], count: int, total: int, free: int
) -> None:
    grouped(monkeypatch, tmp_path, own, files)
    assert environment.cores() == count and environment.has_quota() == (count < 16)
    assert environment.memory() == (total * 2**30, free * 2**30)


def test_half_a_core_less_is_a_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grouped(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "1550000 100000"})
    assert environment.cores() == 16 and environment.has_quota()


def test_seed_repeats_all_three_generators() -> None:
    draws = []
    for _ in range(2):
        set_seed(5)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_threads_reach_torch_and_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    set_threads(2)
    assert torch.get_num_threads() == 2
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"], capture_output=True, text=True
    )
    assert child.stdout.strip() == "2"
    set_threads(before)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_product_in_numpy_has_the_threads_that_were_set(cores: int) -> None:
    """However many cores there were when NumPy was imported: a stage has more or fewer of them beside another."""
    code = (
        "import numpy; from helpers.environment import set_threads; from threadpoolctl import threadpool_info\n"
        "set_threads(1); print({pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'})"
    )
    held = os.environ | {"OPENBLAS_NUM_THREADS": str(cores)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root(), env=held)
    assert run.stdout.strip() == "{1}", run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch has another OpenMP")
@pytest.mark.parametrize("own", [None, "77"])
def test_threads_that_wait_give_their_core_away(own: str | None) -> None:
    """What OpenMP itself says that it has read; one's own setting stays."""
    told = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    told |= {"OMP_DISPLAY_ENV": "verbose"} | ({"GOMP_SPINCOUNT": own} if own else {})
    code = [sys.executable, "-c", "import helpers, torch"]
    run = subprocess.run(code, capture_output=True, text=True, cwd=project_root(), env=told)
    assert f"GOMP_SPINCOUNT = '{own or 30000}'" in run.stderr


def test_a_processor_held_to_less_has_no_bfloat16() -> None:
    code = "from helpers.environment import supports_bf16; print(supports_bf16())"
    held = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root(), env=held)
    assert run.stdout.strip() == "False", run.stderr


def test_progress_yields_everything() -> None:
    assert list(progress(range(5), "counting")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("first", ["torchvision", "transformers"])
def test_torchvision_imports_in_a_fresh_process(first: str) -> None:
    code = (
        "from helpers.environment import prepare_torchvision; prepare_torchvision(); prepare_torchvision();"
        f"import {first}; from torchvision.models import resnet18; resnet18(weights=None); print('works')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root())
    assert run.stdout.strip() == "works", run.stderr


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to")
def test_freed_memory_is_used_again_without_asking_the_system_for_new_pages() -> None:
    code = """
import resource, sys
sys.path.insert(0, {root!r})
import torch
from helpers.environment import keep_freed_memory

def pages_fetched():
    for _ in range(3):
        torch.ones(16_000_000)  # 64 MB, freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages_fetched())
keep_freed_memory()
print(pages_fetched())
"""
    run = [sys.executable, "-c", code.format(root=str(project_root()))]
    before, after = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert after < 0.7 * before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to")
def test_gaps_in_the_memory_that_is_kept_go_back_to_the_system_now_and_then() -> None:
    code = """
import os, sys
sys.path.insert(0, {root!r})
import torch
from helpers.environment import keep_freed_memory, resident_memory, trim_memory

def leave_gaps():
    blocks = [torch.ones(2_000_000) for _ in range(40)]  # 8 MB each
    del blocks[::2]
    return blocks

keep_freed_memory()
kept = [leave_gaps()]
print(resident_memory(os.getpid()))
trim_memory()
print(resident_memory(os.getpid()))
kept.append(leave_gaps())
print(resident_memory(os.getpid()))
trim_memory()  # too soon
print(resident_memory(os.getpid()))
"""
    run = [sys.executable, "-c", code.format(root=str(project_root()))]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    full, trimmed, full_again, untouched = (int(number) / 8e6 for number in told)  # in blocks
    assert full - trimmed > 15
    assert full_again - trimmed > 35 and abs(untouched - full_again) < 2


def test_workers_end_with_the_process_that_started_them() -> None:
    code = (
        "import os; from concurrent.futures import ProcessPoolExecutor\n"
        "from helpers.environment import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(2, initializer=end_with_parent); list(pool.map(abs, [1, 2]))\n"
        "    print(*pool._processes, flush=True); os._exit(9)"
    )
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root())
    workers = [psutil.Process(int(pid)) for pid in died.stdout.split() if psutil.pid_exists(int(pid))]
    _, alive = psutil.wait_procs(workers, timeout=10)
    for worker in alive:
        worker.kill()
    assert died.returncode == 9 and len(died.stdout.split()) == 2 and not alive
