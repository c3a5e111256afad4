import html
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from small_data import write_photo

from helpers import plots


@pytest.fixture(autouse=True)
def close_figures() -> None:
    yield
    plt.close("all")


def places(figure: plt.Figure) -> tuple[list[tuple[int, int]], dict[str, tuple[int, int]]]:
    """Row and column of each photo on a sheet, and of each text under one."""
    axes = figure.axes[0]
    lefts, tops = (sorted({round(image.get_extent()[side], 3) for image in axes.images}) for side in (0, 3))

    def cell(left: float, top: float) -> tuple[int, int]:
        row = max(place for place, edge in enumerate(tops) if edge <= top + 1e-3)
        return row, max(place for place, edge in enumerate(lefts) if edge <= left + 1e-3)

    photos = [cell(image.get_extent()[0], image.get_extent()[3]) for image in axes.images]
    return photos, {text.get_text(): cell(*text.get_position()) for text in axes.texts}


def test_grid_shows_each_photo_with_its_text(tmp_path: Path) -> None:
    pictures = [write_photo(tmp_path / "a.png"), np.zeros((20, 10, 3), np.uint8), Image.new("RGB", (9, 9), "red")]
    figure = plots.photo_grid(pictures, ["one", "two " * 30, "three"], "Three", columns=2, right=[True, False, None])
    photos, texts = places(figure)
    assert photos == [(0, 0), (0, 1), (1, 0)]
    assert (texts["one"], texts["three"]) == ((0, 0), (1, 0))
    (long,) = (text for text in texts if "two" in text)
    assert long.count("\n") >= 2 and texts[long] == (0, 1)  # wrapped
    # Photos keep their shape, do not touch, and leave room for the text under them.
    (left, right, below, above), (next_left, next_right, *_), (*_, third) = (
        image.get_extent() for image in figure.axes[0].images
    )
    assert right < next_left and (next_right - next_left) == pytest.approx((right - left) / 2)
    assert third - below > 0.14 * (long.count("\n") + 1) and above == 0
    # Right and wrong differ by line style too, not by colour alone.
    good, bad = figure.axes[0].patches
    assert good.get_linestyle() != bad.get_linestyle() and good.get_edgecolor() != bad.get_edgecolor()
    assert (good.get_x(), bad.get_x()) == (left, next_left)


def test_retrieval_rows_start_with_the_query(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    figure = plots.retrieval_grid(
        ["a dog", photo, (photo, "a cat")],
        [[photo, photo], [photo], [photo]],
        [["1.0", "0.5"], ["0.9"], ["0.8"]],
        "Found",
        [[True, False], [None], [None]],
    )
    photos, texts = places(figure)
    assert photos == [(0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]
    expected = {"a dog": (0, 0), "1.0": (0, 1), "0.5": (0, 2), "query": (1, 0), "a cat": (2, 0), "0.8": (2, 1)}
    assert texts == expected | {"0.9": (1, 1)}
    assert len(figure.axes[0].patches) == 2


def test_history_leaves_gaps_for_missing_figures() -> None:
    history = [{"loss": 3.0}, {"loss": 2.0, "cider_d": 40.0}]
    figure = plots.plot_history(history, {"loss": ["loss"], "score": ["cider_d"]}, "Learning", best_epoch=2)
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [np.nan, 40.0])
    assert figure.axes[0].lines[1].get_xdata()[0] == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.plot_bars({"a": 1, "b": 2}, "B is larger", "size"),
        lambda: plots.plot_history([{"loss": 3.0}, {"loss": 2.0}], {"a": ["loss"], "b": ["loss"]}, "Learning"),
        lambda: plots.photo_grid([np.zeros((20, 20, 3), np.uint8)] * 3, ["one", "two", "three"], "Three"),
        lambda: plots.retrieval_grid(["a"], [[np.zeros((20, 20, 3), np.uint8)]], [["1.0"]], "On two\nlines"),
    ],
)
def test_titles_stand_above_what_they_name(draw: Callable[[], plt.Figure]) -> None:
    figure = draw()
    figure.draw_without_rendering()
    (title,) = figure.texts
    bottom = title.get_window_extent().y0
    assert all(axes.get_tightbbox().y1 <= bottom for axes in figure.axes)


def test_saved_picture_carries_its_title(tmp_path: Path) -> None:
    plots.save_figure(plots.plot_bars({"a": 1, "b": 2}, "B is larger", "size"), tmp_path / "bars.png")
    plots.save_figure(plots.plot_histogram([1, 2, 2, 5], "Twos lead", "value"), tmp_path / "histogram.png")
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


def test_attention_lights_the_photo_where_the_model_looked() -> None:
    photo = np.full((70, 70, 3), 200, np.uint8)
    corner, even = np.zeros((1, 49)), np.full((1, 49), 1 / 49)
    corner[0, 6] = 1  # the last region of the first row
    figure = plots.attention_maps(photo, ["sun", "everywhere"], np.concatenate([corner, even]), "Two words")
    untouched, sun, everywhere = (image.get_array() for image in figure.axes[0].images)
    assert [text.get_text() for text in figure.axes[0].texts] == ["", "sun", "everywhere"]
    assert (untouched == 200).all() and (everywhere == 200).all()  # weights that say nothing darken nothing
    assert sun[:4, 66:].min() > 150 and sun[20:].max() < 50 and sun[:, :50].max() < 50


def test_scores_have_a_panel_each_and_the_line_to_beat() -> None:
    table = {"one": {"BLEU-4": 20.0, "CIDEr-D": 50.0}, "two": {"BLEU-4": 25.0, "CIDEr-D": 40.0}}
    figure = plots.plot_scores(table, {"BLEU-4": 9.0, "CIDEr-D": 4.0}, "Two is better at one")
    assert [cell.get_title(loc="left") for cell in figure.axes] == ["BLEU-4", "CIDEr-D"]
    assert [[bar.get_width() for bar in cell.patches] for cell in figure.axes] == [[20, 25], [50, 40]]
    assert [cell.lines[0].get_xdata()[0] for cell in figure.axes] == [9.0, 4.0]


def test_zones_of_negatives_meet_at_the_positive_and_the_margin() -> None:
    axes = plots.plot_triplet_zones(0.6, 0.4, [0.3, 1.5], "Zones").axes[0]
    spans = [(zone.get_x(), zone.get_x() + zone.get_width()) for zone in axes.patches]
    np.testing.assert_allclose(spans, [(0, 0.6), (0.6, 1.0), (1.0, 1.65)])
    assert [text.get_text() for text in axes.texts] == ["hard", "semi-hard", "easy"]


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


def test_map_holds_every_photo_and_word_within_its_frame() -> None:
    photo = np.zeros((20, 20, 3), np.uint8)
    figure = plots.photo_map(
        np.array([[0.0, 0], [9, 1]]), [photo, Image.new("RGB", (9, 9))], "T", np.array([[20.0, 5]]), ["dog"]
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["dog"]
    assert len(axes.artists) == 2
    assert axes.get_xlim()[0] < 0 and axes.get_xlim()[1] > 20


def test_benchmarks_are_drawn_as_they_were_measured() -> None:
    figure = plots.plot_ladders({"a": {"slow": 2.0, "fast": 300.0}}, "words/s", "ladder")
    (cell,) = [axes for axes in figure.axes if axes.patches]
    assert [bar.get_width() for bar in cell.patches] == [1, 150]
    assert [text.get_text() for text in cell.texts] == ["1.0x  (2.0 words/s)", "150.0x  (300 words/s)"]

    points = [{"recall": 0.5, "single_ms": 1.0, "batch_ms": 2.0}, {"recall": 0.9, "single_ms": 3.0, "batch_ms": 4.0}]
    figure = plots.plot_recall_and_time({"hnsw": {"build_seconds": 7, "megabytes": 9, "points": points}}, "indexes")
    lines = [axes.get_lines()[0] for axes in figure.axes]
    assert [list(line.get_xdata()) for line in lines] == [[1, 3], [2, 4]]
    assert all(list(line.get_ydata()) == [0.5, 0.9] for line in lines)
    assert lines[0].get_label() == "HNSW: built in 7 s, 9 MB"

    costs = [{"seconds": 2, "megabytes": 5}, {"seconds": 8, "megabytes": 6}]
    figure = plots.plot_growth({"decode": {"sizes": [10, 40], "costs": costs, "slope": 1.0}}, "growth")
    time, memory = (axes.get_lines()[0] for axes in figure.axes)
    assert (list(time.get_xdata()), list(time.get_ydata())) == ([1, 4], [1, 4])
    assert list(memory.get_ydata()) == [5, 6]
