"""The book: a small one, made as the large one is, its links, and its pages in a real browser."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from docs.book import build
from docs.book.build import beginning, make_book
from docs.book.links import check_site
from helpers.chain.freshness import Stage
from helpers.environment import project_root
from helpers.files import InputError

PROSE = """# {title}

**What you will learn**
- to read a small book.

See the [glossary](../docs/glossary.md), [the next](02_features.ipynb#a-part) and [a module](../helpers/files.py).
"""
FORMULA = "## A part\n\nWith $d$ numbers:\n\n$$\\frac{1}{d} \\sum_i x_i$$\n\nand the word zebrafinch."
FULL = "## Full\n\n" + "\n".join(f"- {number} to fill a line, and then some more words of it" for number in range(9))
TABLE = "| a | b |\n|---|---|\n" + "| a cell | another |\n" * 5
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def cell(kind: str, identity: str, source: str, *outputs: dict[str, Any], tags: tuple[str, ...] = ()) -> dict[str, Any]:
    made = {"cell_type": kind, "id": identity, "metadata": {"tags": list(tags)} if tags else {}, "source": [source]}
    return made | ({"outputs": list(outputs), "execution_count": 3} if kind == "code" else {})


def write_notebook(path: Path, *cells: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"language_info": {"name": "python"}}
    path.write_text(
        json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
    )


def printing(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course of two lessons with a finished run, of which one cell has changed since."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copy(project_root() / "pyproject.toml", folder)
    shutil.copytree(project_root() / "notebooks" / "images", folder / "notebooks" / "images")
    (folder / "README.md").write_text("# The toolkit\n\n## Your own album\n\nMade by [files](helpers/files.py).\n")
    (folder / "helpers").mkdir()
    (folder / "helpers" / "files.py").touch()
    (folder / "docs").mkdir()
    (folder / "docs" / "glossary.md").write_text("# Glossary\n\n[first](../notebooks/01_download.ipynb)\n")
    (folder / "docs" / "reliability.md").write_text("# Reliability\n")
    picture = {"output_type": "display_data", "data": {"image/png": PIXEL, "text/plain": "figure"}, "metadata": {}}
    bar = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}, "metadata": {}}
    source = {"text/html": '<style>.k {}</style><div class="highlight"><b>def</b> f(x):\n    return x &lt; 2</div>'}
    helper = {"output_type": "display_data", "data": source | {"text/plain": "object"}, "metadata": {}}
    for name, title in (("01_download", "01 · First"), ("02_features", "02 · Second")):
        cells = [
            cell("markdown", "title", PROSE.format(title=title)),
            cell("markdown", "formula", FORMULA, tags=("slide",)),
            cell(
                "code",
                "prints",
                "print(6 * 7)",
                printing(f"forty-two in {folder / 'outputs' / 'sample'}\n"),
                bar,
                tags=("slide",),
            ),
            cell("markdown", "full", FULL, tags=("slide",)),
            cell("code", "draws", "draw()", picture, helper, tags=("slide",)),
            cell("markdown", "more", "It goes on with a table:\n\n" + TABLE, tags=("slide",)),
            cell("code", "draws-more", "draw()", picture, tags=("slide",)),
            cell("markdown", "last", "## Summary\n\n**Read on:** Somebody (2001), *A Title*. Next: nothing."),
        ]
        write_notebook(folder / "outputs" / "sample" / "notebooks" / f"{name}.ipynb", *cells)
        write_notebook(folder / "notebooks" / f"{name}.ipynb", *cells)
    path = folder / "notebooks" / "02_features.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("print(6 * 7)", "print(6 * 8)"), encoding="utf-8")
    return folder


def make(course: Path) -> list[str]:
    stages = [
        Stage(course / "notebooks" / "01_download.ipynb", (), "dataset", 61),
        Stage(course / "notebooks" / "02_features.ipynb", ("01",), "features"),
    ]
    return list(make_book(course, course / "outputs" / "sample", course / "book", stages))


@pytest.fixture(scope="module")
def site(course: Path) -> Path:
    said = make(course)
    assert said[0] == "02_features: 1 cells have no results, since they changed or have not run."
    assert said[-1].startswith("2 links lead out")
    return course / "book" / "site"


def test_a_page_shows_the_notebook_as_it_is_with_the_results_of_cells_that_have_not_changed(
    site: Path, course: Path
) -> None:
    first, second = (
        (site / "notebooks" / f"{name}.html").read_text(encoding="utf-8") for name in ("01_download", "02_features")
    )
    assert "forty-two" in first and "forty-two" not in second  # that cell says something else now
    assert str(Path("outputs", "sample")) in first and str(course) not in first  # wherever the maker has the course
    assert "<math" in first and "MathJax" not in first
    assert "<style>.k {}" not in first and '<span class="o">&lt;</span>' in first  # coloured by the book's own theme
    assert "/blob/main/helpers/files.py" in first and "widget-view" not in first
    assert "Cells without results (1)" in second and "Cells without results" not in first


def test_teachers_find_times_needs_short_versions_slides_and_references(site: Path) -> None:
    teachers = (site / "teachers.html").read_text(encoding="utf-8")
    assert "1:01" in teachers and "slides/02_features.html" in teachers and "five_minutes/02_features.html" in teachers
    for lesson in sorted((project_root() / "notebooks").glob("[0-9]*.ipynb")):
        questions = teachers.split(f"<h3>{lesson.stem.split('_')[0]} ·")[1].split("<h3>")[0]
        assert questions.count("<summary>Answer</summary>") == 3, lesson.stem
    short = (site / "five_minutes" / "01_download.html").read_text(encoding="utf-8")
    assert "forty-two" in short and "print(" not in short and "Summary" not in short
    assert "<h1>01 in five minutes · First" in short  # told apart from the lesson, in a search too
    for page, way in (
        ("five_minutes", "../notebooks/"),
        ("notebooks", "../five_minutes/"),
        ("notebooks", "../slides/"),
    ):
        assert f'href="{way}01_download.html"' in (site / page / "01_download.html").read_text(encoding="utf-8")
    assert "Somebody (2001)" in (site / "references.html").read_text(encoding="utf-8")


def test_links_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">1</a><a href="b.html#there">2</a><a href="b%20c.html">3</a><a href="sub/">4</a>'
        '<a href="#gone">5</a><a href="b.html#gone">6</a><a href="gone.html">7</a>'
        '<a href="https://example.org/x">8</a><script src="https://example.org/y.js"></script>'
        '<img src="data:image/png;base64,AA"><link rel="canonical" href="https://example.org/z">'
    )
    (tmp_path / "b.html").write_text('<a name="there">')
    (tmp_path / "b c.html").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("")
    problems, outside = check_site(tmp_path)
    assert problems == [
        "a.html links to #gone, and there is no such place in it",
        "a.html links to b.html#gone, and there is no such place in it",
        "a.html links to gone.html, and there is no such file",
        "a.html loads https://example.org/y.js from a network",
    ]
    assert outside == [f"https://example.org/{name}" for name in ("x", "y.js", "z")]


def test_a_beginning_keeps_what_its_last_sentence_announces() -> None:
    text = "One two three.\n\nThe formula:\n\n```text\na = b\n```\n\nMuch more here.\n\n## Next\n\nNot this."
    assert beginning(text, 6).endswith("a = b\n```")
    assert beginning(text, 3) == "One two three."
    assert beginning(text, 99).endswith("Much more here.")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_in_a_browser_load_nothing_fit_the_screen_and_can_be_searched(
    site: Path, browser: Browser, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    for name in ("index", "notebooks/01_download", "teachers", "five_minutes/02_features", "README"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.goto((site / "search.html").as_uri() + "?q=zebrafinch")
    page.get_by_role("link", name="01 · First").first.wait_for()
    page.get_by_text("Search finished").wait_for()
    page.goto((site / "slides" / "01_download.html").as_uri())
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="A part").wait_for()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper)[:3])) < 60) == (scheme == "dark")  # drawings turn with the system
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_slides_show_all_of_what_is_on_them(site: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 960, "height": 700})
    page.goto((site / "slides" / "01_download.html").as_uri())
    seen = []
    for _ in range(page.evaluate("Reveal.getTotalSlides()")):
        heading, overflow, pictures = page.evaluate(
            """() => { const slide = Reveal.getCurrentSlide();
            return [slide.querySelector("h1, h2").innerText, slide.scrollHeight - Reveal.getConfig().height,
                    [...slide.querySelectorAll("img")].map(image => image.getBoundingClientRect().height)] }"""
        )
        assert overflow <= 0 and all(height >= 150 for height in pictures), (heading, overflow, pictures)
        seen.append((heading, len(pictures)))
        page.keyboard.press("Space")
    # What follows a picture below the same heading has a slide of its own.
    assert seen == [("01 in five minutes · First", 0), ("A part", 0), ("Full", 1), ("Full", 1)]
    page.close()


def test_one_command_after_a_change_the_book_shows_it_and_a_link_that_leads_nowhere_stops_it(
    site: Path, course: Path
) -> None:
    notebook, readme = course / "notebooks" / "01_download.ipynb", course / "README.md"
    notebook.write_text(notebook.read_text(encoding="utf-8").replace("zebrafinch", "hummingbird"), encoding="utf-8")
    link = '\n<a href="notebooks/01_download.html#no-such-place">here</a>\n'
    readme.write_text(readme.read_text(encoding="utf-8") + link, encoding="utf-8")
    with pytest.raises(InputError, match=r"README\.html links to notebooks/01_download\.html#no-such-place"):
        make(course)
    page = (site / "notebooks" / "01_download.html").read_text(encoding="utf-8")
    assert "hummingbird" in page and "zebrafinch" not in page and "forty-two" in page
    assert "hummingbird" in (site / "slides" / "01_download.html").read_text(encoding="utf-8")


def test_without_executed_notebooks_or_what_makes_it_there_is_no_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("helpers.profiles.project_root", lambda: tmp_path)
    assert build.main(["--profile", "nope"]) == 2
    assert capsys.readouterr().err.startswith("There is no profile 'nope'; choose one of: ")
    with monkeypatch.context() as lean:
        lean.setitem(sys.modules, "sphinx", None)
        assert build.main(["--profile", "flickr8k"]) == 2
    assert capsys.readouterr().err.startswith(f"What makes the book is not installed in {sys.executable}; `make book` ")
    assert build.main(["--profile", "flickr8k"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("There are no executed notebooks in ") and len(said.splitlines()) == 1
    assert "run `python run_all.py --profile flickr8k` first." in said and not list(tmp_path.iterdir())


def test_paths_of_the_machine_that_ran_a_lesson_are_not_shown(tmp_path: Path) -> None:
    project, big = tmp_path / "course", tmp_path / "big"
    big.mkdir()
    project.mkdir()
    (project / "outputs").symlink_to(big)
    executed = project / "outputs" / "sample" / "notebooks" / "01_download.ipynb"
    write_notebook(project / "notebooks" / executed.name, cell("code", "prints", "print(7 // 2)"))

    def said(text: str, ran: str) -> str:
        write_notebook(executed, cell("code", "prints", "print(7 // 2)", printing(text)))
        content = json.loads(executed.read_text(encoding="utf-8"))
        content["metadata"]["papermill"] = {"input_path": ran, "output_path": str(big / "x" / "notebooks" / "a.ipynb")}
        executed.write_text(json.dumps(content), encoding="utf-8")
        (shown,) = build.with_results(project / "notebooks" / executed.name, executed)[0]["cells"]
        return shown["outputs"][0]["text"][0]

    here = str(project / "notebooks" / executed.name)
    assert said(f"in {project / 'outputs' / 'sample'}", here) == f"in {Path('outputs', 'sample')}"
    assert said("in /home/ann/course/data; https://a.b/c", "/home/ann/course/notebooks/01_download.ipynb") == (
        "in data; https://a.b/c"
    )
    assert said("in C:\\course\\data", "C:\\course\\notebooks\\01_download.ipynb") == "in data"
    assert said(f"in {big / 'x' / 'dataset'}", "") == f"in {Path('big', 'x', 'dataset')}"
    alike = "helpers/data/readers; https://a.org/data/set; https://data/set"
    assert said(f"in /data/x.png, file:///data/y; {alike}", "/data/notebooks/a.ipynb") == f"in x.png, file://y; {alike}"
    for place in ("/notebooks/01_download.ipynb", "C:\\notebooks\\a.ipynb", "notebooks/a.ipynb", "a.ipynb", ""):
        assert said("in C:\\data or /data", place) == "in C:\\data or /data"
