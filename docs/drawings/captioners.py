"""The drawings of notebooks 03a to 03c: three captioners, and how beam search chooses."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from docs.drawings.sheet import Sheet

# What may follow each word, of a small language: also the table of notebook 03a, "Beam search by hand".
FOLLOWING = {
    "<SOS>": {"a": 0.6, "two": 0.4},
    "a": {"dog": 0.4, "man": 0.35, "boat": 0.25},
    "two": {"dogs": 0.9, "men": 0.1},
    "dog": {"runs": 0.5, "sits": 0.3, "<EOS>": 0.2},
    "man": {"sits": 0.6, "runs": 0.4},
    "boat": {"<EOS>": 1.0},
    "dogs": {"run": 0.7, "<EOS>": 0.3},
    "men": {"run": 1.0},
    "runs": {"<EOS>": 1.0},
    "sits": {"<EOS>": 1.0},
    "run": {"<EOS>": 1.0},
}


def encoder_decoder() -> Sheet:
    sheet = Sheet(880, 372, "Encoder and decoder: a CNN makes one vector, an LSTM writes word after word from it")
    photo = sheet.photo(24, 150, 92, 78)
    cnn = sheet.box(146, 146, 96, 86, "CNN\nfrozen", "soft")
    sheet.arrow(photo.right, cnn.left)
    vector = sheet.cells(272, 119, 22, 20, [[""]] * 7, "blue")
    sheet.arrow(cnn.right, vector.left)
    sheet.text(283, 272, "one vector", style="small")
    start = sheet.box(324, 146, 84, 86, "layers\ntanh")
    sheet.arrow(vector.right, start.left)
    for x, width, name in ((24, 270, "encoder"), (324, 532, "decoder")):
        sheet.line([(x, 44), (x, 38), (x + width, 38), (x + width, 44)], "soft")
        sheet.text(x + width / 2, 22, name, style="large")

    words = ["<SOS>", "a", "dog", "runs", "<EOS>"]
    left, gap = 452, 108
    cells = [sheet.box(left + gap * place, 160, 76, 58, "LSTM", "orange") for place in range(4)]
    sheet.arrow(start.right, cells[0].left)
    sheet.text(430, 172, "h, c", style="math")
    for place, cell in enumerate(cells):
        x = cell.centre[0]
        if place:
            sheet.arrow(cells[place - 1].right, cell.left)
        sheet.text(x, 278, words[place], style="bold")
        sheet.arrow((x, 264), cell.bottom)
        sheet.text(x, 98, words[place + 1], colour="green", style="bold")
        sheet.arrow(cell.top, (x, 112))
        if place < 3:
            sheet.arrow(
                (x + 25, 98),
                (x + gap / 2, 98),
                (x + gap / 2, 278),
                (x + gap - 26, 278),
                colour="purple",
                style="dashed",
            )
    sheet.text(438, 98, "comes out", "end", "green", "small")
    sheet.text(438, 278, "goes in", "end", style="small")
    sheet.text(
        24, 324, "Training: the true word goes in at each place, so all places are one call (teacher forcing).", "start"
    )
    sheet.text(
        24, 348, "Writing: the word that came out goes in next (dashed), until <EOS> comes out.", "start", "purple"
    )
    return sheet


def _pair(numbers: np.ndarray) -> str:
    return ", ".join(f"{number + 0:.2g}".replace("-", "−") for number in numbers.round(2))


def attention_step() -> Sheet:
    """The numbers are those of notebook 03b, "Attention by hand"."""
    values = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    keys = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    query, v = np.array([0.0, 3.0]), np.array([2.0, 2.0])
    bent = np.tanh(keys + query)  # (R, A)
    energies = bent @ v  # (R,)
    weights = np.exp(energies) / np.exp(energies).sum()
    context = weights @ values

    sheet = Sheet(880, 478, "One step of attention: energies, a softmax over the regions, the weighted mean")
    rows = [132, 194, 256]
    titles = (
        (74, "region"),
        (186, "value"),
        (296, "key"),
        (440, "tanh(key + query)"),
        (566, "energy"),
        (690, "weight"),
    )
    for x, title in titles:
        sheet.text(x, 92, title, style="bold")
    for name, colour, y, *numbers in zip(("grass", "dog", "sky"), ("green", "orange", "blue"), rows,
                                         values, keys, bent, energies, weights, strict=True):  # fmt: skip
        value, key, curved, energy, weight = numbers
        region = sheet.box(30, y - 20, 88, 40, name, colour)
        boxes = [region]
        for x, width, pair in ((146, 80, value), (256, 80, key), (380, 120, curved)):
            boxes.append(sheet.box(x, y - 17, width, 34, _pair(pair), "soft"))
        boxes.append(sheet.box(538, y - 17, 56, 34, f"{energy:.2f}", "soft"))
        for before, after in pairwise(boxes):
            sheet.arrow(before.right, after.left)
        bar = sheet.box(650, y - 13, max(2, 76 * weight), 26, colour=colour)
        sheet.text(bar.x + bar.width + 6, y, f"{100 * weight:.0f} %", "start")
        sheet.arrow(boxes[-1].right, (646, y))
    sheet.text(620, 66, "softmax over\nthe regions", style="small", colour="soft")

    query_box = sheet.box(380, 30, 120, 38, f"query {_pair(query)}", "purple")
    sheet.arrow(query_box.bottom, (440, 80), colour="purple")
    state = sheet.box(30, 30, 166, 38, "state h of the LSTM", "orange")
    sheet.arrow(state.right, query_box.left, colour="purple")
    sheet.text(288, 38, "W_q h", style="math")

    mean = sheet.box(600, 330, 200, 56, f"context = Σ weight · value\n{_pair(context)}", "green")
    sheet.line([(770, 118), (778, 118), (778, 270), (770, 270)], "green")
    sheet.arrow((778, 194), (822, 194), (822, 358), (801, 358), colour="green")
    sheet.arrow((186, 275), (186, 304), (700, 304), (700, 329), colour="green", style="dashed")
    sheet.text(200, 292, "the values", "start", "green", "small")
    gate = sheet.box(440, 338, 100, 40, "gate of h", "soft")
    sheet.arrow(mean.left, gate.right, colour="green")
    lstm = sheet.box(250, 330, 130, 56, "LSTM cell", "orange")
    sheet.arrow(gate.left, lstm.right, colour="green")
    sheet.text(285, 418, "the last word", style="small")
    sheet.arrow((285, 408), (285, 387))
    output = sheet.box(420, 422, 140, 38, "the next word", "blue")
    sheet.arrow(gate.bottom, output.top, colour="green")
    sheet.arrow((356, 386), (356, 441), output.left, colour="orange")
    sheet.arrow(lstm.left, (18, 358), (18, 49), (29, 49), colour="orange", style="dashed")
    sheet.text(34, 340, "the new state asks\nfor the next word", "start", "orange", "small")
    return sheet


def transformer_block() -> Sheet:
    sheet = Sheet(880, 596, "A decoder layer of the transformer, and what attend does inside")
    sheet.text(190, 24, "a decoder layer", style="large")
    stream = 96
    sheet.line([(40, 92), (40, 50), (358, 50), (358, 500), (40, 500), (40, 92)], "soft", "dashed")
    sheet.text(346, 486, "several such layers, one on the other", "end", "soft", "small")
    sheet.text(24, 544, "word · √W + position code", "start", style="small")
    sheet.arrow((stream, 532), (stream, 502))
    sheet.line([(stream, 500), (stream, 62)], "ink", "thick")
    parts = (
        (420, "masked self-attention", "blue", "words so far:\nkeys, values"),
        (286, "cross-attention", "green", "regions:\nkeys, values"),
        (152, "feed-forward", "orange", ""),
    )
    for bottom, name, colour, source in parts:
        norm = sheet.box(173, bottom - 8, 92, 30, "norm", "soft")
        change = sheet.box(134, bottom - 66, 170, 36, name, colour)
        total = sheet.plus(stream, bottom - 86)
        sheet.arrow((stream, bottom + 36), (219, bottom + 36), norm.bottom)
        sheet.arrow(norm.top, change.bottom)
        sheet.arrow(change.top, (219, bottom - 86), total.right)
        if source:
            sheet.text(380, bottom - 48, source, "start", style="small")
            sheet.arrow((374, bottom - 48), change.right)
    sheet.arrow((stream, 64), (stream, 32))
    sheet.text(stream - 12, 250, "x", "end", style="math")
    sheet.text(24, 572, "The thick line is the residual: x goes on unchanged, and each part adds to it.", "start")

    sheet.text(690, 24, "attend, in each head", style="large")
    query, key = sheet.box(548, 500, 76, 34, "query", "purple"), sheet.box(646, 500, 76, 34, "key", "blue")
    value = sheet.box(776, 500, 76, 34, "value", "green")
    names = ("softmax", "+ mask", "divided by √d", "query · key")
    softmax, mask, scale, product = (
        sheet.box(560, 256 + 60 * row, 150, 34, name, "soft") for row, name in enumerate(names)
    )
    total = sheet.box(640, 186, 150, 40, "Σ weight · value", "green")
    sheet.arrow(query.top, (586, 471))
    sheet.arrow(key.top, (684, 471))
    for lower, upper in ((product, scale), (scale, mask), (mask, softmax)):
        sheet.arrow(lower.top, upper.bottom)
    sheet.arrow((675, 256), (675, 227))
    sheet.arrow(value.top, (814, 206), total.right)
    sheet.arrow(total.top, (715, 156))
    sheet.text(715, 140, "what was found there", style="small")
    sheet.text(720, 273, "over the\nplaces seen", "start", "soft", "small")
    sheet.text(720, 393, "d numbers\nin a head", "start", "soft", "small")

    sheet.text(420, 60, "the mask: a place sees itself\nand what was before it", "start", "soft", "small")
    words = ["a", "dog", "runs", "on"]
    colours = np.array([["blue" if column <= row else "soft" for column in range(4)] for row in range(4)])
    grid = [["" if column <= row else "−∞" for column in range(4)] for row in range(4)]
    table = sheet.cells(460, 106, 30, 24, grid, colours)
    for place, word in enumerate(words):
        sheet.text(454, 118 + 24 * place, word, "end", style="small")
        sheet.text(475 + 30 * place, 94, word, style="small")
    sheet.arrow(table.bottom, (520, 333), mask.left, colour="soft", style="dashed")
    return sheet


@dataclass
class Beginning:
    """A node of the tree: a beginning of a caption, how probable it is, and whether the search kept it."""

    words: tuple[str, ...]
    probability: float
    kept: bool = False
    parent: "Beginning | None" = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        return self.words[-1] == "<EOS>"


def beam_tree(beam: int) -> list[list[Beginning]]:
    """Beam search over `FOLLOWING`: the beginnings of each step, the likeliest first, of which `beam` are kept."""
    steps = [[Beginning(("<SOS>",), 1.0, kept=True)]]
    while any(one.kept and not one.ended for one in steps[-1]):
        candidates = []
        for one in steps[-1]:
            if one.kept and one.ended:
                candidates.append(
                    Beginning(one.words, one.probability, parent=one)
                )  # a finished caption stays in the race
            elif one.kept:
                for word, chance in FOLLOWING[one.words[-1]].items():
                    candidates.append(Beginning((*one.words, word), one.probability * chance, parent=one))
        candidates.sort(key=lambda one: -one.probability)
        for one in candidates[:beam]:
            one.kept = True
        steps.append(candidates)
    return steps


def beam_search() -> Sheet:
    steps = beam_tree(2)
    greedy = {one[0].words for one in beam_tree(1)}
    best = next(one for one in steps[-1] if one.kept)
    sheet = Sheet(880, 448, "Beam search as a tree: two beginnings are kept at each step")
    left, gap, top = 60, 186, 84
    places = {}
    for number, step in enumerate(steps):
        # Children stand near their parents: in the parents' order, and the likeliest of a parent first.
        order = sorted(step, key=lambda one: (places.get(id(one.parent), (0, 0))[1], -one.probability))
        room = 300 / len(order)
        for place, one in enumerate(order):
            places[id(one)] = left + gap * number, top + room * (place + 0.5)
    for step in steps:
        for one in step:
            x, y = places[id(one)]
            if one.parent is not None:
                px, py = places[id(one.parent)]
                waits = one.parent.ended
                colour = "green" if one.kept else "soft"
                sheet.line([(px + 46, py), (x - 46, y)], colour, "dashed" if waits else "thick" if one.kept else "")
                if not waits:
                    chance = FOLLOWING[one.parent.words[-1]][one.words[-1]]
                    sheet.text((px + x) / 2, (py + y) / 2 - 9, f"{chance:.2g}", colour="soft", style="small halo")
    for number, step in enumerate(steps):
        for one in step:
            x, y = places[id(one)]
            colour = "green" if one.kept else "soft"
            sheet.box(x - 46, y - 19, 92, 38, f"{one.words[-1]}\n{100 * one.probability:.3g} %", colour, "small")
            if one.words in greedy and not (one.parent and one.parent.ended):
                sheet.circle(x + 46, y - 19, 6, "orange", filled=True)
        x = left + gap * number
        sheet.text(x, 54, "beginning" if not number else f"step {number}", style="bold")
    by_greedy = beam_tree(1)[-1][0]
    sheet.text(24, 22, "Beam search with a beam of 2", "start", style="large")
    ending = f"It ends with “{' '.join(best.words[1:-1])}”, {100 * best.probability:.0f} %."
    sheet.text(24, 400, f"Green: the two likeliest beginnings of all, which are kept. {ending}", "start", "green")
    sheet.circle(32, 426, 6, "orange", filled=True)
    ending = f"It ends with “{' '.join(by_greedy.words[1:-1])}”, {100 * by_greedy.probability:.0f} %."
    sheet.text(46, 426, f"Greedy search, which keeps one. {ending}", "start", "orange")
    return sheet
