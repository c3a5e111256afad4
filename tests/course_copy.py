"""A copy of the course in a folder of its own, as after a fresh clone, with one notebook pointed at a tiny data set."""

import re
import shutil
from pathlib import Path

import nbformat

from helpers.environment import project_root


def copy_course(folder: Path, notebook: str, **parameters: object) -> Path:
    """Copy `helpers` and `notebook` below `folder` and set its parameters as a user would, in their cell; its path."""
    shutil.copytree(project_root() / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    content = nbformat.read(project_root() / "notebooks" / f"{notebook}.ipynb", as_version=4)
    cell = next(cell for cell in content.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source = "\n".join([cell.source, *(f"{name} = {value!r}" for name, value in parameters.items())])
    path = folder / "notebooks" / f"{notebook}.ipynb"
    path.parent.mkdir()
    nbformat.write(content, path)
    return path


EXERCISE = re.compile(
    r"^\*\*(?P<number>\d)\. (?P<level>Easy|Medium|Harder)\.\*\* .+?\n\n"
    r"<details><summary>Solution</summary>\n\n(?P<solution>.+?)\n</details>$",
    re.DOTALL | re.MULTILINE,
)


def solutions(notebook: Path) -> list[str]:
    """The Python code of each exercise's folded solution, in their order; the one format that all notebooks share."""
    content = nbformat.read(notebook, as_version=4)
    (exercises,) = (cell.source for cell in content.cells if "## Exercises" in cell.source)
    found = list(EXERCISE.finditer(exercises))
    assert [int(one["number"]) for one in found] == list(range(1, exercises.count("<details>") + 1)), notebook.name
    return [
        "\n".join(re.findall(r"^```python\n(.*?)^```$", one["solution"], re.DOTALL | re.MULTILINE)) for one in found
    ]


def errors_and_unrun(notebook: Path) -> tuple[list[str], int]:
    """What went wrong in the cells of a notebook file, and how many of its code cells have not run."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code" and cell.source]
    outputs = [output for cell in cells for output in cell.outputs]
    errors = [f"{one.ename}: {one.evalue}" for one in outputs if one.output_type == "error"]
    return errors, sum(cell.execution_count is None for cell in cells)
