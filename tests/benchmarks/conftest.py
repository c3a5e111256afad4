"""What the benchmarks share: photos, a finished run of the sample, all cores, and a table of targets at the end.

    make bench                                   all, about a quarter of an hour on two cores
    make bench BENCH=-ktraining                  some of them; the others keep the figures they had
    make bench BENCH_QUICK=1                     small sizes, to try that everything works; the figures are not kept
    make bench BENCH_VECTORS=100000              a smaller search benchmark
    make bench BENCH_PHOTOS=~/Pictures           your own photos for the extraction of features
    make bench BENCH_RUN=holidays                the models of another finished run than the sample's

`pytest` alone does not run them: their files are not called test_*.py.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sizes import QUICK

from helpers.data.images import find_photos
from helpers.data.manifest import load_manifest
from helpers.environment import cores, set_threads
from helpers.files import InputError
from helpers.graphs import processor
from helpers.profiles import get_profile
from helpers.speed.benchmarks import BENCHMARKS, in_words, keep_benchmarks, load_benchmarks, target

Record = Callable[..., None]


def pytest_configure() -> None:
    set_threads(cores())  # the tests' own conftest asks for one thread
    try:
        load_benchmarks(BENCHMARKS)
    except InputError as error:  # better now than after a quarter of an hour
        pytest.exit(str(error), returncode=2)


def run_name() -> str:
    return os.environ.get("BENCH_RUN", "sample")


def measured_run() -> Path:
    """The folder of the finished run, the sample's or BENCH_RUN, whose trained models are measured."""
    try:
        folder = get_profile(run_name()).outputs
        load_manifest(folder)
    except InputError as error:
        pytest.exit(f"The benchmarks measure the models of a finished run: `make run` first. {error}", returncode=2)
    return folder


@pytest.fixture(scope="session")
def outputs() -> Path:
    return measured_run()


def own_photos(folder: str) -> list[Path]:
    """The photos below the folder that BENCH_PHOTOS names."""
    try:
        found = find_photos(Path(folder).expanduser()).photos
    except InputError as error:
        pytest.exit(f"BENCH_PHOTOS: {error}", returncode=2)
    if len(found) < 64:
        pytest.exit(f"BENCH_PHOTOS: {folder} holds {len(found)} photos, and at least 64 are needed.", returncode=2)
    return found


@pytest.fixture(scope="session")
def photos(outputs: Path) -> list[Path]:
    """Files of the drawn sample's photos, or one's own."""
    own = os.environ.get("BENCH_PHOTOS")
    return own_photos(own) if own else [photo.path for photo in load_manifest(outputs).photos]


@pytest.fixture(autouse=True)
def kept(benchmark: Any) -> Iterator[None]:
    """Record each benchmark when it is done, with what its figures say little without; others keep what they had."""
    yield
    if benchmark.stats and not benchmark.has_error and not QUICK:
        facts = {"processor": processor(), "threads": cores(), "run": run_name()}
        seconds = benchmark.stats.stats.median
        keep_benchmarks({benchmark.name: benchmark.extra_info | facts | {"seconds": seconds}}, BENCHMARKS)


@pytest.fixture
def once(benchmark: Any) -> Callable[..., Any]:
    """Run a function that measures many things, a single time, and keep the table that it returns."""

    def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        result = benchmark.pedantic(function, arguments, options, rounds=1, iterations=1)
        benchmark.extra_info["table"] = result
        return result

    return run


@pytest.fixture
def reach(benchmark: Any) -> Record:
    """Note a figure beside its target; see `helpers.speed.benchmarks.target`. A missed target is no failure."""
    rows = benchmark.extra_info.setdefault("targets", [])
    return lambda what, value, **limit: rows.append(target(what, value, **limit))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    rows = [row for run in session.benchmarks for row in run.extra_info.get("targets", [])] if session else []
    if rows:
        small = " (small sizes: these figures mean little, and are not kept)"
        terminalreporter.section("targets" + (small if QUICK else ""))
        for row in rows:
            terminalreporter.write_line(in_words(row))
