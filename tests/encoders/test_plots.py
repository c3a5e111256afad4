import numpy as np
import pytest
from matplotlib.text import Text

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


def test_names_of_stars_do_not_cover_each_other() -> None:
    stars = np.array([[0.0, 0.0], [0.01, 0.01], [0.0, 0.02], [1.0, 1.0]])
    names = ["dog", "squirrel", "cat", "butterfly"]
    figure = plots.plot_points(np.random.default_rng(0).normal(size=(20, 2)), ["dog"] * 20, "T", stars, names)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without the lines to their stars
    assert [text.get_text() for text in figure.axes[0].texts] == names
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_leads_are_margins_and_name_the_closest_rival() -> None:
    texts = np.eye(3, dtype=np.float32)  # a description a class
    photos = np.array([[0.8, 0.6, 0], [0.6, 0, 0.8], [0, 1, 0], [0, 0.6, 0.8]], np.float32)
    classes = np.array(["cane", "cavallo", "gatto"])
    labels = np.array(["cane", "cane", "cavallo", "gatto"])  # the second is taken for a gatto
    axes = plots.plot_leads(photos, texts, labels, classes).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dog", "cat", "horse"]
    leads = [sorted(dots.get_offsets()[:, 0].round(5).tolist()) for dots in axes.collections]
    assert leads == [[-0.2, 0.2], [0.2], [1.0]]
    assert [text.get_text() for text in axes.texts][1] == "horse"  # the cat's
    told = axes.figure.get_suptitle()
    assert told == "3 of 4 test photos are closest to their own class; farthest behind is dog, -0.20"
