"""What a torture reports: rows of the table in docs/reliability.md, kept as JSON in outputs/torture/."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.environment import project_root
from helpers.files import read_as, write_json


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


class Paused(Exception):
    """The time that was given is over; the same command with --resume goes on."""


def pieces(name: str) -> Path:
    """Where a torture keeps what it has done of itself."""
    return folder() / "pieces" / name


def piece(torture: str, name: str, play: Callable[[], list[Row]], end: float = math.inf) -> list[Row]:
    """The rows of one piece of a torture: those that were kept, or `play()`, if `time.monotonic` is not past `end`.

    Raises:
        Paused: it is.
    """
    kept = pieces(torture) / f"{name}.json"
    if not kept.exists():
        if time.monotonic() > end:
            raise Paused
        write_json(kept, [asdict(row) for row in play()])
    return read_as(list[Row], kept, "make torture")


def save(name: str, rows: list[Row]) -> None:
    """Write the rows of one torture to outputs/torture/<name>.json and print them."""
    contents = [asdict(row) | {"command": f"python tests/torture {row.command}"} for row in rows]
    write_json(folder() / f"{name}.json", contents)
    for row in rows:
        print(f"{'ok ' if row.ok else 'BAD'}  {row.test} ({row.count}): {row.outcome}", flush=True)
