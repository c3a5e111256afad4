import html
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from helpers import plots
from helpers.data.plots import photo_grid, plot_histogram, retrieval_grid


def test_history_leaves_gaps_for_missing_figures() -> None:
    history = [{"loss": 3.0}, {"loss": 2.0, "cider_d": 40.0}]
    figure = plots.plot_history(history, {"loss": ["loss"], "score": ["cider_d"]}, "Learning", best_epoch=2)
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [np.nan, 40.0])
    assert figure.axes[0].lines[1].get_xdata()[0] == 2
    said = {"loss": ["train_loss"], "score": {"cider_d": "drawn captions"}}
    figure = plots.plot_history(history, said, "Learning")
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["train loss"], ["drawn captions"]]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.plot_bars({"a": 1, "b": 2}, "B is larger", "size"),
        lambda: plots.plot_history([{"loss": 3.0}, {"loss": 2.0}], {"a": ["loss"], "b": ["loss"]}, "Learning"),
        lambda: photo_grid([np.zeros((20, 20, 3), np.uint8)] * 3, ["one", "two", "three"], "Three"),
        lambda: retrieval_grid(["a"], [[np.zeros((20, 20, 3), np.uint8)]], [["1.0"]], "On two\nlines"),
    ],
)
def test_titles_stand_above_what_they_name(draw: Callable[[], plt.Figure]) -> None:
    figure = draw()
    figure.draw_without_rendering()
    (title,) = figure.texts
    bottom = title.get_window_extent().y0
    assert all(axes.get_tightbbox().y1 <= bottom for axes in figure.axes)


def test_letters_that_no_font_has_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plt.rcParams, "font.family", ["DejaVu Sans"])  # which has Greek and Arabic, and comes along
    assert plots.without_font(["A dog , κύων", "七狗 ابت\n"]) == "七狗"


def test_a_font_for_other_letters_stands_behind_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib goes through the families for each letter."""
    monkeypatch.setattr(plots.font_manager, "get_font_names", lambda: ["DejaVu Serif", "DejaVu Sans"])
    monkeypatch.setattr(plots, "_SCRIPTS", ("No Such Font", "DejaVu Serif"))
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["font.family"] == ["sans-serif", "DejaVu Serif"]


def test_dollars_in_captions_are_dollars(tmp_path: Path) -> None:
    figure = photo_grid([np.zeros((9, 9, 3), np.uint8)], ["$5 for tea, $6_ for coffee"], "prices of $5 & $10")
    figure.draw_without_rendering()
    shown = [figure.axes[0].texts[0], figure.texts[0]]
    plain = [figure.text(0, 0, text.get_text().replace("$", "5"), font=text.get_font()) for text in shown]  # as wide
    assert [text.get_window_extent().width for text in shown] == pytest.approx(
        [text.get_window_extent().width for text in plain], rel=0.01
    )
    plots.save_figure(figure, tmp_path / "prices.png")


def test_saved_picture_carries_its_title(tmp_path: Path) -> None:
    plots.save_figure(plots.plot_bars({"a": 1, "b": 2}, "B is larger", "size"), tmp_path / "bars.png")
    plots.save_figure(plot_histogram([1, 2, 2, 5], "Twos lead", "value"), tmp_path / "histogram.png")
    with Image.open(tmp_path / "bars.png") as bars, Image.open(tmp_path / "histogram.png") as histogram:
        assert (bars.text["Title"], histogram.text["Title"]) == ("B is larger", "Twos lead")


def test_source_is_shown_coloured_in_a_font_of_fixed_width(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(plots, "display", shown.append)
    plots.show_source(plots.save_figure, plots.show_source)
    first, second = (html.unescape(re.sub("<[^>]+>", "", page.data)) for page in shown)
    assert first.strip() == inspect.getsource(plots.save_figure).strip()
    assert second.strip() == inspect.getsource(plots.show_source).strip()
    assert "font-family: monospace" in shown[0].data and '<span style="color: ' in shown[0].data


def test_saved_picture_is_shown_once_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(plots, "get_ipython", object)
    monkeypatch.setattr(plots, "display", shown.append)
    figure = plots.plot_bars({"a": 1, "b": 2}, "B is larger", "size")
    plots.save_figure(figure, tmp_path / "bars.png")
    (picture,) = shown
    assert (picture.data, picture.format) == ((tmp_path / "bars.png").read_bytes(), "png")
    assert picture.alt == "B is larger"
    assert not plt.fignum_exists(figure.number)  # else the notebook would draw it again


def test_heatmap_names_rows_and_columns() -> None:
    figure = plots.plot_heatmap(np.eye(2), ["r1", "r2"], ["c1", "c2"], "Same is same", "cosine")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["r1", "r2"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["c1", "c2"]


def test_a_slanted_name_ends_under_its_own_column() -> None:
    names = [f"a caption of some length, number {number}" for number in range(6)]
    figure = plots.plot_heatmap(np.eye(6), list("abcdef"), names, "T", "cosine")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for place, label in enumerate(axes.get_xticklabels()):
        left, right = axes.transData.transform([(place, 0), (place + 1, 0)])[:, 0]
        assert left < label.get_window_extent().x1 < right


def test_numbers_below_zero_have_a_colour_of_their_own() -> None:
    signed = plots.plot_heatmap(np.array([[-0.2, 0.9]]), ["r"], ["x", "y"], "T", "cosine").axes[0].collections[0]
    assert signed.get_clim() == (-0.9, 0.9)
    low, zero, high = (np.array(signed.cmap(share)[:3]) for share in (0.0, 0.5, 1.0))
    assert zero.min() > 0.9 and low[0] > low[2] and high[2] > high[0]  # orange, paper, blue
    plain = plots.plot_heatmap(np.array([[0.2, 0.9]]), ["r"], ["x", "y"], "T", "cosine").axes[0].collections[0]
    assert plain.cmap.name == "cividis_r"


def test_boxes_make_room_for_each_other_and_move_no_farther_than_needed() -> None:
    rng = np.random.default_rng(0)
    places, sizes = rng.uniform(0, 6, (12, 2)), rng.uniform(0.3, 1.5, (12, 2))
    places[1] = places[0]  # exactly over each other
    moved = plots.apart(places, sizes)
    for one in range(12):
        for other in range(one):
            apart = np.abs(moved[one] - moved[other]) >= (sizes[one] + sizes[other]) / 2 - 1e-6
            assert apart.any(), (one, other)
    alone = np.array([[0.0, 0.0], [5.0, 5.0]])
    np.testing.assert_array_equal(plots.apart(alone, np.ones((2, 2))), alone)


def test_matrices_share_one_scale_and_show_their_sign() -> None:
    signed = plots.plot_matrices({"a": np.array([[1.0, -2.0]]), "b": np.zeros((1, 2))}, ["r"], ["x", "y"], "T", "push")
    left, right = signed.axes[0].collections[0], signed.axes[1].collections[0]
    assert left.get_clim() == right.get_clim() == (-2.0, 2.0)
    assert [text.get_text() for text in signed.axes[0].texts] == ["1.00", "-2.00"]
    plain = plots.plot_matrices({"a": np.array([[0.2, 0.8]])}, ["r"], ["x", "y"], "T", "probability")
    assert plain.axes[0].collections[0].get_clim() == (0.0, 0.8)


def test_a_curve_looks_the_same_in_all_panels() -> None:
    figure = plots.plot_curves({"p": {"one": [3, 2], "two": [1, 1]}, "q": {"two": [5, 4, 3]}}, "step", "T", start=1)
    two = figure.axes[0].lines[1], figure.axes[1].lines[0]
    assert two[0].get_color() == two[1].get_color() and two[0].get_linestyle() == two[1].get_linestyle()
    assert two[0].get_color() != figure.axes[0].lines[0].get_color()
    np.testing.assert_array_equal(two[1].get_xdata(), [1, 2, 3])
