"""How long a notebook takes before it does anything: the time of its imports, package by package."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from helpers.chain.freshness import code_cells
from helpers.environment import project_root
from helpers.files import InputError

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)")


def imports_of(notebook: Path) -> str:
    """The import statements at the top level of a notebook's cells, as a program of its own."""
    found = [
        node
        for source, _ in code_cells(notebook)
        for node in ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source)).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return "\n".join(map(ast.unparse, found))


def import_seconds(program: str) -> dict[str, float]:
    """Seconds that the imports of `program` take in a fresh Python, by package, the slowest first.

    A package counts what it does itself, not the packages that it imports; a helper of this project counts as
    `helpers`. The figures include what it takes to measure them, some microseconds a module.

    Raises:
        InputError: the program fails.
    """
    command = [sys.executable, "-X", "importtime", "-c", program]
    run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True)
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or ["no details"])[-1]
        raise InputError(f"The imports cannot be timed, since they fail: {reason}.")
    seconds: Counter[str] = Counter()
    for microseconds, module in _LINE.findall(run.stderr):
        seconds[module.split(".")[0]] += int(microseconds) / 1e6
    return dict(seconds.most_common())
