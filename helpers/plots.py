"""Pictures: one style for all notebooks, colour-blind safe, on a light card that reads on light and dark pages.

Every function returns a Matplotlib figure; `save_figure` writes it as PNG with its title inside the file, and shows it.
"""

import inspect
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, display
from IPython.display import Image as Shown
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers.files import atomic_path

# Okabe and Ito's palette: eight colours that people with any kind of colour vision tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, INK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#1f2328",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, INK)
PAPER = "#fbfaf7"
_TICKS = {"color": "0.15", "labelsize": 11, "major.size": 6, "major.width": 1.25, "minor.size": 4, "minor.width": 1}


# For letters that the usual fonts lack, the first of these that is installed and has them.
_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),  # Linux
    *("PingFang SC", "Hiragino Sans GB", "Arial Unicode MS"),  # macOS
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI"),  # Windows
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "FreeSans"),
)


def use_style() -> None:
    """Set fonts, colours and grid for every figure that follows."""
    installed = set(font_manager.get_font_names())
    plt.rcParams.update(
        {
            "font.family": ["sans-serif", *(name for name in _SCRIPTS if name in installed)],
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"],
            "font.size": 12,
            "text.color": INK,
            "text.parse_math": False,  # two prices in a caption are no formula; so numbers on axes must not be one, too
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
# A picture warns of each letter; `without_font` tells of them once for all pictures.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")


def without_font(texts: Iterable[str]) -> str:
    """The letters of `texts` that no font of the figures has, in order; a figure shows boxes for them."""
    letters = {letter for letter in set().union(*texts) if letter.isprintable() and not letter.isspace()}
    for family in plt.rcParams["font.family"]:
        font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[family])))
        letters -= set(map(chr, font.get_charmap()))
    return "".join(sorted(letters))


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


def put_title(figure: Figure, title: str, x: float = 0.01, y: float | None = None) -> None:
    """A title at the left; without a height of its own, the layout makes room for it above the axes."""
    figure.suptitle(title, x=x, y=y, ha="left", fontsize=13, fontweight="bold", color=INK)


def panels_in_pairs(count: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure with `count` panels of `width` x `height` inches each, two a row, and their axes (count,)."""
    columns = min(2, count)
    rows = -(-count // columns)
    size = (width * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for cell in axes.flat[count:]:
        cell.axis("off")
    return figure, axes.flat[:count]


def plot_history(
    history: Sequence[Mapping[str, float]],
    panels: Mapping[str, Sequence[str] | Mapping[str, str]],
    title: str,
    best_epoch: int | None = None,
) -> Figure:
    """Training curves, one panel a kind of figure.

    Args:
        history: one mapping an epoch, for example `{"train_loss": 3.1, "val_loss": 3.3, "cider_d": 41.0}`.
        panels: panel title -> names in `history` drawn there, or a mapping of such names to words for the legend.
        title: the finding.
        best_epoch: epoch, counted from 1, that was kept; marked by a dotted line.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.4), squeeze=False, layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    for cell, (panel, names) in zip(axes[0], panels.items(), strict=True):
        words = names if isinstance(names, Mapping) else {name: name.replace("_", " ") for name in names}
        for (name, label), colour, marker in zip(words.items(), PALETTE, "osD^vPX*", strict=False):
            values = [epoch.get(name, np.nan) for epoch in history]
            cell.plot(epochs, values, marker=marker, markersize=4, color=colour, label=label)
        if best_epoch is not None:
            cell.axvline(best_epoch, color=INK, linestyle=":", linewidth=1.2, label="kept")
        cell.set(title=panel, xlabel="epoch")
        cell.xaxis.get_major_locator().set_params(integer=True)
        cell.legend(frameon=False, fontsize=9)
    put_title(figure, title)
    return figure


def colours_for(values: np.ndarray) -> dict[str, Any]:
    """How to colour numbers: dark for high; or, where some are below 0, orange for those and blue for the others."""
    if values.min() >= 0:
        return {"cmap": "cividis_r"}
    largest = float(np.abs(values).max())
    signed = LinearSegmentedColormap.from_list("signed", [ORANGE, PAPER, BLUE])
    return {"cmap": signed, "vmin": -largest, "vmax": largest}


def plot_heatmap(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, label: str, annotate: bool = False
) -> Figure:
    """A matrix (rows, columns) as colours, see `colours_for`; `label` names what the colours measure."""
    import seaborn as sns  # here, since it takes longer to import than the rest, and few notebooks draw one

    size = (max(5.0, 0.42 * len(columns) + 3), max(3.5, 0.38 * len(rows) + 1.5))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        values, xticklabels=list(columns), yticklabels=list(rows), annot=annotate, fmt="z.2f",
        annot_kws={"fontsize": 7}, cbar_kws={"label": label}, ax=axes, **colours_for(values),
    )  # fmt: skip
    if max(map(len, columns)) > 3:  # the end of a slanted name stands under its column
        plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.tick_params(axis="x", rotation=0)
    axes.tick_params(axis="y", rotation=0)
    put_title(figure, title)
    return figure


def apart(places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Centres (N, 2) of boxes of `sizes` (N, 2), moved as little as it takes until no box covers another.

    >>> apart(np.array([[0.0, 0.0], [0.0, 0.4], [9.0, 0.0]]), np.ones((3, 2))).round(1).tolist()
    [[0.0, -0.3], [0.0, 0.7], [9.0, 0.0]]
    """
    places = places.astype(float)
    for _ in range(200):
        gaps = places[:, None] - places  # (N, N, 2)
        overlap = (sizes[:, None] + sizes) / 2 - np.abs(gaps)  # above 0 along both axes where two boxes meet
        meet = np.argwhere(np.triu((overlap > 1e-9).all(axis=2), k=1))
        if not len(meet):
            break
        for one, other in meet:
            axis = int(overlap[one, other].argmin())  # the shorter way
            push = (overlap[one, other, axis] / 2 + 1e-6) * (1 if gaps[one, other, axis] > 0 else -1)
            places[one, axis] += push
            places[other, axis] -= push
    return places


def plot_bars(values: Mapping[str, float], title: str, xlabel: str) -> Figure:
    """Horizontal bars with their figures, in the order given."""
    figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(values) + 1.2), layout="constrained")
    bars = axes.barh(list(values), list(values.values()), color=BLUE)
    axes.bar_label(bars, fmt=lambda x: f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}", padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=xlabel)
    put_title(figure, title)
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
        label: what the colours measure; see `colours_for`.
    """
    import seaborn as sns

    values = np.stack(list(panels.values()))  # (P, R, C)
    colours = {"vmin": 0, "vmax": values.max()} | colours_for(values)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(len(panels) * (0.75 * len(columns) + 1.3) + 1.4, 0.5 * len(rows) + 1.8),
        squeeze=False, sharey=True, layout="constrained",
    )  # fmt: skip
    for cell, (name, matrix) in zip(axes[0], panels.items(), strict=True):
        sns.heatmap(
            matrix, xticklabels=list(columns), yticklabels=list(rows), annot=True, fmt="z.2f", ax=cell, cbar=False,
            linewidths=2, linecolor=PAPER, **colours,
        )  # fmt: skip
        cell.set_title(name, fontsize=11)
        cell.tick_params(axis="y", rotation=0)
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=label)
    put_title(figure, title)
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
    put_title(figure, title)
    return figure


def show_source(*objects: Any) -> None:
    """Show the source of classes or functions, coloured, in a notebook."""
    # The style is named, since exported pages show output in a font of no fixed width and break lines anywhere.
    style = "font-family: monospace; font-size: 12px; white-space: pre; overflow-x: auto"
    formatter = HtmlFormatter(noclasses=True, nobackground=True, prestyles=style)
    for item in objects:
        source = textwrap.dedent(inspect.getsource(item)).rstrip()  # a method stands by itself, not indented
        display(HTML(highlight(source, PythonLexer(), formatter)))
