"""Draws docs/wings.svg, the picture of the house in the README: run it after a wing has changed.

Floors come from the contract in pyproject.toml, and what a wing is from the first line of its `__init__.py`.
"""

import ast
import sys
import tomllib
from html import escape
from pathlib import Path
from textwrap import wrap

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.environment import project_root

PICTURE = project_root() / "docs" / "wings.svg"
WIDTH, HEIGHT, LINE, GAP, MARGIN = 880, 50, 18, 7, 12  # of the page, a floor, a further line, between floors, around
STYLE = (
    "text{font-family:ui-sans-serif,system-ui,sans-serif;fill:#1f2328}.name{font-weight:700;font-size:15px}"
    ".line{font-size:12.5px}.room{fill:#eef3f8;stroke:#0072b2}.ground{fill:#f4efe4;stroke:#e69f00}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.room{fill:#16222f}.ground{fill:#2b2416}}"
)


def floors() -> list[list[str]]:
    """The wings of each floor, from the top; the last is the ground floor."""
    contracts = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))
    layers = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    return [layer.replace(":", "|").replace(" ", "").split("|") for layer in layers]


def first_line(wing: str) -> tuple[str, str]:
    """Which notebooks a wing belongs to, or nothing, and what it says it is."""
    file = project_root() / "helpers" / wing / "__init__.py"
    line = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0].replace("`", "")
    name, _, said = line.partition(": ")
    return name.partition("(")[2].rstrip(")"), said[0].upper() + said[1:]


def room(left: float, top: float, width: float, kind: str, name: str, about: str, *said: str) -> str:
    """A box with its name, at the right what it is about, and one line or more; each further makes it LINE higher."""
    height = HEIGHT + (len(said) - 1) * LINE
    lines = "".join(
        f'<text class="line" x="{left + 14:g}" y="{top + 39 + number * LINE:g}">{escape(line)}</text>'
        for number, line in enumerate(said)
    )
    return (
        f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height}" rx="7"/>'
        f'<text class="name" x="{left + 14:g}" y="{top + 21:g}">{escape(name)}</text>'
        f'<text class="line" x="{left + width - 14:g}" y="{top + 21:g}" text-anchor="end">{escape(about)}</text>'
        f"{lines}"
    )


def picture() -> str:
    """The house as SVG."""
    *wings, ground = floors()
    parts: list[str] = []
    for number, names in enumerate(wings):
        width = (WIDTH - 2 * MARGIN - (len(names) - 1) * GAP) / len(names)
        for place, name in enumerate(names):
            left, top = MARGIN + place * (width + GAP), MARGIN + number * (HEIGHT + GAP)
            parts.append(room(left, top, width, "room", f"{name}/", *first_line(name)))
    top = MARGIN + len(wings) * (HEIGHT + GAP)
    said = "Every setting, the process, files and their checksums, OpenVINO graphs, charts:"
    modules = wrap(", ".join(ground), 110)
    parts.append(room(MARGIN, top, WIDTH - 2 * MARGIN, "ground", "the ground floor", "for all", said, *modules))
    height = top + HEIGHT + len(modules) * LINE + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    title = "<title>The wings of helpers, each importing only from those below it</title>"
    return f"{head}{title}\n<style>{STYLE}</style>\n{''.join(parts)}</svg>\n"


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
