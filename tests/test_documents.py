"""The README and the notebooks as documents: links lead somewhere, and every chapter has what a chapter needs."""

import ast
import json
import re
from pathlib import Path

import pytest
from course_copy import solutions

from helpers.environment import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("0*.ipynb"))
PAGES = [*(project_root() / name for name in ("README.md", "data/README.md", "docs/glossary.md")), *NOTEBOOKS]
LINK = re.compile(r"""(?:\]\(|\bsrc=")([^)"\s]+)[)"]""")
FILE = re.compile(r"`((?:[\w.]+/)*\w+\.(?:py|ipynb|json|txt|md))`")


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))


def anchors(text: str) -> set[str]:
    """What `#...` may point to: headings as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_or_a_heading_that_exists(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        other = page if not path else page.parent / path
        assert other.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(prose(other)), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_source_files_that_the_text_names_exist(page: Path) -> None:
    folders = [project_root(), project_root() / "notebooks", project_root() / "helpers", project_root() / "tests"]
    for name in FILE.findall(prose(page)):
        if name.endswith((".py", ".ipynb")):
            assert any((folder / name).exists() for folder in folders), f"{page.name} names {name}"


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_a_chapter_has_goals_a_time_exercises_with_solutions_and_reading(page: Path) -> None:
    text = prose(page)
    assert "What you will learn" in text and "**Time:**" in text and "You end up with" in text
    folded = solutions(page)
    assert len(folded) >= 3 and all(folded)
    for code in folded:
        ast.parse(code)
    assert re.search(r"\(\d{4}\)|, \d{4}", text), "names no paper with its year"


MINUTES = {
    "half a minute": 0.5, "a minute": 1, "a minute and a half": 1.5, "two minutes": 2, "two and a half minutes": 2.5,
    "three minutes": 3, "four minutes": 4, "five minutes": 5, "five and a half minutes": 5.5, "six minutes": 6,
}  # fmt: skip


def test_the_time_that_a_notebook_promises_is_the_one_that_the_readme_has_measured() -> None:
    readme = (project_root() / "README.md").read_text(encoding="utf-8")
    measured = dict(re.findall(r"^\|.+\]\(notebooks/(0\w+)\.ipynb\) \|.+\| (\d+:\d\d) \|$", readme, re.MULTILINE))
    assert len(measured) == 11  # all that `make run` runs
    for name, shown in measured.items():
        text = prose(project_root() / "notebooks" / f"{name}.ipynb")
        (said,) = re.findall(r"\*\*Time:\*\* about (.+?) for the drawn sample", text)
        minutes, seconds = map(int, shown.split(":"))
        assert 0.65 < MINUTES[said] / (minutes + seconds / 60) < 1.5, f"{name} says {said}, the README {shown}"


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_are_committed_without_results(page: Path) -> None:
    for cell in cells(page, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert "papermill" not in cell["metadata"] and "execution" not in cell["metadata"]
    assert "papermill" not in json.loads(page.read_text(encoding="utf-8"))["metadata"]
