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


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_are_committed_without_results(page: Path) -> None:
    for cell in cells(page, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert "papermill" not in cell["metadata"] and "execution" not in cell["metadata"]
    assert "papermill" not in json.loads(page.read_text(encoding="utf-8"))["metadata"]
