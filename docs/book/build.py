"""Makes the book: the pages of a finished run, as a site that needs no network.

    python -m docs.book.build --profile sample        make book

A page of a lesson is the notebook as it is now, with the results that a run left in outputs/<profile>/notebooks: a
changed sentence shows without a run, and results belong to the very cell that made them. Cells tagged `slide` are the
five-minute version of a lesson, and its slides.
"""

import base64
import io
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from docs.book.links import check_site
from helpers.chain.freshness import Stage, load_records
from helpers.chain.report import duration
from helpers.environment import pasted, project_root
from helpers.files import InputError, Options, exit_status, read_json
from helpers.profiles import get_profile

HERE = Path(__file__).resolve().parent
LARGE, WIDEST = 200_000, 1400  # a PNG of more bytes becomes a JPEG; pixels
WORDS_A_MINUTE = 120  # of a text that is studied
ON_A_SLIDE = 70  # words
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
# The folder of a notebook's project, of whatever system, with what ends it; it is no whole disk.
PROJECT = re.compile(r"((?:/|\\|\w:).*[^/\\:][/\\])notebooks[/\\][^/\\]+$")
# What holds the folder of all runs, from the path of an executed lesson: holder/outputs/run/notebooks/lesson.ipynb.
HOLDER = re.compile(r"((?:/|\\|\w:).*[^/\\:][/\\])(?:[^/\\]+[/\\]){2}notebooks[/\\][^/\\]+$")
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
BREAK = "+++"  # between blocks of MyST, which a page does not show
NEW_SLIDE = "```{revealjs-break}\n```"
Cell = dict[str, Any]


# --- Pages ---


def text_of(cell: Cell) -> str:
    return "".join(cell["source"])


def shown(output: dict[str, Any]) -> dict[str, Any] | None:
    """An output as the book shows it: no progress bars, which have ended, and no photos larger than a page."""
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data or output.get("name") == "stderr":
        return None
    page = "".join(data.get("text/html", ""))
    if 'class="highlight"' in page:  # the source of a helper, in colours for a light page
        source = unescape(re.sub(r"(?s)<style.*?</style>|<[^>]+>", "", page)).strip("\n")
        return output | {"data": {"text/markdown": f"```python\n{source}\n```"}}
    if len(data.get("image/png", "")) * 3 / 4 > LARGE:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        picture.thumbnail((WIDEST, 10 * WIDEST))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88, optimize=True)
        data = {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), "text/plain": data.get("text/plain", "")}
        return output | {"data": data, "metadata": {}}
    return output


def without(root: re.Pattern[str], said: Any) -> Any:
    """What a cell has said, with its paths from the `root` on."""
    if isinstance(said, str):
        return root.sub("", said)
    if isinstance(said, list):
        return [without(root, part) for part in said]
    return {name: without(root, part) for name, part in said.items()} if isinstance(said, dict) else said


def with_results(notebook: Path, executed: Path) -> tuple[dict[str, Any], int]:
    """The notebook with the outputs of the cells that are as `executed` ran them, and how many are not.

    Imports and the cell that fetches the course are folded. Paths in results are given from the project on: where that
    is on the machine of the book's maker, or was on the one that ran it, concerns nobody.
    """
    content = read_json(notebook)
    ran = {}
    if executed.exists():
        finished = read_json(executed)
        noted = finished["metadata"].get("papermill", {})  # where it ran
        found = [PROJECT.match(path) for path in (str(notebook), noted.get("input_path", ""))]
        found += [HOLDER.match(path) for path in (str(executed), noted.get("output_path", ""))]
        roots = sorted({match[1] for match in found if match}, key=len, reverse=True)  # one may be within the other
        # What is alike within a path or an address stays.
        root = re.compile(rf"(?<![\w.:-])(?<!:/)(?:{'|'.join(map(re.escape, roots))})")
        ran = {cell.get("id"): cell for cell in finished["cells"] if cell["cell_type"] == "code"}
        for cell in ran.values():
            cell["outputs"] = without(root, cell["outputs"])
    lacking = 0
    for cell in content["cells"]:
        if cell["cell_type"] != "code" or not text_of(cell).strip():
            continue
        before = ran.get(cell.get("id"))
        cell |= {"outputs": [], "execution_count": None}
        if before and text_of(before) == text_of(cell):
            cell["outputs"] = [output for output in map(shown, before["outputs"]) if output]
            cell["execution_count"] = before["execution_count"]
        else:
            lacking += 1
        if cell["id"] == "open-checkout" or "chosen_profile(globals())" in text_of(cell):
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", ()), "hide-input"]
    return content, lacking


def leading_to(text: str, place: Path, project: Path, source: Path, address: str) -> str:
    """Markdown with links to files that the book has not led to the repository at `address`."""

    def lead(match: re.Match) -> str:
        target, _, anchor = match[0].partition("#")
        if not target or "://" in target or (source / place.parent / target).exists():
            return match[0]
        there = (project / place.parent / target).resolve()
        if not there.is_relative_to(project) or not there.exists():
            return match[0]  # the check of links will say so
        return f"{address}/{there.relative_to(project).as_posix()}" + (f"#{anchor}" if anchor else "")

    return LINK.sub(lead, text)


def guide(name: str, lacking: int) -> Cell:
    """What stands below a lesson's title: the way to its short versions, and how many cells have no results."""
    text = f'**In a hurry:** [five minutes](../five_minutes/{name}.md), <a href="../slides/{name}.html">slides</a>.\n'
    if lacking:
        text += f"\n:::{{note}}\nCells without results ({lacking}) have not run, or changed since.\n:::\n"
    return {"cell_type": "markdown", "id": "book-guide", "metadata": {}, "source": text}


# --- The five-minute version ---


def beginning(text: str, words: int = ON_A_SLIDE) -> str:
    """The first blocks below the first heading, as far as `words` go and no heading or code comes; at least one."""
    blocks: list[str] = []
    for block in re.split(r"\n\n+", text.strip()):
        announced = bool(blocks) and blocks[-1].endswith(":")  # a formula or a list without which it makes no sense
        full = sum(len(block.split()) for block in blocks) + len(block.split()) > words and not announced
        if blocks and (block.startswith(("#", "<details")) or (block.startswith("```") and not announced) or full):
            break
        blocks.append(block)
    return "\n\n".join(blocks)


def by_itself(text: str, notebook: Path, folder: Path) -> str:
    """Markdown of a notebook for a page in `folder`: pictures are brought there, and of other links the words stay."""

    def bring(match: re.Match) -> str:
        shutil.copy(notebook.parent / match["target"], folder)
        return f"![{match['words']}]({Path(match['target']).name})"

    text = re.sub(r"!\[(?P<words>[^]]*)\]\((?P<target>images/[^)]+)\)", bring, text)
    return re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:)[^)]+\)", r"\1", text)


def printed(cell: Cell, lines: int = 12) -> str:
    """What a cell printed, as far as it fits."""
    said = "".join("".join(output.get("text", "")) for output in cell["outputs"]).rstrip().splitlines()
    return "\n".join(["```text", *said[:lines], *["…"] * (len(said) > lines), "```"]) if said else ""


def five_minutes(page: dict[str, Any], notebook: Path, folder: Path) -> str:
    """A lesson's cells tagged `slide` as a page: how each begins, and of code its picture, or else what it printed.

    A part that goes on after that has a `BREAK` before what follows, which is another slide.
    """
    number, _, title = HEADING.search(text_of(page["cells"][0]))[1].partition(" · ")
    whole = f'<a href="../notebooks/{notebook.stem}.html">The whole lesson</a>'
    parts: list[str] = []
    after_code = False
    for position, cell in enumerate(page["cells"]):
        if "slide" not in cell["metadata"].get("tags", ()):
            continue
        if cell["cell_type"] == "markdown":
            heading = HEADING.search(text_of(cell))
            text = text_of(cell)[heading.end() :] if heading else text_of(cell)
            parts += [f"## {heading[1]}"] if heading else [BREAK] if after_code else []
            parts.append(beginning(text))
            after_code = False
            continue
        after_code = True
        found = (output.get("data", {}) for output in cell["outputs"])
        pictures = [(kind, data[kind]) for data in found for kind in ("image/png", "image/jpeg") if kind in data]
        if pictures:
            kind, content = pictures[0]
            path = folder / f"{notebook.stem}_{position}.{kind.removeprefix('image/')}"
            path.write_bytes(base64.b64decode(content))
            parts.append(f"![What the code of this part draws]({path.name})")
        else:
            parts.append(printed(cell))
    text = by_itself("\n\n".join(parts), notebook, folder)
    return f"# {number} in five minutes · {title}\n\n{whole}\n\n{text}\n"


# --- For teachers ---


def lesson_table(pages: dict[str, dict[str, Any]], stages: Sequence[Stage], records: dict[str, Any]) -> str:
    """One row a lesson: its needs, and the minutes of reading and of running it."""
    rows = ["| lesson | needs | to read | to run | short |", "|---|---|---|---|---|"]
    by_name = {stage.name: stage for stage in stages}
    for name, page in pages.items():
        words = sum(len(text_of(cell).split()) for cell in page["cells"] if cell["cell_type"] == "markdown")
        stage = by_name.get(name)  # none: it is not part of a run
        seconds = records.get(stage.short, {}).get("seconds", stage.seconds) if stage else None
        rows.append(
            f"| [{name}](notebooks/{name}.ipynb) | {', '.join(stage.needs) if stage and stage.needs else '–'} "
            f"| {round(words / WORDS_A_MINUTE)} min | {'–' if seconds is None else duration(seconds)} "
            f'| [five minutes](five_minutes/{name}.md), <a href="slides/{name}.html">slides</a> |'
        )
    return "\n".join(rows) + "\n"


def references(pages: dict[str, dict[str, Any]]) -> str:
    """What the lessons name under "Read on", each once, with the lessons that do."""
    named: dict[str, list[str]] = {}
    for name, page in pages.items():
        for found in re.findall(r"\*\*Read on:\*\*(.+)", text_of(page["cells"][-1]), re.DOTALL):
            whole = re.sub(r"\s+", " ", found.split("Next:")[0]).strip().rstrip(".")
            for work in whole.split("; "):
                named.setdefault(re.sub(r"^and ", "", work.strip()), []).append(name)
    lines = [
        f"- {work[0].upper()}{work[1:]}. "
        + ", ".join(f"[{name.split('_')[0]}](notebooks/{name}.ipynb)" for name in names)
        for work, names in sorted(named.items(), key=lambda item: item[0].lower())
    ]
    return "# References\n\nWhat the lessons name to read on, and where.\n\n" + "\n".join(lines) + "\n"


# --- All of it ---


def assemble(project: Path, run: Path, source: Path, stages: Sequence[Stage]) -> list[str]:
    """Put the pages of `project`, with the results of `run`, together in `source`; what is lacking, in sentences."""
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("parts", "five_minutes", "notebooks"):
        (source / folder).mkdir(parents=True)
    course = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]
    address = f"{course['repository']}/blob/{course['version']}"
    shutil.copytree(project / "notebooks" / "images", source / "notebooks" / "images")
    shutil.copytree(project / "docs", source / "docs", ignore=shutil.ignore_patterns("book", "ci", "drawings"))
    for page in [project / "README.md", *HERE.glob("*.md")]:
        shutil.copy(page, source)
    notebooks = sorted((project / "notebooks").glob("[0-9]*.ipynb"))
    for notebook in notebooks:
        (source / "notebooks" / notebook.name).touch()  # links of the others lead to it
    pages, notices = {}, []
    for notebook in notebooks:
        page, lacking = with_results(notebook, run / "notebooks" / notebook.name)
        if lacking:
            notices.append(f"{notebook.stem}: {lacking} cells have no results, since they changed or have not run.")
        pages[notebook.stem] = page
        place = Path("notebooks", notebook.name)
        for cell in page["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = leading_to(text_of(cell), place, project, source, address)
        short = five_minutes(page, notebook, source / "five_minutes")
        (source / "five_minutes" / f"{notebook.stem}.md").write_text(short, encoding="utf-8")
        content = page | {"cells": [page["cells"][0], guide(notebook.stem, lacking), *page["cells"][1:]]}
        (source / place).write_text(json.dumps(content), encoding="utf-8")
    for path in [source / "README.md", *(source / "docs").rglob("*.md")]:
        text = leading_to(path.read_text(encoding="utf-8"), path.relative_to(source), project, source, address)
        path.write_text(text, encoding="utf-8")
    table = lesson_table(pages, stages, load_records(run / "run_state.json"))
    (source / "parts" / "lessons.md").write_text(table, encoding="utf-8")
    (source / "references.md").write_text(references(pages), encoding="utf-8")
    return notices


def sphinx(builder: str, source: Path, site: Path, *options: str) -> None:
    """Run Sphinx; a warning is an error, for it is a page that is not as it was meant."""
    from sphinx.cmd.build import main as sphinx_build

    trees = source.parent / f"trees_{builder}"
    arguments = ["-q", "-W", "--keep-going", "-b", builder, "-c", str(HERE), "-d", str(trees), *options]
    if sphinx_build([*arguments, str(source), str(site)]):
        raise InputError("The book is not as it should be; what Sphinx says of it stands above.")


def make_book(project: Path, run: Path, book: Path, stages: Sequence[Stage]) -> Iterator[str]:
    """Make the site `book`/site; yields what its maker should know."""
    source, site = book / "source", book / "site"
    yield from assemble(project, run, source, stages)
    shutil.rmtree(site, ignore_errors=True)
    sphinx("html", source, site, "-j", "auto")
    slides = book / "slides"
    shutil.copytree(source / "five_minutes", slides, dirs_exist_ok=True)
    for path in slides.glob("*.md"):
        text = path.read_text(encoding="utf-8").replace(f"\n{BREAK}\n", f"\n{NEW_SLIDE}\n")
        path.write_text(text, encoding="utf-8")
    first = min(slides.glob("*.md")).stem
    decks = ("-Dextensions=myst_nb,sphinx_revealjs", "-Dsuppress_warnings=toc.not_included", f"-Droot_doc={first}")
    sphinx("revealjs", slides, site / "slides", *decks)
    problems, outside = check_site(site)
    if problems:
        raise InputError("\n".join(["Links of the book lead nowhere:", *problems]))
    yield f"{len(outside)} links lead out of the book; {book / 'external_links.txt'} lists them."
    (book / "external_links.txt").write_text("\n".join(outside) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Make the book; 2 if there is nothing to make it from, or it is not as it should be."""
    from run_all import STAGES

    parser = Options(
        prog="python -m docs.book.build", description="Make the book from the executed notebooks of a finished run."
    )
    parser.add_argument("--profile", default="sample", help="which run (default: sample)")
    name = parser.parse_args(argv).profile

    def make() -> None:
        if find_spec("sphinx") is None:
            raise InputError(
                f"What makes the book is not installed in {sys.executable}; `make book` installs it in .venv, and "
                "`pip install --require-hashes --no-deps -r requirements-dev.lock` here."
            )
        outputs = get_profile(name).outputs
        if not any((outputs / "notebooks").glob("[0-9]*.ipynb")):
            run = pasted(["python", "run_all.py", "--profile", name])
            raise InputError(f"There are no executed notebooks in {outputs / 'notebooks'}; run `{run}` first.")
        for said in make_book(project_root(), outputs, outputs / "book", STAGES):
            print(said)
        print(f"The book: {outputs / 'book' / 'site' / 'index.html'}")

    return exit_status(make, "begins again")


if __name__ == "__main__":
    sys.exit(main())
