"""Executed notebooks as pages: drawings and formulas are inside, and nothing is asked of the network for them."""

import base64
import json
import re
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers.chain.pages import render_notebook
from helpers.environment import project_root
from helpers.files import write_json

MATH = "{http://www.w3.org/1998/Math/MathML}"


def page_of(folder: Path, *markdown: str) -> str:
    cells = [
        {"cell_type": "markdown", "source": text, "metadata": {}, "id": f"cell-{number}"}
        for number, text in enumerate(markdown)
    ]
    copy = folder / "03a_caption_lstm.ipynb"
    write_json(copy, {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    return render_notebook(copy).read_text(encoding="utf-8")


def test_a_drawing_is_brought_to_the_copies_and_into_the_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, "![A tree](images/beam_search.svg)")
    (kind, content) = re.search(r'<img[^>]+src="data:([^;]+);base64,([^"]+)"', page).groups()
    drawing = project_root() / "notebooks" / "images" / "beam_search.svg"
    assert kind == "image/svg+xml" and base64.b64decode(content) == drawing.read_bytes()
    assert 'alt="A tree"' in page
    assert (tmp_path / "images" / "beam_search.svg").read_bytes() == drawing.read_bytes()  # for the copy itself


def test_all_pictures_of_a_lesson_are_inside(tmp_path: Path) -> None:
    for notebook in sorted((project_root() / "notebooks").glob("0*.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        page = page_of(tmp_path, *("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"))
        shown = re.findall(r'<img[^>]+src="([^"]{1,60})', page)
        assert shown and all(source.startswith("data:image/") for source in shown), notebook.name


def test_formulas_become_mathml_and_code_stays_code(tmp_path: Path) -> None:
    page = page_of(tmp_path, "With $d$ numbers\n\n$$\\frac{Q K^\\top}{\\sqrt{d}}$$\n\n```sh\necho $HOME $PATH\n```")
    inline, block = (ElementTree.fromstring(found) for found in re.findall(r"<math.*?</math>", page, re.DOTALL))
    assert "".join(inline.itertext()) == "d" and inline.get("display") == "inline"
    assert block.get("display") == "block" and block.find(f".//{MATH}mfrac/*/{MATH}msqrt") is not None
    assert "$HOME" in re.sub("<[^>]+>", "", page)
    assert "mathjax" not in page.lower()


def test_what_is_printed_breaks_between_words(tmp_path: Path) -> None:
    rules = re.findall(r"\.jp-OutputArea-output pre \{[^}]*?word-break: ([\w-]+)", page_of(tmp_path, "A cell"))
    assert rules[0] == "break-all" and rules[-1] == "normal"  # the last one counts


def test_every_formula_of_the_course_is_understood(tmp_path: Path) -> None:
    notebooks = sorted((project_root() / "notebooks").glob("0*.ipynb"))
    prose = [
        "".join(cell["source"])
        for notebook in notebooks
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    ]
    formulas = re.findall(r"<math.*?</math>", page_of(tmp_path, *(text for text in prose if "$" in text)), re.DOTALL)
    assert len(formulas) >= sum(text.count("$$") // 2 for text in prose) >= 9
    for formula in formulas:
        shown = "".join(ElementTree.fromstring(formula).itertext())
        assert "\\" not in shown and "&" not in shown, shown  # a command that was not known


def test_a_torn_copy_has_no_page(tmp_path: Path) -> None:
    """As a full disk leaves it."""
    copy = tmp_path / "03a_caption_lstm.ipynb"
    copy.write_text('{"cells": [{"cell_type": "mark')
    assert render_notebook(copy) is None


@pytest.mark.parametrize(
    "formula", ["a_b_c", "a_", r"\left(x < 2", r"\begin{matrix}x", r"\begin", r"\text", r"\style\href\rule&\mbox]"]
)
def test_a_formula_that_is_not_understood_stands_as_it_was_written(tmp_path: Path, formula: str) -> None:
    page = page_of(tmp_path, f"Here ${formula}$ and\n\n$$ {formula} $$\n\nwith $d$ numbers")
    assert re.findall("<code>(.*?)</code>", page) == [escape(f"${formula}$"), escape(f"$$ {formula} $$")]
    assert len(re.findall("<math", page)) == 1  # the others are set


@pytest.mark.parametrize("text", ["![]()", "![x](images)", "<img src='notebooks'>", f"![x]({'x' * 300})"])
def test_a_picture_whose_address_is_no_file_leaves_the_page_whole(tmp_path: Path, text: str) -> None:
    assert "And more" in page_of(tmp_path, f"{text}\n\nAnd more")


def test_a_copy_that_lost_an_attached_picture_has_no_page(tmp_path: Path) -> None:
    cell = {"cell_type": "markdown", "source": "![x](attachment:lost.png)", "metadata": {}, "id": "x"}
    copy = tmp_path / "03a_caption_lstm.ipynb"
    write_json(copy, {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert render_notebook(copy) is None
