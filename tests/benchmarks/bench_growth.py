"""Growth: time and memory of each step at once, four times and sixteen times the data."""

from pathlib import Path

import pytest
from sizes import QUICK

from helpers.speed.benchmarks import Cost, slope
from helpers.speed.growth import STEPS, growth

TIMES = (1, 2) if QUICK else (1, 4, 16)


@pytest.mark.parametrize("step", STEPS)
def bench_growth(benchmark, photos: list[Path], step: str) -> None:
    found = benchmark.pedantic(growth, (step, photos, TIMES), rounds=1, iterations=1)
    benchmark.extra_info["table"] = {
        "unit": STEPS[step][1],
        "sizes": list(found),
        "costs": [Cost._asdict(spent) for spent in found.values()],
        "slope": slope(list(found), [spent.seconds for spent in found.values()]),
    }
