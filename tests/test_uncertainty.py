"""Bootstrap intervals against theory and a plain loop; verdicts that cannot part from their figures."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from helpers.uncertainty import RESAMPLES, interval, mean_interval, verdict


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_photos_are_many():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = mean_interval(values)
    margin = 1.96 * values.std() / 400**0.5
    assert low == pytest.approx(values.mean() - margin, abs=0.04)
    assert high == pytest.approx(values.mean() + margin, abs=0.04)


def test_five_captions_that_stand_and_fall_together_count_once():
    hits = np.random.default_rng(1).random(200) < 0.6
    owners = np.repeat(np.arange(200), 5)
    alone = mean_interval(hits)
    together = mean_interval(np.repeat(hits, 5), owners)
    apart = mean_interval(np.repeat(hits, 5))
    assert together == pytest.approx(alone, abs=1e-12)
    assert apart[1] - apart[0] < 0.6 * (together[1] - together[0])  # five times the data, which there are not


def test_owners_with_different_numbers_of_captions_are_weighed_by_their_captions():
    values, owners = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 3])
    low, high = mean_interval(values, owners)
    assert (low, high) == (0.0, 1.0)  # draws of one photo alone; draws of both give 0.75


def test_a_statistic_of_rows_is_drawn_as_a_plain_loop_would():
    values = np.random.default_rng(2).exponential(size=50)
    low, high = interval(lambda rows: np.median(values[rows], axis=1), 50, seed=5)
    rng = np.random.default_rng(6)
    drawn = [np.median(rng.choice(values, 50)) for _ in range(4000)]
    assert (low, high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.08)
    assert interval(lambda rows: np.median(values[rows], axis=1), 50, seed=5) == (low, high)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(3).exponential(size=137)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=100, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert mean_interval(values, seed=9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_single_photo_has_no_spread():
    assert np.isnan(mean_interval(np.array([1.0]))).all()


@pytest.mark.parametrize(
    ("first", "second", "difference", "expected"),
    [
        (2.0, 1.0, None, "▸ 2.0 (a) is above 1.0 (b): more"),
        (1.0, 2.0, None, "▸ 1.0 (a) is below 2.0 (b): less"),
        (1.04, 1.0, None, "▸ 1.0 (a) is level with 1.0 (b): same"),  # as printed, or the line would contradict itself
        (2.0, 1.0, (0.2, 1.9), "▸ 2.0 (a) is above 1.0 (b), difference +1.0 [0.2, 1.9]: more"),
        (2.0, 1.0, (-0.1, 1.9), "▸ 2.0 (a) is level with 1.0 (b), difference +1.0 [-0.1, 1.9]: same"),
        (2.0, 1.0, (0.04, 1.9), "▸ 2.0 (a) is level with 1.0 (b), difference +1.0 [0.0, 1.9]: same"),  # as printed, too
        (1.0, 2.0, (-1.9, -0.2), "▸ 1.0 (a) is below 2.0 (b), difference -1.0 [-1.9, -0.2]: less"),
        (float("nan"), 1.0, None, "▸ nan (a) and 1.0 (b): too few photos to tell."),
        (1.0, 2.0, (float("nan"),) * 2, "▸ 1.0 (a) is level with 2.0 (b), difference -1.0 [unknown]: same"),
    ],
)
def test_a_verdict_says_what_its_figures_say(capsys, first, second, difference, expected):
    verdict(("a", first), ("b", second), above="more", below="less", level="same", difference=difference)
    assert capsys.readouterr().out == expected + "\n"
