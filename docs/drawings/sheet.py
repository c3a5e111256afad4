"""A sheet to draw on: boxes, arrows, words and small tables as SVG, in one style for light pages and for dark ones.

The sheet brings its own ground, so a drawing reads well even where a page is dark and the reader's system is not.
Colours are names of `LIGHT`; each is a line (`blue`) and a tint to fill with (`blue tint`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import hypot

import numpy as np

Point = tuple[float, float]

# Okabe and Ito's palette, as in helpers/plots.py; on a dark ground the same hues, lighter.
LIGHT = {
    "ink": ("#1f2328", "#ffffff"), "soft": ("#5a6573", "#eceae4"), "blue": ("#0072b2", "#dcebf6"),
    "orange": ("#935508", "#fbecd0"), "green": ("#007a5a", "#d8efe6"), "red": ("#b04500", "#fae0d2"),
    "purple": ("#a3507e", "#f4e2ec"),
}  # fmt: skip
DARK = {
    "ink": ("#e7eaee", "#161b22"), "soft": ("#a2adba", "#2a323c"), "blue": ("#6cb8ef", "#17344b"),
    "orange": ("#f0b452", "#43310f"), "green": ("#4fc9a1", "#12382d"), "red": ("#f58a4c", "#472414"),
    "purple": ("#e3a0c4", "#41263a"),
}  # fmt: skip
GROUND = {"light": ("#fbfaf7", "#dcd8ce"), "dark": ("#12161c", "#2e3742")}


def _rules(colours: dict[str, tuple[str, str]], ground: tuple[str, str]) -> str:
    rules = [f".ground{{fill:{ground[0]};stroke:{ground[1]}}}.halo{{stroke:{ground[0]}}}"]
    for name, (line, tint) in colours.items():
        rules.append(f".{name}{{stroke:{line}}}.{name}-tint{{fill:{tint}}}.{name}-fill{{fill:{line}}}")
    return "".join(rules)


STYLE = (
    "text{font-family:ui-sans-serif,system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:14px;stroke:none}"
    ".halo{stroke-width:4px;stroke-linejoin:round;paint-order:stroke}"
    ".small{font-size:12px}.large{font-size:16px;font-weight:600}.bold{font-weight:600}"
    ".math{font-family:'STIX Two Text','Cambria Math',Cambria,Georgia,'Times New Roman',serif;font-style:italic;"
    "font-size:16px}.line{fill:none;stroke-width:1.6}.dashed{stroke-dasharray:5 4}.thick{stroke-width:2.6}"
    f"{_rules(LIGHT, GROUND['light'])}@media(prefers-color-scheme:dark){{{_rules(DARK, GROUND['dark'])}}}"
)


@dataclass(frozen=True)
class Box:
    """A rectangle, and the middles of its sides, where arrows begin and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def left(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> Point:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        return self.x + self.width / 2, self.y + self.height


class Sheet:
    """One drawing. Places are in pixels from the upper left corner."""

    def __init__(self, width: float, height: float, title: str) -> None:
        """`title` is what a screen reader says instead of the drawing."""
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def svg(self) -> str:
        """The whole as the text of an SVG file."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}"'
        ground = f'<rect class="ground" x=".5" y=".5" width="{self.width - 1:g}" height="{self.height - 1:g}" rx="10"/>'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(self.title)}</title>'
        return "\n".join([head, f"<style>{STYLE}</style>", ground, *self.parts, "</svg>\n"])

    def box(
        self, x: float, y: float, width: float, height: float, text: str = "", colour: str = "blue", style: str = ""
    ) -> Box:
        """A rounded box with lines of text in its middle; `style` are more classes of the text."""
        box = self._rectangle(x, y, width, height, colour, round_corners=7)
        if text:
            self.text(*box.centre, text, style=style)
        return box

    def _rectangle(self, x: float, y: float, width: float, height: float, colour: str, round_corners: float = 0) -> Box:
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_corners:g}"'
        self.parts.append(f'<rect class="line {colour} {colour}-tint" {place}/>')
        return Box(x, y, width, height)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", colour: str = "ink", style: str = "") -> None:
        """Lines of text around height `y`; `x_i` and `x_{10}` get a subscript, `x^2` a superscript."""
        lines = text.split("\n")
        step = 15 if "small" in style else 18
        for number, line in enumerate(lines):
            height = y + (number - (len(lines) - 1) / 2) * step + 4.8
            look = f'class="{colour}-fill {style}" text-anchor="{anchor}"'
            self.parts.append(f'<text {look} x="{x:g}" y="{height:g}">{_scripts(line)}</text>')

    def line(self, points: Sequence[Point], colour: str = "ink", style: str = "") -> None:
        """A broken line."""
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="line {colour} {style}" d="{path}"/>')

    def arrow(self, *points: Point, colour: str = "ink", style: str = "") -> None:
        """A broken line with a head at its end."""
        (ax, ay), (bx, by) = points[-2:]
        length = hypot(bx - ax, by - ay)
        dx, dy = (bx - ax) / length, (by - ay) / length
        self.line([*points[:-1], (bx - 7 * dx, by - 7 * dy)], colour, style)
        corners = [
            (bx, by),
            (bx - 9 * dx - 4.5 * dy, by - 9 * dy + 4.5 * dx),
            (bx - 9 * dx + 4.5 * dy, by - 9 * dy - 4.5 * dx),
        ]
        self.polygon(corners, colour, filled=True)

    def polygon(self, points: Sequence[Point], colour: str, filled: bool = False) -> None:
        """A closed shape: an outline around a tint, or filled with the colour of lines."""
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        look = f"{colour}-fill" if filled else f"line {colour} {colour}-tint"
        self.parts.append(f'<polygon class="{look}" points="{corners}"/>')

    def circle(self, x: float, y: float, radius: float, colour: str = "blue", filled: bool = False) -> None:
        """A circle: an outline around a tint, or filled with the colour of lines."""
        look = f"{colour}-fill" if filled else f"line {colour} {colour}-tint"
        self.parts.append(f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>')

    def query(self, x: float, y: float) -> None:
        """The mark of a query: a triangle."""
        self.polygon([(x, y - 9), (x + 8, y + 6), (x - 8, y + 6)], "purple", filled=True)

    def plus(self, x: float, y: float, radius: float = 10) -> Box:
        """A sum."""
        self.circle(x, y, radius, "ink")
        self.line([(x - radius / 2, y), (x + radius / 2, y)])
        self.line([(x, y - radius / 2), (x, y + radius / 2)])
        return Box(x - radius, y - radius, 2 * radius, 2 * radius)

    def cells(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        values: Sequence[Sequence[str]],
        colours: np.ndarray | str,
    ) -> Box:
        """A table of cells (R, C) of `width` x `height` each, with a text and a colour a cell."""
        for row, texts in enumerate(values):
            for column, text in enumerate(texts):
                colour = colours if isinstance(colours, str) else colours[row][column]
                cell = self._rectangle(x + column * width, y + row * height, width, height, colour)
                if text:
                    self.text(*cell.centre, text, style="small" if height < 30 else "")
        return Box(x, y, width * len(values[0]), height * len(values))

    def photo(self, x: float, y: float, width: float, height: float) -> Box:
        """A photo: a hill, a sky, a sun, and somebody with four legs."""
        ground = y + 0.62 * height
        box = self.box(x, y, width, height, colour="blue")
        self.circle(x + 0.78 * width, y + 0.24 * height, 0.09 * height, "orange")
        hill = [(x + 3, y + height - 3), (x + 3, ground), (x + 0.35 * width, ground - 0.1 * height)]
        self.polygon([*hill, (x + width - 3, ground + 0.05 * height), (x + width - 3, y + height - 3)], "green")
        u, left, feet = height / 100, x + 0.3 * width, y + 0.84 * height  # a dog, 40 u long
        self.polygon(
            [(left + dx * u, feet + dy * u) for dx, dy in (
                (0, 0), (0, -22), (-7, -32), (-4, -34), (3, -27), (26, -27), (29, -38), (34, -36), (40, -34), (40, -29),
                (33, -26), (31, -18), (31, 0), (27, 0), (26, -12), (5, -12), (4, 0),
            )], "ink", filled=True,
        )  # fmt: skip
        return box


def _scripts(text: str) -> str:
    """`x_i` with a subscript and `x^2` with a superscript, as SVG."""
    parts = re.split(r"([_^])(\{[^}]*\}|[A-Za-z0-9′+−])", text)
    written = escape(parts[0])
    for mark, script, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        shift = 4 if mark == "_" else -5
        written += f'<tspan dy="{shift}" font-size="72%">{escape(script.strip("{}"))}</tspan>'
        written += f'<tspan dy="{-shift}">{escape(rest) or "&#8203;"}</tspan>'
    return written
