"""Whether what an executed notebook says of its figures is what its figures say.

`helpers.uncertainty.verdict` prints a line of two figures, their relation, and a sentence for that relation. Here the
line is read again, without that function: the relation must follow from the figures as printed, and the sentence
must be the one that the cell has for that relation. Where a figure is no number, there is no sentence.
"""

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

NUMBER = r"-?(?:\d[\d,]*(?:\.\d+)?|nan)"
VERDICT = re.compile(
    rf"▸ (?P<first>{NUMBER}) \(.+?\) is (?P<relation>above|below|level with) (?P<second>{NUMBER}) \(.+?\)"
    rf"(?:, difference (?P<sign>[+-]){NUMBER} \[(?:(?P<low>{NUMBER}), (?P<high>{NUMBER})|(?P<unknown>unknown))\])?"
    r": (?P<sentence>.+)"
)
# One of them, at least, is no number, and nothing follows from them.
UNTOLD = re.compile(rf"▸ (?:nan \(.+?\) and {NUMBER}|{NUMBER} \(.+?\) and nan) \(.+?\): too few photos to tell\.")


def lines(cell: dict[str, Any]) -> Iterator[str]:
    """What a code cell printed."""
    for output in cell.get("outputs", ()):
        if output["output_type"] == "stream":
            yield from "".join(output["text"]).splitlines()


def sentences(source: str) -> list[dict[str, str]]:
    """Of each call of `verdict` in a cell: its sentences by relation. They must be plain text."""
    tree = ast.parse("\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "verdict"]
    return [
        {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg in ("above", "below", "level")}
        for call in named
    ]


def relation_of(first: float, second: float, low: float | None, high: float | None) -> str:
    """What the figures say: the difference counts where its interval, if there is one, has no 0 in it."""
    if math.isnan(first) or math.isnan(second):
        return "nothing"
    if first == second or (low is not None and not (low > 0 or high < 0)):
        return "level with"
    return "above" if first > second else "below"


def contradictions(notebook: dict[str, Any]) -> tuple[list[str], int]:
    """Verdicts of an executed notebook that their figures do not bear out, and how many verdicts there are."""
    wrong, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for line in lines(cell):
            if not line.startswith("▸") or UNTOLD.fullmatch(line):
                continue
            count += 1
            found = VERDICT.fullmatch(line)
            if found is None:
                wrong.append(f"unreadable: {line}")
                continue
            numbers = {
                name: float(text.replace(",", ""))
                for name in ("first", "second", "low", "high")
                if (text := found[name])
            }
            if found["unknown"]:
                numbers["low"] = numbers["high"] = math.nan
            expected = relation_of(numbers["first"], numbers["second"], numbers.get("low"), numbers.get("high"))
            meant = [said[found["relation"].split()[0]] for said in sentences("".join(cell["source"]))]
            if found["relation"] != expected:
                wrong.append(f"the figures say {expected}: {line}")
            elif found["sentence"] not in meant:
                wrong.append(f"the sentence is of another relation: {line}")
    return wrong, count
