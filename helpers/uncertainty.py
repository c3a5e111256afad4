"""How sure a figure is: bootstrap intervals, and sentences that follow from two figures instead of from hope.

A score on 160 photos is one draw: 160 others would have given another. The *bootstrap* (Efron 1979) asks how much
other by drawing 160 photos anew, some twice and some not at all, hundreds of times, from those there are. The middle
95 % of the scores so found are the interval. It says nothing of another seed or another data set.

    low, high = mean_interval(found_first, owners)     # captions of a photo stand or fall together
    verdict(("teacher-forced", forced), ("on its own", honest), above="...", below="...", level="...")
"""

import math
from collections.abc import Callable

import numpy as np

RESAMPLES = 999
CONFIDENCE = 0.95
Interval = tuple[float, float]


def interval(statistic: Callable[[np.ndarray], np.ndarray], count: int, seed: int = 0) -> Interval:
    """The bootstrap interval of a score of `count` photos, from low to high.

    Args:
        statistic: rows of photos (R, count), each row a draw with repetitions -> the score of each draw (R,).
        count: how many photos there are; fewer than two give (NaN, NaN), as they have no spread.
        seed: of the draws.
    """
    if count < 2:
        return (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    batches = [min(100, RESAMPLES - drawn) for drawn in range(0, RESAMPLES, 100)]  # all at once could take gigabytes
    scores = np.concatenate([statistic(rng.integers(0, count, (rows, count))) for rows in batches])
    low, high = np.quantile(scores, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return (float(low), float(high))


def mean_interval(values: np.ndarray, owners: np.ndarray | None = None, seed: int = 0) -> Interval:
    """The interval of the mean of `values` (M,), such as whether each caption found its photo.

    `owners` (M,) numbers what is drawn anew, such as the photo of each caption: captions of one photo are not
    independent, and an interval that treats them so is too narrow. None: each value is one of its own.

    >>> mean_interval(np.array([1.0, 1.0, 1.0]))
    (1.0, 1.0)
    """
    values = np.asarray(values, float)
    _, owners = np.unique(np.arange(len(values)) if owners is None else owners, return_inverse=True)
    sums, counts = np.bincount(owners, values), np.bincount(owners)  # of each photo
    return interval(lambda rows: sums[rows].sum(axis=1) / counts[rows].sum(axis=1), len(counts), seed)


def with_interval(value: float, bounds: Interval, digits: int = 1) -> list[float]:
    """A score and its interval as a headline of `metrics.json` holds them, which the report prints side by side.

    >>> with_interval(59.64, (56.21, 63.02))
    [59.6, 56.2, 63.0]
    """
    return [round(value, digits) for value in (value, *bounds)]


def brackets(bounds: Interval, digits: int = 1) -> str:
    """An interval as it stands behind a score.

    >>> brackets((56.234, 63.0)), brackets(mean_interval(np.array([60.0])))
    ('[56.2, 63.0]', '[unknown]')
    """
    low, high = bounds
    if math.isnan(low):
        return "[unknown]"
    return f"[{low:z.{digits}f}, {high:z.{digits}f}]"  # z: no negative zero


def verdict(
    first: tuple[str, float],
    second: tuple[str, float],
    *,
    above: str,
    below: str,
    level: str,
    difference: Interval | None = None,
    digits: int = 1,
) -> None:
    """Print how two figures compare, and the sentence that goes with it: a reader never sees one without the other.

    Args:
        first: name and value of a figure.
        second: what it is compared with.
        above: what it means when the first is the larger one.
        below: what it means when it is the smaller one.
        level: what it means when they are equal as printed or, with `difference`, when chance can explain it.
        difference: the interval of first - second on the same photos. Where it contains 0, the two are level.
        digits: after the point.

    Where one of them is not a number, since there was nothing to count, there is no sentence to go with it.

    >>> verdict(("greedy", 60.04), ("beam", 60.01), above="greedy wins", below="beam wins", level="no matter")
    ▸ 60.0 (greedy) is level with 60.0 (beam): no matter
    """
    (name, value), (other, baseline) = first, second
    if math.isnan(value) or math.isnan(baseline):
        print(f"▸ {value:.{digits}f} ({name}) and {baseline:.{digits}f} ({other}): too few photos to tell.")
        return
    # As printed, or a line could contradict itself.
    value, baseline = round(value, digits), round(baseline, digits)
    difference = difference and (round(difference[0], digits), round(difference[1], digits))
    relation, sentence = ("above", above) if value > baseline else ("below", below)
    if value == baseline or (difference is not None and not (difference[0] > 0 or difference[1] < 0)):
        relation, sentence = "level with", level
    shown = f"{value:.{digits}f} ({name}) is {relation} {baseline:.{digits}f} ({other})"
    if difference is not None:
        shown += f", difference {value - baseline:+.{digits}f} {brackets(difference, digits)}"
    print(f"▸ {shown}: {sentence}")
