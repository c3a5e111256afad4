"""The table of docs/reliability.md, from what the tortures left in outputs/torture/.

python tests/torture/report.py
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[number]) for number in (2, 1)]

from torture.rows import Row, folder  # noqa: E402 - the line above makes it findable

from helpers.environment import project_root  # noqa: E402
from helpers.files import atomic_path, read_as  # noqa: E402
from helpers.graphs import processor  # noqa: E402

BEGIN, END = "<!-- what make torture measured -->", "<!-- end -->"


def table(rows: list[Row]) -> str:
    """The rows as Markdown, what failed first."""

    def line(*cells: str) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    ordered = sorted(rows, key=lambda row: row.ok)
    body = [
        line(row.test, f"{row.count:,}", ("" if row.ok else "**bad:** ") + row.outcome, f"`{row.command}`")
        for row in ordered
    ]
    return "\n".join([line("test", "count", "outcome", "command"), "|---|---|---|---|", *body])


def write(page: Path, results: Path) -> None:
    """Put the rows of all files in `results` between the marks in `page`."""
    files = sorted(results.glob("*.json"))
    rows = [row for file in files for row in read_as(list[Row], file, "make torture")]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} has lost the marks {BEGIN} and {END}.")
    conditions = f"Measured on {processor()}, Python {sys.version.split()[0]}, {sys.platform}."
    with atomic_path(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{conditions}\n\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write(project_root() / "docs" / "reliability.md", folder())
