"""Pictures of the data: photos in rows, beside a query, on a map or lit by region, and how long captions are."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from helpers.data.images import load_photo, resize_photo
from helpers.data.text import tidy
from helpers.plots import BLUE, GREEN, INK, RED, apart, put_title

_GAP = 0.14  # inches between photos
_FRAMES: dict[bool | None, dict[str, Any]] = {  # right, wrong, neither; told apart by line style, too
    True: {"edgecolor": GREEN, "linewidth": 4},
    False: {"edgecolor": RED, "linewidth": 4, "linestyle": "--"},
    None: {},
}

Picture = Path | Image.Image | np.ndarray


def _array(picture: Picture, size: int = 224) -> np.ndarray:
    if isinstance(picture, Path):
        picture = load_photo(picture, size)
    return resize_photo(picture, size) if isinstance(picture, Image.Image) else picture


def _page(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty page of `width` x `height` inches under a title, and its axes: in inches, from the upper left.

    One pair of axes holds all photos. With a pair for each, a page takes twice as long to draw.
    """
    whole = height + 0.14 + 0.22 * (title.count("\n") + 1)
    figure = plt.figure(figsize=(width, whole))
    axes = figure.add_axes((0, 0, 1, height / whole))
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(height, 0))
    put_title(figure, title, x=0, y=1)
    return figure, axes


def _sheet(lines: Sequence[int], columns: int, width: float, title: str) -> tuple[Figure, Axes, np.ndarray]:
    """A page for rows of photos, and the top of each row.

    Args:
        lines: of text under each row of photos.
        columns: photos a row.
        width: inches a photo, `_GAP` included.
        title: above all.
    """
    tops = np.cumsum([0, *(width + 0.1 + 0.165 * count for count in lines)])
    return *_page(columns * width, tops[-1], title), tops[:-1]


def _put(
    axes: Axes, picture: Picture, left: float, top: float, side: float, frame: dict[str, Any], text: str, **font: Any
) -> None:
    """A photo on a page, a frame around it and a text under it; places in inches."""
    array = _array(picture)
    height, width = side * np.array(array.shape[:2]) / max(array.shape[:2])
    axes.imshow(array, extent=(left, left + width, top + height, top), aspect="auto", zorder=1)
    axes.text(left, top + height + 0.06, text, va="top", color=INK, linespacing=1.25, **font)
    if frame:
        axes.add_patch(plt.Rectangle((left, top), width, height, fill=False, **frame)).set_clip_on(False)


def photo_grid(
    pictures: Sequence[Picture],
    texts: Sequence[str],
    title: str,
    columns: int = 4,
    right: Sequence[bool | None] | None = None,
    width: float = 2.7,
) -> Figure:
    """Photos in rows, a text under each.

    Args:
        pictures: paths, Pillow images or uint8 arrays (H, W, 3).
        texts: a text a photo; it is wrapped to the photo's width.
        title: what the reader should see here.
        columns: photos a row.
        right: frame a photo as right (green, solid), wrong (vermilion, dashed), or not at all (None).
        width: inches a photo.
    """
    columns = min(columns, len(pictures))
    wrapped = [
        "\n".join(part for line in tidy(text).split("\n") for part in textwrap.wrap(line, int(width * 12)) or [""])
        for text in texts
    ]
    rows = [wrapped[start : start + columns] for start in range(0, len(wrapped), columns)]
    lines = [max(text.count("\n") + 1 for text in row) for row in rows]
    figure, axes, tops = _sheet(lines, columns, width, title)
    for place, (picture, text) in enumerate(zip(pictures, wrapped, strict=True)):
        row, column = divmod(place, columns)
        frame = _FRAMES[None if right is None else right[place]]
        _put(axes, picture, column * width, tops[row], width - _GAP, frame, text, fontsize=9)
    return figure


def retrieval_grid(
    queries: Sequence[str | Picture | tuple[Picture, str]],
    results: Sequence[Sequence[Picture]],
    texts: Sequence[Sequence[str]],
    title: str,
    right: Sequence[Sequence[bool | None]] | None = None,
    width: float = 2.1,
) -> Figure:
    """One row a query: a text, a photo or a photo with a text at the left, its results in order of score beside it."""

    def wrap(text: str) -> str:
        return "\n".join(textwrap.wrap(tidy(text), int(width * 12), max_lines=3, placeholder=" …"))

    notes = [[wrap(text) for text in row] for row in texts]
    asked = [query if isinstance(query, str | tuple) else (query, "query") for query in queries]
    labels = ["" if isinstance(query, str) else wrap(query[1]) for query in asked]
    lines = [max(text.count("\n") + 1 for text in (label, *row)) for label, row in zip(labels, notes, strict=True)]
    figure, axes, tops = _sheet(lines, 1 + max(map(len, results)), width, title)
    side = width - _GAP
    for row, (query, label, found) in enumerate(zip(asked, labels, results, strict=True)):
        if isinstance(query, str):
            words, middle = "\n".join(textwrap.wrap(tidy(query), 18)), (side / 2, tops[row] + side / 2)
            axes.text(*middle, words, ha="center", va="center", fontsize=10, style="italic", color=INK)
        else:
            _put(axes, query[0], 0, tops[row], side, {}, label, fontsize=9, fontweight="bold")
        for place, (picture, note) in enumerate(zip(found, notes[row], strict=True)):
            frame = _FRAMES[None if right is None else right[row][place]]
            _put(axes, picture, (place + 1) * width, tops[row], side, frame, note, fontsize=8)
    return figure


def photo_map(
    points: np.ndarray,
    pictures: Sequence[Picture],
    title: str,
    words: np.ndarray | None = None,
    word_labels: Sequence[str] = (),
    size: int = 44,
) -> Figure:
    """A map of vectors pressed flat that shows the photos themselves, and texts where they lie among them.

    Args:
        points: places (N, 2) of the photos.
        pictures: N photos.
        title: the finding.
        words: places (M, 2) of texts.
        word_labels: M texts, written on the map.
        size: pixels a side of a photo on the map.
    """
    width, height, margin = 10.5, 7.2, 0.5  # inches
    everything = points if words is None else np.concatenate([points, words])
    low, span = everything.min(axis=0), np.ptp(everything, axis=0)

    def on_page(places: np.ndarray) -> np.ndarray:
        shares = (places - low) / np.where(span > 0, span, 1)  # (N, 2), from the lower left
        return margin + np.array([1, -1]) * (shares - [0, 1]) * (np.array([width, height]) - 2 * margin)

    figure, axes = _page(width, height, title)
    side, frame = size / figure.dpi, {"edgecolor": "white", "linewidth": 1}
    for (x, y), picture in zip(on_page(points), pictures, strict=True):
        _put(axes, _array(picture, 2 * size), x - side / 2, y - side / 2, side, frame, "")
    if words is not None:
        at = on_page(words)
        sizes = np.array([(0.092 * len(label) + 0.16, 0.27) for label in word_labels])  # inches, frames included
        for true, place, label in zip(at, apart(at, sizes), word_labels, strict=True):
            axes.plot(*zip(true, place, strict=True), color=INK, linewidth=1, zorder=4)  # seen where a word had to move
            axes.text(
                *place, label, ha="center", va="center", fontsize=10, fontweight="bold", color="white", zorder=5,
                bbox={"facecolor": INK, "edgecolor": "white", "boxstyle": "round,pad=0.25", "alpha": 0.85},
            )  # fmt: skip
    return figure


def attention_maps(picture: Picture, words: Sequence[str], maps: np.ndarray, title: str, columns: int = 5) -> Figure:
    """A photo, and once more for each word, lit where the model looked when it wrote that word.

    Args:
        picture: the photo.
        words: T words.
        maps: attention (T, R) over the R = G * G regions, row by row from the top left.
        title: what the reader should see here.
        columns: panels a row.
    """
    photo = _array(picture)  # (H, W, 3)
    height, width = photo.shape[:2]
    side = round(maps.shape[1] ** 0.5)
    panels = [photo]
    for regions in maps.reshape(-1, side, side).astype(np.float32):
        smooth = Image.fromarray(regions).resize((width, height), Image.Resampling.BICUBIC)
        light = np.asarray(smooth).clip(0)[:, :, None]
        # Over the largest, not from the smallest to the largest: attention that is the same everywhere lights all.
        panels.append((photo * (0.15 + 0.85 * light / light.max())).round().astype(np.uint8))
    return photo_grid(panels, ["", *words], title, columns=columns, width=2.2)


def plot_histogram(values: Sequence[int], title: str, xlabel: str) -> Figure:
    """How often each whole number occurs."""
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    axes.hist(values, bins=np.arange(min(values), max(values) + 2) - 0.5, color=BLUE, rwidth=0.9)
    axes.axvline(float(np.mean(values)), color=RED, linestyle="--", label=f"mean {np.mean(values):.1f}")
    axes.set(xlabel=xlabel, ylabel="count")
    axes.legend(frameon=False)
    put_title(figure, title)
    return figure
