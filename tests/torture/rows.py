"""What a torture reports: rows of the table in docs/reliability.md, kept as JSON in outputs/torture/."""

from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.environment import project_root
from helpers.files import write_json


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    test: str
    count: int
    outcome: str
    command: str  # what runs it again, behind `python tests/torture`
    ok: bool


def folder() -> Path:
    return project_root() / "outputs" / "torture"


def save(name: str, rows: list[Row]) -> None:
    """Write the rows of one torture to outputs/torture/<name>.json and print them."""
    contents = [asdict(row) | {"command": f"python tests/torture {row.command}"} for row in rows]
    write_json(folder() / f"{name}.json", contents)
    for row in rows:
        print(f"{'ok ' if row.ok else 'BAD'}  {row.test} ({row.count}): {row.outcome}", flush=True)
