"""Other systems: what only POSIX has is not used without its other half, and processes may be forked or spawned."""

import ast
import hashlib
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.environment import project_root
from helpers.files import fingerprint_files

# What Python has on Linux and not on Windows, as its documentation says; some of it not on macOS either.
MODULES = "fcntl grp posix pty pwd readline resource syslog termios tty".split()
NAMES = {
    "os": "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC SCHED_OTHER WNOHANG chown chroot confstr ctermid fchmod "
    "fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid "
    "getuid killpg lchown memfd_create mkfifo mknod nice openpty posix_fadvise posix_fallocate posix_spawn pread "
    "preadv pwrite pwritev sched_getaffinity sched_setaffinity sched_yield sendfile seteuid setgid setpgid setpriority "
    "setsid setuid statvfs sync sysconf uname wait wait3 wait4 waitid".split(),
    "signal": "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm "
    "pause pthread_kill pthread_sigmask setitimer sigwait".split(),
    "time": "clock_gettime clock_gettime_ns pthread_getcpuclockid tzset".split(),
}
GUARDS = ("hasattr", "can_pin", "sys.platform", "os.name")  # words of a question about the system
CODE = [project_root() / "run_all.py", *sorted((project_root() / "helpers").rglob("*.py"))]


def unguarded(path: Path) -> list[str]:
    """What only POSIX has and the code in `path` uses without asking, in the same function, for the system."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    above = {below: node for node in ast.walk(tree) for below in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=("os" | "signal" | "time") as module), attr=name):
                posix = name in NAMES[module]
            case ast.Import(names=[ast.alias(name=name)]) | ast.ImportFrom(module=name):
                posix = name in MODULES
            case _:
                continue
        place = node
        while posix and place in above:
            place = above[place]
            if isinstance(place, ast.If | ast.IfExp | ast.FunctionDef) and any(
                word in ast.unparse(place) for word in GUARDS
            ):
                posix = False
        if posix:
            found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    return found


def test_a_checkout_with_line_ends_of_windows_holds_the_same_bytes(tmp_path: Path) -> None:
    if not (project_root() / ".git").exists():
        pytest.skip("this is no checkout")
    as_on_windows = ("git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    subprocess.run([*as_on_windows, "checkout-index", "--all", f"--prefix={tmp_path}/"], cwd=project_root(), check=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 300
    assert [path for path in files if path.suffix != ".webp" and b"\r" in path.read_bytes()] == []
    pictures = [path.relative_to(tmp_path) for path in files if path.suffix == ".webp"]
    assert [p for p in pictures if fingerprint_files([tmp_path / p]) != fingerprint_files([project_root() / p])] == []


def test_what_only_posix_has_is_asked_for_before_it_is_used() -> None:
    assert [place for path in CODE for place in unguarded(path)] == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("import resource", 1),
        ("import os\ndef f(): os.killpg(1, 2)", 1),
        ("import os\ndef f():\n    if hasattr(os, 'killpg'):\n        os.killpg(1, 2)", 0),
        ("import os\nos.replace('a', 'b')", 0),
    ],
)
def test_and_that_would_be_noticed(tmp_path: Path, code: str, count: int) -> None:
    (tmp_path / "some.py").write_text(code)
    assert len(unguarded(tmp_path / "some.py")) == count


# Everything is imported once, so that other packages are there; then what only POSIX has goes, and helpers is imported
# again and does what has another half. `msvcrt` is a stand-in that locks as Windows does: the byte, not the file.
WITHOUT_POSIX = """
import importlib, io, os, pkgutil, signal, sys, time, types
from pathlib import Path

import helpers
found = [found.name for found in pkgutil.walk_packages(helpers.__path__, "helpers.")]
names = ["run_all", *(name for name in found if not name.startswith("helpers.scale"))]  # whose packages are optional
for name in names:
    importlib.import_module(name)
import psutil
for name in [name for name in sys.modules if name.split(".")[0] in ("helpers", "run_all")]:
    del sys.modules[name]

for name in MODULES:
    sys.modules[name] = None
for module, gone in NAMES.items():
    for name in gone:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
held = set()

def locking(descriptor, mode, count):
    assert os.lseek(descriptor, 0, os.SEEK_CUR) > 2**20, "a byte with content is locked, and nobody can read it"
    key = os.fstat(descriptor).st_ino
    if mode == 1 and key in held:
        raise PermissionError(13, "Permission denied")
    (held.add if mode == 1 else held.discard)(key)

sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=1, LK_UNLCK=0, locking=locking)
sys.platform = "win32"
for name in names:
    importlib.import_module(name)

from helpers import environment, files
from helpers.chain import lock, notebook_runner, stop
folder = Path(sys.argv[1])
assert not environment.can_pin() and environment.cores() == len(environment.available_cores()) > 0
environment.pin_thread([0])
environment.keep_freed_memory()
array = files.reserved_memmap(folder / "a.npy", "float32", (3, 5))
array[:] = 1
files.write_json(folder / "b.json", [1], durable=True)
with stop.stop_signals(), lock.run_lock(folder) as descriptors:
    assert descriptors == ()
    try:
        with lock.run_lock(folder):
            raise SystemExit("two hold the lock")
    except files.InputError as error:
        assert "Another run is at work" in str(error), error
with lock.run_lock(folder):
    pass
ended = []
progress = notebook_runner.Progress("a", "b", 1)
progress.process = types.SimpleNamespace(poll=lambda: None, kill=lambda: ended.append("killed"), pid=0)
progress.stop()
assert ended == ["killed"]
assert "ended at once" in notebook_runner.how_it_ended(3, "1 GB", "2 GB")
print("imported", len(names))
"""


def test_helpers_work_where_posix_has_nothing_to_offer(tmp_path: Path) -> None:
    code = f"MODULES, NAMES = {MODULES!r}, {NAMES!r}\n{WITHOUT_POSIX}"
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout.split("imported ")[1]) > 60


DRAW = """
import multiprocessing, sys
from pathlib import Path
multiprocessing.set_start_method(sys.argv[1])
from helpers.data.descriptions import ENGLISH
from helpers.sample import draw
draw.cores = lambda: 2  # with one, there would be no pool
draw.draw_sample(Path(sys.argv[2]), 10, 1, 42, dict(list(ENGLISH.items())[:2]))
"""


def test_the_sample_is_the_same_however_processes_are_started(tmp_path: Path) -> None:
    """Linux forks, up to Python 3.13; macOS and Windows spawn, and such a worker imports everything anew."""
    drawn = {}
    for method in multiprocessing.get_all_start_methods():
        folder = tmp_path / method
        command = [sys.executable, "-c", DRAW, method, str(folder)]
        run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-2000:]
        files = sorted(path for path in folder.rglob("*.jpg"))
        drawn[method] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert {len(files) for files in drawn.values()} == {12}
    assert len({tuple(files) for files in drawn.values()}) == 1


@pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
def test_make_clean_removes_runs_and_drawn_samples_and_nothing_of_people(tmp_path: Path) -> None:
    shutil.copy(project_root() / "Makefile", tmp_path)
    made = [".venv", "outputs", "data/sample", "data/sample_scenes_60", "data/sample_scenes_20_seed_1"]
    made += ["data/sample_pictures_per_class_9", "data/sample_seed_1"]
    theirs = ["data/mine", "data/sample copy", "data/sample_of_wood", "data", "copy"]
    for name in made + theirs:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "sample.json").write_text("")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert [name for name in made + theirs if (tmp_path / name / "sample.json").exists()] == theirs
