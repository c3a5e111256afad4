"""Benchmarks: a fresh process for every comparison, time and memory of a call, and reading what `make bench` wrote.

A figure alone says little about a computer, so every claim is a ratio, or a time beside a target, measured in one
run. What is compared with what, and how, is told by the modules that measure: `captioning`,
`encoders`, `extraction`, `latency`, `search`, `imports` and `growth`. The benchmarks in `tests/benchmarks` call them.
"""

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from helpers.environment import cores, project_root, resident_memory, set_threads
from helpers.files import InputError, read_json, write_json

Result = TypeVar("Result")
BENCHMARKS = project_root() / "outputs" / "benchmarks.json"
_SAMPLE_SECONDS = 0.005  # between two looks at the memory in use


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` in a new Python process on all cores, which ends with it.

    What one measurement leaves behind (memory that is kept, warm caches, threads) cannot reach the next.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), set_threads, (cores(),)) as pool:
        return pool.submit(function, *arguments).result()


class Cost(NamedTuple):
    """What a call cost."""

    seconds: float
    megabytes: float  # at the call's highest, above what was in use before it


def cost(call: Callable[[], Any]) -> Cost:
    """Time and memory of one `call`, with the memory of processes that it starts.

    Memory that the process kept from earlier work costs nothing again, so measure memory `in_fresh_process`.
    """
    gc.collect()  # what was used before may lie about still, and its going would hide what this call takes
    before = peak = resident_memory(os.getpid())
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(_SAMPLE_SECONDS):
            peak = max(peak, resident_memory(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        result = call()  # held until the memory has been looked at
        seconds = time.perf_counter() - start
        peak = max(peak, resident_memory(os.getpid()))
    finally:
        ended.set()
        watcher.join()
    del result
    return Cost(seconds, (peak - before) / 1e6)


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power by which `values` grow with `sizes`: 1 is in proportion, 2 is fourfold for twice the size.

    It is the slope of the straight line closest to the points when both axes are logarithmic.

    >>> round(slope([1, 4, 16], [3, 12, 48]), 3)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def target(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> dict[str, Any]:
    """A figure beside what it should reach; give one of the two limits."""
    met = value >= at_least if at_most is None else value <= at_most
    return {"what": what, "value": value, "at_least": at_least, "at_most": at_most, "met": bool(met)}


def in_words(row: Mapping[str, Any]) -> str:
    """A `target` as a line of text."""
    limit = f"<= {row['at_most']:g}" if row["at_least"] is None else f">= {row['at_least']:g}"
    return f"{row['what']:<62} {row['value']:>10.4g}   {limit:<9} {'reached' if row['met'] else 'missed'}"


def load_benchmarks(path: Path = BENCHMARKS) -> dict[str, dict[str, Any]] | None:
    """What `make bench` recorded last of each benchmark; None when it has not run.

    Raises:
        InputError: the file is torn or something else.
    """
    if not path.exists():
        return None
    content = read_json(path, made_by="`make bench`")
    try:
        return {run["name"]: run["extra_info"] | {"seconds": run["stats"]["median"]} for run in content["benchmarks"]}
    except (KeyError, TypeError):
        raise InputError(f"{path} holds no benchmarks; delete it and run `make bench` again.") from None


def keep_benchmarks(runs: Mapping[str, Mapping[str, Any]], path: Path = BENCHMARKS) -> None:
    """Record `runs` as `load_benchmarks` gives them; benchmarks that are not among them keep the figures they had.

    Raises:
        InputError: the file is torn or something else, or cannot be written.
    """
    known = {name: dict(run) for name, run in ((load_benchmarks(path) or {}) | dict(runs)).items()}
    rows = [{"name": name, "stats": {"median": run.pop("seconds")}, "extra_info": run} for name, run in known.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"benchmarks": rows})


def tables(benchmarks: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """The tables of all benchmarks whose name begins with `prefix`, by the rest of their names.

    >>> tables({"bench_growth[decode]": {"table": 1}, "bench_search_flat": {"table": 2}}, "bench_growth")
    {'decode': 1}
    """
    return {
        name.removeprefix(prefix).strip("[]_").replace("_", " "): run["table"]
        for name, run in benchmarks.items()
        if name.startswith(prefix) and "table" in run
    }
