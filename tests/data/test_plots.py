from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from small_data import write_photo

from helpers.data import plots


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


def test_attention_lights_the_photo_where_the_model_looked() -> None:
    photo = np.full((70, 70, 3), 200, np.uint8)
    corner, even = np.zeros((1, 49)), np.full((1, 49), 1 / 49)
    corner[0, 6] = 1  # the last region of the first row
    figure = plots.attention_maps(photo, ["sun", "everywhere"], np.concatenate([corner, even]), "Two words")
    untouched, sun, everywhere = (image.get_array() for image in figure.axes[0].images)
    assert [text.get_text() for text in figure.axes[0].texts] == ["", "sun", "everywhere"]
    assert (untouched == 200).all() and (everywhere == 200).all()  # weights that say nothing darken nothing
    assert sun[:4, 66:].min() > 150 and sun[20:].max() < 50 and sun[:, :50].max() < 50


def test_map_holds_every_photo_and_word_within_its_frame() -> None:
    photo = np.zeros((20, 20, 3), np.uint8)
    figure = plots.photo_map(
        np.array([[0.0, 0], [9, 1]]), [photo, Image.new("RGB", (9, 9))], "T", np.array([[20.0, 5]]), ["dog"]
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["dog"]
    (*_, below, above), (_, right, *_) = (image.get_extent() for image in axes.images)
    (word_x, word_y), (width, height) = axes.texts[-1].get_position(), (axes.get_xlim()[1], axes.get_ylim()[0])
    assert 0 < word_y < above < below < height  # the word lies above the photos, as 5 above 0
    assert 0 < axes.images[0].get_extent()[0] < right < word_x < width


def test_words_on_a_map_stand_beside_each_other_and_full_stops_are_not_left_alone() -> None:
    photo = np.zeros((20, 20, 3), np.uint8)
    points = np.array([[0.0, 0], [9, 1], [4, 4]])
    figure = plots.photo_map(points, [photo] * 3, "T", np.array([[4.0, 4], [4, 4.05], [0, 0]]), ["man", "shirt", "dog"])
    figure.draw_without_rendering()
    boxes = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert len(boxes) == 3 and not boxes[0].overlaps(boxes[1])

    figure = plots.photo_grid([photo], ["A man in a yellow shirt is sitting on a table ."], "T", width=1.5)
    (text,) = figure.axes[0].texts
    assert text.get_text().endswith("table.") and "\n." not in text.get_text()
