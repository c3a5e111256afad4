"""How long, how large and how dear: what any number of photos takes, reckoned from figures that were measured.

`measured` builds an index and searches it. The rest is arithmetic over `Assumptions`: change one, and all else follows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import faiss
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.files import InputError
from helpers.plots import PALETTE, put_title
from helpers.scale.faiss_index import FaissIndex, Kind, lists_for, vector_bytes
from helpers.speed.search import clustered_vectors

SIZES = {"Flickr8k": 8_000, "a million": 10**6, "a hundred million": 10**8, "five billion": 5 * 10**9}
HOUR, GIB = 3600.0, 2.0**30
LEAST = 256  # vectors that can be measured: IVF-PQ learns from so many


class Measured(NamedTuple):
    """An index of one kind over `count` vectors."""

    count: int
    build_seconds: float
    megabytes: float  # of the index
    recall: float  # of the ten nearest
    query_ms: float  # one at a time, on one core; without what each takes besides, however many vectors there are


def in_order(sizes: Sequence[int]) -> list[int]:
    """Numbers of vectors that can be measured, the largest last.

    Raises:
        InputError: there is none, or one is too small.
    """
    if not sizes or min(sizes) < LEAST:
        raise InputError(f"index_sizes is {list(sizes)}, and has to be one size or more, each of {LEAST} or more.")
    return sorted(sizes)


def measured(kind: Kind, count: int, width: int = 256, queries: int = 200) -> Measured:
    """Build an index of this kind over vectors that cluster as those of photos do, tune it, and search it."""
    vectors, asked = clustered_vectors(count, queries, width)
    index = FaissIndex(width, kind=kind, count=count)
    ids = [str(row) for row in range(count)]

    start = perf_counter()
    index.train(vectors[: 64 * lists_for(count)])
    index.add(ids, vectors)
    seconds = perf_counter() - start
    rows = np.arange(queries)
    index.tune(rows, vectors[rows], np.argsort(-(vectors[rows] @ vectors.T), axis=1)[:, :11])
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    times = []
    try:
        for query in asked:
            start = perf_counter()
            index.nearest(query[None], 10)
            times.append(perf_counter() - start)
    finally:
        faiss.omp_set_num_threads(threads)
    return Measured(count, seconds, index.nbytes / 1e6, index.recall, 1000 * float(np.median(times)))


@dataclass(frozen=True)
class Assumptions:
    """What the arithmetic starts from.

    Attributes:
        photos_per_second: that one core embeds, opening them included.
        cores: of a machine.
        machines: that embed together.
        memory_gib: of a machine, for its part of the index.
        euros_per_machine_hour: what it costs.
        width: numbers in a vector.
        measured_at: vectors in the index that was measured.
        query_ms: what one query took of one core there, by kind.
        power: with which this grows: 1 is in proportion, 0 not at all.
    """

    photos_per_second: float
    cores: int
    machines: int
    memory_gib: float
    euros_per_machine_hour: float
    width: int
    measured_at: int
    query_ms: Mapping[Kind, float]
    power: Mapping[Kind, float]


class Plan(NamedTuple):
    """What a number of photos takes."""

    photos: int
    hours: float  # of embedding
    euros: float  # for it
    gib: dict[Kind, float]  # of the index
    machines: dict[Kind, int]  # that hold it in memory
    query_ms: dict[Kind, float]  # of one core, on all machines together
    euros_per_million_queries: dict[Kind, float]


def plan(photos: int, given: Assumptions) -> Plan:
    """What `photos` take. A query goes to all machines, each of which searches its part of the index.

    >>> flat = {"flat": 5.0}
    >>> given = Assumptions(50, 2, 1, 8, 0.1, 256, 100_000, flat, {"flat": 1.0})
    >>> one = plan(1_000_000, given)
    >>> round(one.hours, 2), round(one.gib["flat"], 3), one.machines["flat"], one.query_ms["flat"]
    (2.78, 0.954, 1, 50.0)
    """
    hours = photos / (given.photos_per_second * given.cores * given.machines) / HOUR
    gib = {kind: photos * vector_bytes(kind, given.width) / GIB for kind in given.query_ms}
    machines = {kind: max(1, math.ceil(size / given.memory_gib)) for kind, size in gib.items()}
    times = {kind: (photos / count / given.measured_at) ** given.power[kind] for kind, count in machines.items()}
    spent = {kind: count * given.query_ms[kind] * times[kind] for kind, count in machines.items()}
    core_second = given.euros_per_machine_hour / HOUR / given.cores
    return Plan(
        photos,
        hours,
        hours * given.machines * given.euros_per_machine_hour,
        gib,
        machines,
        spent,
        {kind: 1e6 * one / 1000 * core_second for kind, one in spent.items()},
    )


def print_plans(plans: Mapping[str, Plan]) -> None:
    """A table, a line for each size and kind of index."""
    columns = f"{'index':<7} {'memory':>11} {'machines':>9} {'a query':>12} {'a million':>12}"
    print(f"{'photos':>18} {'embedding':>12} {'':>9}  {columns}")
    for name, one in plans.items():
        head = f"{name:>18} {one.hours:>10,.1f} h {one.euros:>7,.0f} €"
        for kind in one.gib:
            print(
                f"{head:>41}  {kind:<7} {one.gib[kind]:>7,.2f} GiB {one.machines[kind]:>9,} "
                f"{one.query_ms[kind]:>9,.2f} ms {one.euros_per_million_queries[kind]:>10,.2f} €"
            )
            head = ""


def plot_sizing(points: Mapping[Kind, Sequence[Measured]], plans: Mapping[str, Plan], given: Assumptions) -> Figure:
    """Time of a query and memory of an index over the number of photos: points are measured, dashed lines reckoned."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    sizes = [one.photos for one in plans.values()]
    for kind, colour in zip(points, PALETTE, strict=False):
        counts = [one.count for one in points[kind]]
        left.plot(counts, [one.query_ms for one in points[kind]], "o", color=colour, label=kind)
        right.plot(counts, [one.megabytes / 1000 for one in points[kind]], "o", color=colour, label=kind)
        left.plot(sizes, [one.query_ms[kind] for one in plans.values()], "--", color=colour)
        right.plot(sizes, [1.0737 * one.gib[kind] for one in plans.values()], "--", color=colour)
    right.axhline(1.0737 * given.memory_gib, color="grey", linewidth=1, label="one machine")
    for axes, what in ((left, "a query, ms of one core"), (right, "index, GB")):
        axes.set(xscale="log", yscale="log", xlabel="photos", ylabel=what)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter("")
        axes.legend(frameon=False, fontsize=9)
    put_title(figure, "Points are measured; dashed lines are reckoned from them")
    return figure


def as_json(points: Mapping[Kind, Sequence[Measured]]) -> dict[str, Any]:
    """The measured points as JSON has them."""
    return {kind: [one._asdict() for one in row] for kind, row in points.items()}
