"""The running process: project root, seeds, threads, number formats, progress bars, and one repair of torchvision."""

import ctypes
import importlib
import math
import multiprocessing
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm.auto import tqdm

from helpers.files import at_home

Item = TypeVar("Item")
Made = TypeVar("Made")

_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_TRIM_EVERY = 20.0  # seconds
# In the environment of the kernels of `run_all.py`: the command that began the run, quoted as POSIX does.
COMMAND = "COURSE_COMMAND"
_DOWNLOADS = "KAGGLEHUB_CACHE"
_ROOT = "COURSE_ROOT"  # in the environment of processes that import a copy of `helpers` from elsewhere


def project_root() -> Path:
    """The folder that holds `helpers/` and the notebooks; of an installed package, the folder that one works in."""
    if _ROOT in os.environ:
        return Path(os.environ[_ROOT])
    root = Path(__file__).resolve().parent.parent
    return root if __package__ == "helpers" else Path.cwd()


def places() -> dict[str, str]:
    """What a process elsewhere needs in its environment, for `located` to find there what it finds here."""
    return {_ROOT: str(project_root())} | {name: os.environ[name] for name in (_DOWNLOADS,) if name in os.environ}


def portable(path: Path) -> str:
    """`path` as a run notes it, which may be copied or unpacked elsewhere; `located` finds it there.

    Relative to the project, to the cache of downloads (`KAGGLEHUB_CACHE`) or to the user's home, whichever it is below.
    """
    path = path.absolute()
    for root, name in ((project_root(), ""), (os.environ.get(_DOWNLOADS), f"${_DOWNLOADS}"), (at_home("~"), "~")):
        if root and path.is_relative_to(root):
            return "/".join([*([name] if name else []), *path.relative_to(root).parts]) or "."
    return path.as_posix()


def located(text: str) -> Path:
    """Where what `portable` noted is here; a relative path is meant from the project."""
    root = os.environ.get(_DOWNLOADS)
    if root and text.startswith(f"${_DOWNLOADS}/"):
        return Path(root) / text.partition("/")[2]
    return project_root() / at_home(text)


def command(**settings: str | int) -> str:
    """How to have `settings` as well, for the end of a sentence: the command that began this run, to be pasted.

    In a notebook that is stepped through, where no command began anything, the settings to write down.

    >>> command(sentence_encoders="use")
    "set sentence_encoders = 'use' in the notebook"
    """
    if COMMAND not in os.environ:
        return f"set {' and '.join(f'{name} = {value!r}' for name, value in settings.items())} in the notebook"
    replaced = {*settings} | ({"vector_backbone", "grid_backbone"} if "backbone" in settings else set())
    kept: list[str] = []
    for word in shlex.split(os.environ[COMMAND]):
        if kept[-1:] == ["--set"] and word.partition("=")[0] in replaced:
            kept.pop()
        else:
            kept.append(word)
    added = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return f"`{pasted([*kept, *added])}`"


def pasted(words: Iterable[str]) -> str:
    """A command of these words as it can be pasted into a terminal of this system.

    Where "python" is the first word, it is the one that runs this, whether its environment is activated or not.
    """
    first, *others = words
    words = [_python() if first == "python" else first, *others]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _python() -> str:
    """What to type in the project's folder for the Python that runs this."""
    known, here = shutil.which("python"), Path(sys.executable)
    if known and Path(known).parent == here.parent:
        return "python"
    return str(here.relative_to(project_root()) if here.is_relative_to(project_root()) else here)


def cores() -> int:
    """Cores this process may use, which in a container or under `taskset` are fewer than the machine's."""
    count = len(os.sched_getaffinity(0)) if can_pin() else os.cpu_count() or 1
    return min([count, *(math.ceil(share) for share in _quotas())])


def has_quota() -> bool:
    """Whether a container gives this process less time than the cores it may be on have."""
    return any(share < len(available_cores()) for share in _quotas())


def _quotas() -> Iterator[float]:
    """How many cores' time each control group that this process is in may take, where it is told."""
    for folder in _control_groups("cpu"):
        told = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(told) == 2 and told[0] not in ("max", "-1"):
            yield int(told[0]) / int(told[1])


class Memory(NamedTuple):
    """Bytes."""

    total: int
    available: int


def memory() -> Memory:
    """What this process may have and what of it is free, which in a container is less than the machine's."""
    import psutil

    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for folder in _control_groups("memory"):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if limit and used and limit[0] != "max":
            told = _words(folder / "memory.stat")
            told = dict(zip(told[::2], map(int, told[1::2]), strict=True))
            # Pages of files that nobody has asked for lately are given up first, so they count as free.
            files = told.get("total_inactive_file", told.get("inactive_file", 0))
            total, available = min(total, int(limit[0])), min(available, int(limit[0]) - int(used[0]) + files)
    return Memory(total, max(0, available))


def _control_groups(what: str) -> Iterator[Path]:
    """Folders of the control groups with which Linux limits `what` for this process, from its own outwards.

    A container may see its own as the outermost, under whatever name it has outside; so those that are not there are
    passed over.
    """
    for line in _OWN_GROUPS.read_text().splitlines() if _OWN_GROUPS.exists() else ():
        _, limits, name = line.split(":", 2)
        if not limits or what in limits.split(","):  # version 2 has one tree for all, version 1 one for each
            root = _GROUPS / what if limits else _GROUPS
            own = root / name.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root) and folder.is_dir())


def _words(path: Path) -> list[str]:
    """What is in a small file; nothing, where it is not there."""
    return path.read_text().split() if path.is_file() else []


def can_pin() -> bool:
    """Whether this system can keep a thread, and the processes it starts, on some of the cores: Linux can."""
    return hasattr(os, "sched_setaffinity")


def available_cores() -> list[int]:
    """Numbers of the cores this process may use; where the system does not tell, all of them."""
    return sorted(os.sched_getaffinity(0)) if can_pin() else list(range(cores()))


def pin_thread(numbers: list[int]) -> None:
    """Keep the calling thread, and processes it starts from now on, on these cores, where the system can."""
    if can_pin():
        os.sched_setaffinity(0, numbers)


def end_with_parent() -> None:
    """As the initializer of a pool of processes: this worker ends when the process that started it has died.

    Otherwise workers of a killed process wait for work for ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def resident_memory(process_id: int) -> int:
    """Bytes of memory that a process and its children have in use now; 0 when it has ended."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(process_id)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):  # it ended meanwhile
                total += one.memory_info().rss
    return total


def peak_memory() -> int:
    """Bytes of memory that this process had in use when it had the most."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def start(seed: int, threads: int | None = None, device: str = "cpu", processes: int = 1) -> None:
    """Begin a notebook: fix seeds, threads and the device, and print what a result depends on.

    A notebook that has not imported PyTorch by now, as 01, is taken to need none: loading it takes seconds.

    Raises:
        InputError: there is no such device, see `helpers.devices.choose_device`.
    """
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    if "torch" not in sys.modules:
        set_numpy_threads(threads or cores())
        set_seed(seed)
        print(f"{versions}; seed {seed}, {counted_threads(threads or cores())}")
        return
    import torch

    from helpers.devices import choose_device, in_words

    set_threads(threads or cores())
    chosen = choose_device(device, processes)
    set_seed(seed)
    print(
        f"{versions}, PyTorch {torch.__version__}; "
        f"seed {seed}, {in_words(chosen)}{f', trainings in {processes} processes' if processes > 1 else ''}"
    )


def counted_threads(count: int) -> str:
    """A number of threads in words.

    >>> counted_threads(1), counted_threads(2)
    ('1 thread', '2 threads')
    """
    return f"{count} thread{'' if count == 1 else 's'}"


def set_numpy_threads(threads: int) -> None:
    """Use `threads` threads in NumPy, in what loads later, and in child processes.

    NumPy's matrix products have a pool that took all cores when NumPy was imported; the last digits of a product
    depend on its threads, as those of a training do. `OMP_NUM_THREADS` is read once by OpenMP libraries that load
    later (FAISS), and by child processes.
    """
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads, "blas")  # from now on


def set_threads(threads: int) -> None:
    """Use `threads` threads for arithmetic, in NumPy and in PyTorch.

    Torch's intra-op pool splits one operation (a matrix product) over cores. Its inter-op pool runs independent
    operations side by side; our models are chains, so one thread is right, and more would only compete for the same
    cores.
    """
    import torch

    set_numpy_threads(threads)
    torch.set_num_threads(threads)
    # Torch allows the inter-op pool to be set once a process, before it first runs.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def keep_freed_memory() -> None:
    """Keep memory that tensors give back for the next ones, where the C library is glibc; elsewhere do nothing.

    Every training and every extraction of features begins with this; it holds for the rest of the process.

    By default glibc takes every large block from the operating system and returns it at once. The system then maps
    and clears each page of it again on first use, and a training step whose tensors come and go by the megabyte
    spends half of its time on that.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # numbers from malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


class _Trimmed:
    at = 0.0  # on the clock of `time.monotonic`


def trim_memory() -> None:
    """Give the system the pages that were kept and hold nothing now: some hundredths of a second, at most every 20.

    What comes and goes in many sizes leaves gaps between what stays. Kept for good, they take gigabytes in an hour.
    """
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None and time.monotonic() - _Trimmed.at > _TRIM_EVERY:
        malloc_trim(0)
        _Trimmed.at = time.monotonic()


@cache
def _of_glibc(name: str) -> Any:
    """A function of the C library, where that is glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and, where it is loaded, PyTorch, so that a run repeats on the same machine."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global generator
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


@cache
def supports_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX); elsewhere it is slower."""
    import torch

    # Not where ATEN_CPU_CAPABILITY holds PyTorch to an older kind of processor, such as "avx2".
    has_avx512 = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    return has_avx512 and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def progress(items: Iterable[Item], description: str, total: int | None = None, unit: str = "it") -> Iterable[Item]:
    """`items`, with one tqdm bar that shows the time left in Jupyter, a terminal and a papermill log alike."""
    # A log that is not a terminal keeps every redraw as a line: there, once in ten seconds is enough.
    interval = 0.2 if sys.stderr.isatty() or "ipykernel" in sys.modules else 10.0
    return tqdm(items, desc=description, total=total, unit=unit, mininterval=interval, dynamic_ncols=True)


def ahead(
    function: Callable[[Item], Made], items: Iterable[Item], count: int, threads: int | None = None
) -> Iterator[Made]:
    """`function` of each item, in order, made on `threads` threads (None: one a core) while the ones before are in use.

    At most `count` are made ahead: photos, say, would not all fit in memory.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items`, `size` at a time; the last may be fewer.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


@cache
def prepare_torchvision() -> None:
    """Make `import torchvision` work when its binary was built for another PyTorch than the one installed.

    A torchvision built with CUDA cannot load its operators beside a CPU-only PyTorch, and its Python part then
    stops at "operator torchvision::nms does not exist". Nothing here uses those operators, so declaring their
    signatures is enough. Transformers imports torchvision too. Call this before importing either.
    """
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        prepare_torchvision.library = library  # the definitions live as long as this object
