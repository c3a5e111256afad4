"""The reader of verdicts: a planted contradiction is found, whichever part of a line is wrong."""

import pytest
from verdicts import contradictions, sentences

from helpers.environment import project_root
from helpers.files import read_json

SOURCE = 'verdict(("beam", 61.2), ("greedy", 60.0), above="It helps.", below="It harms.", level="No matter.")'
GOOD = "▸ 61.2 (beam) is above 60.0 (greedy): It helps."
SURE = "▸ 61.2 (beam) is above 60.0 (greedy), difference +1.2 [0.3, 2.1]: It helps."


def executed(line: str) -> dict:
    output = {"output_type": "stream", "name": "stdout", "text": ["something else\n", f"{line}\n"]}
    return {"cells": [{"cell_type": "code", "source": [SOURCE], "outputs": [output]}]}


@pytest.mark.parametrize("line", [GOOD, SURE, "▸ 60.0 (beam) is level with 60.0 (greedy): No matter."])
def test_what_the_figures_bear_out_is_no_contradiction(line: str) -> None:
    assert contradictions(executed(line)) == ([], 1)


@pytest.mark.parametrize("other", ["60.0", "nan"])
def test_of_what_is_no_number_nothing_is_said(other: str) -> None:
    for first, second in (("nan", other), (other, "nan")):
        line = f"▸ {first} (beam) and {second} (greedy): too few photos to tell."
        assert contradictions(executed(line)) == ([], 0)


@pytest.mark.parametrize(
    "line",
    [
        GOOD.replace("61.2", "59.2"),  # the figures of another run
        GOOD.replace("above", "below"),
        GOOD.replace("It helps.", "It harms."),
        GOOD.replace("It helps.", "It always helps."),
        SURE.replace("[0.3,", "[-0.3,"),  # chance can explain it
        SURE.replace("[0.3, 2.1]", "[unknown]"),
        "▸ beam is better",
        "▸ nan (beam) is below 60.0 (greedy): It harms.",
        "▸ 61.2 (beam) and 60.0 (greedy): too few photos to tell.",
    ],
)
def test_a_planted_contradiction_is_found(line: str) -> None:
    wrong, count = contradictions(executed(line))
    assert len(wrong) == count == 1


@pytest.mark.parametrize("path", sorted((project_root() / "notebooks").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_every_verdict_in_a_notebook_has_plain_words_for_each_outcome(path) -> None:
    for cell in read_json(path)["cells"]:
        if cell["cell_type"] == "code" and "verdict(" in "".join(cell["source"]):
            for said in sentences("".join(cell["source"])):
                assert set(said) == {"above", "below", "level"} and len(set(said.values())) >= 2
