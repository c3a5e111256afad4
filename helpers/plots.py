"""Pictures: one style for all notebooks, colour-blind safe, on a light card that reads on light and dark pages.

Every function returns a Matplotlib figure; `save_figure` writes it as PNG with its title inside the file, and shows it.
"""

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, display
from IPython.display import Image as Shown
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import LogLocator
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers.data.images import load_photo, resize_photo
from helpers.files import atomic_path

# Okabe and Ito's palette: eight colours that people with any kind of colour vision tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, INK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#1f2328",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, INK)
PAPER = "#fbfaf7"
_GAP = 0.14  # inches between photos
_TICKS = {"color": "0.15", "labelsize": 11, "major.size": 6, "major.width": 1.25, "minor.size": 4, "minor.width": 1}

Picture = Path | Image.Image | np.ndarray


def use_style() -> None:
    """Set fonts, colours and grid for every figure that follows."""
    plt.rcParams.update(
        {
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"],
            "font.size": 12,
            "text.color": INK,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.labelcolor": INK,
            "axes.labelsize": 12,
            "axes.edgecolor": "#b8b5ad",
            "axes.linewidth": 1.25,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "grid.color": "#e4e1d9",
            "grid.linewidth": 1,
            "legend.fontsize": 11,
            "legend.title_fontsize": 12,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "white",
            "patch.force_edgecolor": True,
            "image.cmap": "cividis",
        }
        | {f"{axis}.{name}": value for axis in ("xtick", "ytick") for name, value in _TICKS.items()}
        | {"xtick.bottom": False, "ytick.left": False}
    )


use_style()


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG, with its title as metadata for the report, and show that in a notebook.

    So it is drawn once: a notebook would draw every figure that is still open when its cell ends.
    """
    title = figure.get_suptitle() or next((axes.get_title(loc="left") for axes in figure.axes), "")
    with atomic_path(path) as temporary:
        figure.savefig(
            temporary,
            bbox_inches="tight",
            metadata={"Title": title.replace("\n", " ")},
            pil_kwargs={"compress_level": 3},  # a tenth larger than by default, in a third of the time
        )
    plt.close(figure)
    if get_ipython() is not None:
        display(Shown(path.read_bytes(), alt=title))


def _title(figure: Figure, title: str, x: float = 0.01, y: float | None = None) -> None:
    # Without a height of its own, the layout makes room for the title above the axes.
    figure.suptitle(title, x=x, y=y, ha="left", fontsize=13, fontweight="bold", color=INK)


def _array(picture: Picture, size: int = 224) -> np.ndarray:
    if isinstance(picture, Path):
        picture = load_photo(picture, size)
    return resize_photo(picture, size) if isinstance(picture, Image.Image) else picture


def _sheet(lines: Sequence[int], columns: int, width: float, title: str) -> tuple[Figure, Axes, np.ndarray]:
    """An empty page for rows of photos: the figure, axes in inches from the upper left, and the top of each row.

    One pair of axes holds all photos. With a pair for each, a page takes twice as long to draw.

    Args:
        lines: of text under each row of photos.
        columns: photos a row.
        width: inches a photo, `_GAP` included.
        title: above all.
    """
    tops = np.cumsum([0, *(width + 0.1 + 0.165 * count for count in lines)])
    height = tops[-1] + 0.14 + 0.22 * (title.count("\n") + 1)
    figure = plt.figure(figsize=(columns * width, height))
    axes = figure.add_axes((0, 0, 1, tops[-1] / height))
    axes.axis("off")
    axes.set(xlim=(0, columns * width), ylim=(tops[-1], 0))
    _title(figure, title, x=0, y=1)
    return figure, axes, tops[:-1]


def _put(
    axes: Axes, picture: Picture, left: float, top: float, side: float, text: str, right: bool | None, **font: Any
) -> None:
    """A photo on a `_sheet`, a text under it, and a frame for right or wrong; places in inches."""
    array = _array(picture)
    height, width = side * np.array(array.shape[:2]) / max(array.shape[:2])
    axes.imshow(array, extent=(left, left + width, top + height, top), aspect="auto")
    axes.text(left, top + height + 0.06, text, va="top", color=INK, linespacing=1.25, **font)
    if right is not None:
        colour, line = (GREEN, "-") if right else (RED, "--")
        frame = plt.Rectangle((left, top), width, height, fill=False, edgecolor=colour, linestyle=line, linewidth=4)
        axes.add_patch(frame).set_clip_on(False)


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
        "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, int(width * 12)) or [""])
        for text in texts
    ]
    rows = [wrapped[start : start + columns] for start in range(0, len(wrapped), columns)]
    lines = [max(text.count("\n") + 1 for text in row) for row in rows]
    figure, axes, tops = _sheet(lines, columns, width, title)
    for place, (picture, text) in enumerate(zip(pictures, wrapped, strict=True)):
        row, column = divmod(place, columns)
        mark = None if right is None else right[place]
        _put(axes, picture, column * width, tops[row], width - _GAP, text, mark, fontsize=9)
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
        return "\n".join(textwrap.wrap(text, int(width * 12))[:3])

    notes = [[wrap(text) for text in row] for row in texts]
    asked = [query if isinstance(query, str | tuple) else (query, "query") for query in queries]
    labels = ["" if isinstance(query, str) else wrap(query[1]) for query in asked]
    lines = [max(text.count("\n") + 1 for text in (label, *row)) for label, row in zip(labels, notes, strict=True)]
    figure, axes, tops = _sheet(lines, 1 + max(map(len, results)), width, title)
    side = width - _GAP
    for row, (query, label, found) in enumerate(zip(asked, labels, results, strict=True)):
        if isinstance(query, str):
            words, middle = "\n".join(textwrap.wrap(query, 18)), (side / 2, tops[row] + side / 2)
            axes.text(*middle, words, ha="center", va="center", fontsize=10, style="italic", color=INK)
        else:
            _put(axes, query[0], 0, tops[row], side, label, None, fontsize=9, fontweight="bold")
        for place, (picture, note) in enumerate(zip(found, notes[row], strict=True)):
            mark = None if right is None else right[row][place]
            _put(axes, picture, (place + 1) * width, tops[row], side, note, mark, fontsize=8)
    return figure


def plot_history(
    history: Sequence[Mapping[str, float]],
    panels: Mapping[str, Sequence[str]],
    title: str,
    best_epoch: int | None = None,
) -> Figure:
    """Training curves, one panel a kind of figure.

    Args:
        history: one mapping an epoch, for example `{"train_loss": 3.1, "val_loss": 3.3, "cider_d": 41.0}`.
        panels: panel title -> names in `history` drawn there.
        title: the finding.
        best_epoch: epoch, counted from 1, that was kept; marked by a dotted line.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.4), squeeze=False, layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    for cell, (panel, names) in zip(axes[0], panels.items(), strict=True):
        for name, colour, marker in zip(names, PALETTE, "osD^vPX*", strict=False):
            values = [epoch.get(name, np.nan) for epoch in history]
            cell.plot(epochs, values, marker=marker, markersize=4, color=colour, label=name.replace("_", " "))
        if best_epoch is not None:
            cell.axvline(best_epoch, color=INK, linestyle=":", linewidth=1.2, label="kept")
        cell.set(title=panel, xlabel="epoch")
        cell.xaxis.get_major_locator().set_params(integer=True)
        cell.legend(frameon=False, fontsize=9)
    _title(figure, title)
    return figure


def plot_heatmap(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, label: str, annotate: bool = False
) -> Figure:
    """A matrix (rows, columns) as colours, dark for high; `label` names what the colours measure."""
    import seaborn as sns  # here, since it takes longer to import than the rest, and few notebooks draw one

    size = (max(5.0, 0.42 * len(columns) + 3), max(3.5, 0.38 * len(rows) + 1.5))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        values, xticklabels=list(columns), yticklabels=list(rows), cmap="cividis_r", annot=annotate, fmt=".2f",
        annot_kws={"fontsize": 7}, cbar_kws={"label": label}, ax=axes,
    )  # fmt: skip
    axes.tick_params(axis="x", rotation=60)
    axes.tick_params(axis="y", rotation=0)
    _title(figure, title)
    return figure


def plot_bars(values: Mapping[str, float], title: str, xlabel: str) -> Figure:
    """Horizontal bars with their figures, in the order given."""
    figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(values) + 1.2), layout="constrained")
    bars = axes.barh(list(values), list(values.values()), color=BLUE)
    axes.bar_label(bars, fmt=lambda x: f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}", padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=xlabel)
    _title(figure, title)
    return figure


def plot_histogram(values: Sequence[int], title: str, xlabel: str) -> Figure:
    """How often each whole number occurs."""
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    axes.hist(values, bins=np.arange(min(values), max(values) + 2) - 0.5, color=BLUE, rwidth=0.9)
    axes.axvline(float(np.mean(values)), color=RED, linestyle="--", label=f"mean {np.mean(values):.1f}")
    axes.set(xlabel=xlabel, ylabel="count")
    axes.legend(frameon=False)
    _title(figure, title)
    return figure


def plot_matrices(
    panels: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], title: str, label: str
) -> Figure:
    """Small matrices (R, C) side by side, their numbers written in, in one scale of colours.

    Args:
        panels: title of a panel -> its matrix. All of one shape.
        rows: R names, written once, at the left.
        columns: C names, under each panel.
        title: the finding.
        label: what the colours measure. Where numbers are below 0, these are orange and those above it blue.
    """
    import seaborn as sns

    values = np.stack(list(panels.values()))  # (P, R, C)
    largest = float(np.abs(values).max())
    signed = values.min() < 0
    colours = LinearSegmentedColormap.from_list("signed", [ORANGE, PAPER, BLUE]) if signed else "cividis_r"
    figure, axes = plt.subplots(
        1, len(panels), figsize=(len(panels) * (0.75 * len(columns) + 1.3) + 1.4, 0.5 * len(rows) + 1.8),
        squeeze=False, sharey=True, layout="constrained",
    )  # fmt: skip
    for cell, (name, matrix) in zip(axes[0], panels.items(), strict=True):
        sns.heatmap(
            matrix, xticklabels=list(columns), yticklabels=list(rows), cmap=colours, annot=True, fmt=".2f", ax=cell,
            vmin=-largest if signed else 0, vmax=largest, cbar=False, linewidths=2, linecolor=PAPER,
        )  # fmt: skip
        cell.set_title(name, fontsize=11)
        cell.tick_params(axis="y", rotation=0)
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=label)
    _title(figure, title)
    return figure


def plot_curves(panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, title: str, start: int = 0) -> Figure:
    """Lines side by side: panel -> name of a line -> its values at `start` and on; a name looks the same everywhere."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    looks = dict(zip(names, zip(PALETTE, ("-", "--", "-.", ":") * 2, strict=True), strict=False))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(max(7, 5 * len(panels)), 3.6), squeeze=False, layout="constrained"
    )
    for cell, (panel, lines) in zip(axes[0], panels.items(), strict=True):
        for name, values in lines.items():
            colour, dash = looks[name]
            cell.plot(range(start, start + len(values)), values, color=colour, linestyle=dash, linewidth=2)
        cell.set(title=panel, xlabel=xlabel)
        cell.xaxis.get_major_locator().set_params(integer=True)
        cell.set_ylim(bottom=min(0.0, cell.get_ylim()[0]))
    marks = [plt.Line2D([], [], color=looks[name][0], linestyle=looks[name][1], linewidth=2) for name in names]
    figure.legend(marks, names, loc="outside lower center", ncols=min(3, len(names)), frameon=False)
    _title(figure, title)
    return figure


def press_flat(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Vectors (N, D) -> places on a map (N, 2), neighbours beside neighbours; far distances mean nothing.

    t-SNE (van der Maaten and Hinton, 2008), started from the two main directions. Three vectors or fewer have no
    neighbourhood to keep; of these the first two numbers are taken.
    """
    if len(vectors) < 4:
        return vectors[:, :2]
    from sklearn.manifold import TSNE  # here, since it takes a moment to load

    return TSNE(perplexity=min(20, len(vectors) // 4), random_state=seed, init="pca").fit_transform(vectors)


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
    everything = points if words is None else np.concatenate([points, words])
    figure, axes = plt.subplots(figsize=(10.5, 7.5), layout="constrained")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.update_datalim(everything)
    axes.margins(0.05)
    axes.autoscale_view()
    for place, picture in zip(points, pictures, strict=True):
        small = OffsetImage(_array(picture, 2 * size), zoom=0.5 * 72 / figure.dpi)
        axes.add_artist(AnnotationBbox(small, place, pad=0.08, bboxprops={"edgecolor": "white", "linewidth": 0.5}))
    for place, label in zip(words if words is not None else [], word_labels, strict=True):
        axes.text(
            *place, label, ha="center", va="center", fontsize=10, fontweight="bold", color="white", zorder=5,
            bbox={"facecolor": INK, "edgecolor": "white", "boxstyle": "round,pad=0.25", "alpha": 0.85},
        )  # fmt: skip
    _title(figure, title)
    return figure


def show_source(*objects: Any) -> None:
    """Show the source of classes or functions, coloured, in a notebook."""
    # The style is named, since exported pages show output in a font of no fixed width and break lines anywhere.
    style = "font-family: monospace; font-size: 12px; white-space: pre; overflow-x: auto"
    formatter = HtmlFormatter(noclasses=True, nobackground=True, prestyles=style)
    for item in objects:
        display(HTML(highlight(inspect.getsource(item).rstrip(), PythonLexer(), formatter)))


def plot_points(
    points: np.ndarray,
    labels: Sequence[str],
    title: str,
    stars: np.ndarray | None = None,
    star_labels: Sequence[str] = (),
) -> Figure:
    """A map of vectors pressed flat: points (N, 2) coloured by label, and stars (M, 2) in the colour of theirs."""
    names = sorted({*labels, *star_labels})
    figure, axes = plt.subplots(figsize=(8.5, 6), layout="constrained")
    for number, name in enumerate(names):
        # Eight colours, then the same colours with another marker.
        colour, marker = PALETTE[number % len(PALETTE)], "osD^"[number // len(PALETTE) % 4]
        chosen = np.array([label == name for label in labels], bool)
        axes.scatter(*points[chosen].T, s=26, color=colour, marker=marker, alpha=0.75, linewidths=0, label=name)
        for place, label in zip(stars if stars is not None else [], star_labels, strict=True):
            if label == name:
                axes.scatter(*place, s=240, color=colour, marker="*", edgecolors=INK, linewidths=1.2, zorder=3)
                axes.annotate(name, place, textcoords="offset points", xytext=(8, 6), fontsize=9, fontweight="bold")
    axes.set(xticks=[], yticks=[])
    axes.legend(frameon=False, fontsize=9, bbox_to_anchor=(1, 1), loc="upper left")
    _title(figure, title)
    return figure


_VARIANT_MARKS = {
    "pytorch": (INK, "X"), "fp32": (BLUE, "o"), "bf16": (SKY, "v"), "fp16": (ORANGE, "s"), "int8": (RED, "D"),
}  # fmt: skip


def _hollow(colour: str) -> dict[str, Any]:
    """Marks of equal values stay visible through each other."""
    return {"facecolors": "none", "edgecolors": colour, "linewidths": 2}


def plot_measurements(table: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> Figure:
    """`measure`'s figures for many graphs: a row a graph, a mark a variant; scales are logarithmic."""
    panels = {
        "latency_ms": "milliseconds for one request",
        "rows_per_second": "inputs a second, in batches",
        "megabytes": "megabytes on disk",
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 0.5 * len(table) + 2), sharey=True, layout="constrained")
    for cell, (key, label) in zip(axes, panels.items(), strict=True):
        for row, variants in enumerate(table.values()):
            values = [figures[key] for figures in variants.values() if key in figures]
            cell.plot([min(values), max(values)], [row, row], color="#d8d4ca", linewidth=2, zorder=1)
            for variant, figures in variants.items():
                if key in figures:
                    colour, marker = _VARIANT_MARKS[variant]
                    cell.scatter(figures[key], row, marker=marker, s=60, zorder=2, **_hollow(colour))
        cell.set(xscale="log", xlabel=label, yticks=range(len(table)), yticklabels=list(table))
        cell.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 else (1,)))
        cell.xaxis.set_major_formatter("{x:g}")
        cell.xaxis.set_minor_formatter("")
        cell.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    names = next(iter(table.values()))
    marks = [
        plt.Line2D([], [], color=colour, marker=marker, fillstyle="none", markeredgewidth=2, linestyle="", label=name)
        for name, (colour, marker) in _VARIANT_MARKS.items()
        if name in names
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    _title(figure, title)
    return figure


def plot_accuracy_and_speed(panels: Mapping[str, Mapping[str, tuple[float, float]]], xlabel: str, title: str) -> Figure:
    """Accuracy against time, a panel a task: variant -> (milliseconds, accuracy). Up and to the left is better."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.2 * columns, 3.8 * rows), squeeze=False, layout="constrained")
    for cell in axes.flat[len(panels) :]:
        cell.axis("off")
    for cell, (accuracy, points) in zip(axes.flat, panels.items(), strict=False):
        for variant, (time, value) in points.items():
            colour, marker = _VARIANT_MARKS[variant]
            cell.scatter(time, value, marker=marker, s=80, label=f"{variant}: {value:.1f}", zorder=2, **_hollow(colour))
        top = max(value for _, value in points.values())
        slowest = max(time for time, _ in points.values())
        cell.set(xlim=(0, 1.1 * slowest), ylim=(0, max(1.15 * top, 1)), xlabel=xlabel, title=accuracy)
        cell.legend(frameon=False, fontsize=9, loc="lower right")
    _title(figure, title)
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


def plot_scores(table: Mapping[str, Mapping[str, float]], line: Mapping[str, float], title: str) -> Figure:
    """A panel a score and a bar a model, from model -> score -> value; a dashed line at `line`, the score to beat."""
    names = list(next(iter(table.values())))
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.2 * len(names), 0.5 * len(table) + 1.8), sharey=True, layout="constrained"
    )
    for cell, name in zip(np.atleast_1d(axes), names, strict=True):
        bars = cell.barh(list(table), [row[name] for row in table.values()], color=PALETTE[: len(table)])
        cell.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
        cell.axvline(line[name], color=INK, linestyle="--", linewidth=1.2, label="blind")
        cell.set(title=name)
        cell.margins(x=0.2)
        cell.grid(axis="y", visible=False)
    cell.invert_yaxis()
    figure.legend(*cell.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=9)
    _title(figure, title)
    return figure


def plot_triplet_zones(positive: float, margin: float, negatives: Sequence[float], title: str) -> Figure:
    """Distances from an anchor as a line: its positive, the three zones of negatives, and some `negatives`."""
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    end = 1.1 * max([*negatives, positive + 2 * margin])
    zones = {
        "hard": (0, positive, RED),
        "semi-hard": (positive, positive + margin, ORANGE),
        "easy": (positive + margin, end, SKY),
    }
    for name, (left, right, colour) in zones.items():
        axes.axvspan(left, right, color=colour, alpha=0.25, linewidth=0)
        axes.text((left + right) / 2, 0.72, name, ha="center", fontsize=11, fontweight="bold", color=INK)
    axes.scatter(0, 0, s=120, marker="*", color=INK, label="anchor", zorder=3, clip_on=False)
    axes.scatter(positive, 0, s=80, marker="o", color=GREEN, label="positive", zorder=3)
    axes.scatter(negatives, np.zeros(len(negatives)), s=70, marker="X", color=PURPLE, label="negatives", zorder=3)
    axes.set(xlim=(0, end), ylim=(-0.6, 1), yticks=[], xlabel="squared distance from the anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    _title(figure, title)
    return figure


def plot_ladders(panels: Mapping[str, Mapping[str, float]], unit: str, title: str) -> Figure:
    """A panel a benchmark and a bar a rung, as a multiple of the first rung; `unit` is that of the figures given."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    most = max(map(len, panels.values()))
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.4 * columns, rows * (0.42 * most + 1)), squeeze=False, layout="constrained"
    )
    for cell in axes.flat[len(panels) :]:
        cell.axis("off")
    for cell, (name, ladder) in zip(axes.flat, panels.items(), strict=False):
        first = next(iter(ladder.values()))
        times = [value / first for value in ladder.values()]
        bars = cell.barh(list(ladder), times, color=[INK, *[BLUE] * (len(ladder) - 1)], height=0.62)
        texts = [
            f"{ratio:.1f}x  ({value:,.{0 if value >= 100 else 1}f} {unit})"
            for ratio, value in zip(times, ladder.values(), strict=True)
        ]
        cell.bar_label(bars, texts, padding=4, fontsize=9)
        cell.set(title=name, xlim=(0, 1.6 * max(times)))
        cell.invert_yaxis()
        cell.grid(axis="y", visible=False)
    _title(figure, title)
    return figure


def plot_recall_and_time(indexes: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Recall against milliseconds a query, a line an index, a mark an effort; left: one at a time, right: in one call.

    `indexes` are those of `index_speed.index_curves`.
    """
    names = {"flat": "flat (exact)", "ivf_flat": "IVF-Flat", "ivf_pq": "IVF-PQ", "hnsw": "HNSW"}
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True, layout="constrained")
    panels = {"single_ms": "one query at a time", "batch_ms": "all queries in one call"}
    for cell, (key, name) in zip(axes, panels.items(), strict=True):
        marks = zip(indexes.items(), (INK, BLUE, ORANGE, RED), "XosD", strict=False)
        for (kind, figures), colour, marker in marks:
            points = figures["points"]
            times, recalls = [point[key] for point in points], [point["recall"] for point in points]
            label = f"{names[kind]}: built in {figures['build_seconds']:,.0f} s, {figures['megabytes']:,.0f} MB"
            cell.plot(times, recalls, color=colour, marker=marker, markersize=6, linewidth=1.6, label=label)
        cell.axhline(0.95, color=INK, linestyle=":", linewidth=1)
        cell.set(xscale="log", xlabel="milliseconds a query, one thread", title=name)
        cell.xaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("recall@10")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    _title(figure, title)
    return figure


def plot_growth(steps: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Time and memory of each step against the size of its data, both as multiples of the smallest; logarithmic.

    `steps` -> sizes, costs (a list of seconds and megabytes) and slope.
    """
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.2), layout="constrained")
    panels = {"seconds": "times as long", "megabytes": "megabytes at most, above those before"}
    for cell, (key, label) in zip(axes, panels.items(), strict=True):
        most = 1.0
        for number, (name, step) in enumerate(steps.items()):
            values = np.array([spent[key] for spent in step["costs"]])
            sizes = np.array(step["sizes"]) / step["sizes"][0]
            most = max(most, sizes[-1])
            shown = values / values[0] if key == "seconds" else np.maximum(values, 0.1)
            text = f"{name}: slope {step['slope']:.2f}"
            cell.plot(sizes, shown, color=PALETTE[number % len(PALETTE)], marker="osD^vXP*"[number % 8], label=text)
        if key == "seconds":
            cell.plot([1, most], [1, most], color=INK, linestyle=":", linewidth=1.4, label="in proportion: slope 1")
        cell.set(xscale="log", yscale="log", xlabel="times the data", ylabel=label)
        for axis in (cell.xaxis, cell.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        cell.set_xticks(sizes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    _title(figure, title)
    return figure
