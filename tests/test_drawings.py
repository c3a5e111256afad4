"""The drawings of the notebooks: as their code makes them, legible in both lights, shown, and true."""

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from docs.drawings.all import DRAWINGS, FOLDER
from docs.drawings.captioners import FOLLOWING, beam_tree
from docs.drawings.course import NEEDS, NOTEBOOKS
from docs.drawings.sheet import DARK, LIGHT
from helpers.captioning.decoding import Rules, beam_search
from helpers.environment import project_root

SVG = "{http://www.w3.org/2000/svg}"


def cells(notebook: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_as_its_code_makes_it(name: str) -> None:
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == DRAWINGS[name]().svg(), "python -m docs.drawings"


def test_every_drawing_is_shown_in_a_notebook_with_words_for_who_cannot_see_it() -> None:
    prose = "\n".join(text for notebook in FOLDER.parent.glob("*.ipynb") for text in cells(notebook))
    shown = {name: words for words, name in re.findall(r"!\[([^]]+)\]\(images/(\w+)\.svg\)", prose)}
    assert shown.keys() == DRAWINGS.keys() == {path.stem for path in FOLDER.glob("*.svg")}
    assert all(len(words) > 60 for words in shown.values())


@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_is_cut_off_and_no_text_runs_out_of_the_sheet(name: str) -> None:
    sheet = DRAWINGS[name]()
    root = ElementTree.fromstring(sheet.svg())
    for text in root.iter(f"{SVG}text"):
        words, x = "".join(text.itertext()), float(text.get("x"))
        # The mean letter is 0.6 of its size, in the widest of the fonts that a browser may take.
        size = {"small": 12, "large": 17}.get(next(iter(set(text.get("class").split()) & {"small", "large"}), ""), 14)
        width = 0.6 * size * len(words)
        left = x - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
        assert left >= 0 and left + width <= sheet.width, words
        assert 8 < float(text.get("y")) < sheet.height - 4, words
    for shape in root.iter():
        for x, y in re.findall(r"([\d.]+)[ ,]([\d.]+)", shape.get("points", "")):
            assert 0 <= float(x) <= sheet.width and 0 <= float(y) <= sheet.height


def test_light_and_dark_have_the_same_colours_and_words_stand_out_on_both() -> None:
    def brightness(colour: str) -> float:
        """Relative luminance, as WCAG 2 defines it."""
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert LIGHT.keys() == DARK.keys()
    for colours, ground in ((LIGHT, "#fbfaf7"), (DARK, "#12161c")):
        for name, (line, tint) in colours.items():
            for text, behind in ((line, ground), (colours["ink"][0], tint)):
                dark, light = sorted((brightness(text), brightness(behind)))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {behind}"  # AA for text


class Table:
    """A captioner whose next word depends on the last one alone, by `FOLLOWING`."""

    words = ("<PAD>", *FOLLOWING, "<EOS>")

    def encode(self, features):
        return features

    def initial_state(self, memory):
        return (memory,)

    def step(self, tokens, state, memory):
        rows = [FOLLOWING.get(self.words[token], {"<EOS>": 1.0}) for token in tokens.tolist()]
        return torch.tensor([[row.get(word, 0.0) for word in self.words] for row in rows]).log(), state, None


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_the_tree_keeps_what_the_decoder_keeps(beam: int) -> None:
    words = Table.words
    rules = Rules(words.index("<SOS>"), words.index("<EOS>"), (0, words.index("<SOS>")), max_length=8)
    (found,) = beam_search(Table(), torch.zeros(1, 1), rules, beam=beam, length_power=0.0)
    best = max((one for one in beam_tree(beam)[-1] if one.kept), key=lambda one: one.probability)
    assert [words[token] for token in found.tokens] == list(best.words[1:-1])
    assert torch.tensor(found.score).exp() == pytest.approx(best.probability)


def test_the_table_is_one_of_probabilities_and_greedy_search_falls_into_its_trap() -> None:
    assert all(sum(chances.values()) == pytest.approx(1) for chances in FOLLOWING.values())
    captions = {("<SOS>",): 1.0}  # all that can be said, by going through everything
    while any(words[-1] != "<EOS>" for words in captions):
        captions = {
            (*words, *([word] if word else [])): chance * share
            for words, chance in captions.items()
            for word, share in (FOLLOWING[words[-1]] if words[-1] != "<EOS>" else {"": 1.0}).items()
        }
    best = max(captions, key=captions.get)
    assert beam_tree(2)[-1][0].words == best and beam_tree(1)[-1][0].words != best


def test_the_tree_is_that_of_the_cell_that_searches_by_hand(capsys: pytest.CaptureFixture) -> None:
    (code,) = (text for text in cells(FOLDER.parent / "03a_caption_lstm.ipynb") if "def search_by_hand" in text)
    defined: dict = {}
    exec(code, defined)
    assert defined["following"] == FOLLOWING
    for beam in (1, 2):
        kept = [[(" ".join(one.words), one.probability) for one in step if one.kept] for step in beam_tree(beam)[1:]]
        assert [[(text, pytest.approx(chance)) for text, chance in step] for step in kept] == list(
            defined["search_by_hand"](beam)
        )


def test_the_map_has_every_notebook_and_follows_their_order() -> None:
    built = {path.stem for path in (project_root() / "notebooks").glob("0*.ipynb")}
    assert built <= NOTEBOOKS.keys()
    assert all(before < after for before, after in NEEDS if {before, after} <= built)
    assert all(a < b for a, b in pairwise(NOTEBOOKS))
