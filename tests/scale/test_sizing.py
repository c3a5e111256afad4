"""The arithmetic of sizes, against the same by hand, and its measurements against what they measure."""

import time
from dataclasses import replace

import numpy as np
import pytest

from helpers.files import InputError
from helpers.scale.faiss_index import FaissIndex
from helpers.scale.sizing import Assumptions, Measured, in_order, measured, plan, plot_sizing

GIVEN = Assumptions(
    photos_per_second=50.0,
    cores=10,
    machines=4,
    memory_gib=100.0,
    euros_per_machine_hour=3.6,
    width=256,
    measured_at=100_000,
    query_ms={"flat": 5.0, "ivf_pq": 0.5},
    power={"flat": 1.0, "ivf_pq": 0.5},
)


def test_a_plan_is_what_a_pencil_says() -> None:
    one = plan(100_000_000, GIVEN)
    assert one.hours == pytest.approx(1e8 / 2000 / 3600) and one.euros == pytest.approx(one.hours * 4 * 3.6)
    assert one.gib == pytest.approx({"flat": 1e8 * 1024 / 2**30, "ivf_pq": 1e8 * 72 / 2**30})
    assert one.machines == {"flat": 1, "ivf_pq": 1}
    assert one.query_ms == pytest.approx({"flat": 5000.0, "ivf_pq": 0.5 * 1000**0.5})
    assert one.euros_per_million_queries == pytest.approx(
        {"flat": 1e6 * 5 * 0.0001, "ivf_pq": 1e6 * 0.015811 * 1e-4}, 1e-3
    )


def test_machines_share_the_index_and_each_searches_its_part() -> None:
    one = plan(5_000_000_000, GIVEN)
    assert one.machines == {"flat": 48, "ivf_pq": 4}  # 4,768 GiB and 335 GiB
    assert one.query_ms["flat"] == pytest.approx(5.0 * 50_000)  # in proportion, however it is shared
    assert one.query_ms["ivf_pq"] == pytest.approx(4 * 0.5 * 12_500**0.5)
    smaller = plan(5_000_000_000, replace(GIVEN, memory_gib=50.0))
    assert smaller.machines == {"flat": 96, "ivf_pq": 7} and plan(1, GIVEN).machines == {"flat": 1, "ivf_pq": 1}


def test_sizes_are_measured_from_small_to_large_and_none_that_cannot_be() -> None:
    assert in_order([16_000, 256, 1000]) == [256, 1000, 16_000] and in_order((400,)) == [400]
    for sizes in ([], [100], [1000, 255]):
        with pytest.raises(
            InputError, match=r"index_sizes is \[.*\], and has to be one size or more, each of 256 or more"
        ):
            in_order(sizes)
    assert {measured(kind, 256, width=64, queries=20).count for kind in ("flat", "hnsw", "ivf_pq")} == {256}


def test_the_time_of_a_query_is_that_of_the_index_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(self: FaissIndex) -> None:
        time.sleep(0.02)  # what is known of the photos is slow to read

    monkeypatch.setattr(FaissIndex, "rows", property(rows))
    assert measured("hnsw", 300, width=64, queries=20).query_ms < 20


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("hnsw", 0.95), ("ivf_pq", 0.5)])
def test_an_index_is_measured(kind: str, least: float) -> None:
    one = measured(kind, 1500, width=64, queries=50)
    assert one.count == 1500 and least <= one.recall <= 1.0 and one.query_ms > 0
    assert one.megabytes > 1500 * (4 * 64 if kind != "ivf_pq" else 24) / 1e6


def test_measured_points_are_marked_and_reckoned_ones_are_dashed() -> None:
    points = {kind: [Measured(n, 0, 1, 1.0, n / 1000) for n in (1000, 4000)] for kind in ("flat", "ivf_pq")}
    figure = plot_sizing(points, {"a": plan(8000, GIVEN), "b": plan(10**6, GIVEN)}, GIVEN)
    figure.draw_without_rendering()
    for axes in figure.axes:
        numbers = [label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels(which="both")]
        assert any(numbers) and not any("$" in number for number in numbers)
        lines = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_xdata()[0] > 1]
        marked = [line for line in lines if line.get_marker() == "o"]
        assert {line.get_linestyle() for line in marked} == {"None"} and len(marked) == 2
        dashed = [line for line in lines if line.get_linestyle() == "--"]
        assert len(dashed) == 2 and all(np.array_equal(line.get_xdata(), [8000, 10**6]) for line in dashed)
