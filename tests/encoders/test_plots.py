import numpy as np
import pytest

from helpers.encoders import plots


@pytest.mark.parametrize("count", [1, 3, 4, 30])
def test_neighbours_stay_neighbours_when_pressed_flat(count: int) -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(count) % 2
    flat = plots.press_flat((10 * groups[:, None] + rng.normal(size=(count, 5))).astype(np.float32), seed=0)
    assert flat.shape == (count, 2)
    if count == 30:
        distances = np.linalg.norm(flat[:, None] - flat[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        np.testing.assert_array_equal(groups[distances.argmin(axis=1)], groups)


def test_zones_of_negatives_meet_at_the_positive_and_the_margin() -> None:
    axes = plots.plot_triplet_zones(0.6, 0.4, [0.3, 1.5], "Zones").axes[0]
    spans = [(zone.get_x(), zone.get_x() + zone.get_width()) for zone in axes.patches]
    np.testing.assert_allclose(spans, [(0, 0.6), (0.6, 1.0), (1.0, 1.65)])
    assert [text.get_text() for text in axes.texts] == ["hard", "semi-hard", "easy"]
