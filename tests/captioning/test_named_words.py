"""Colours and numbers of captions beside what people wrote: by hand, and by plain loops."""

import json
from dataclasses import asdict
from random import Random

import numpy as np
import pytest

from helpers.captioning.named_words import named_words, print_named_words, words_of
from helpers.uncertainty import mean_interval

REFERENCES = {
    "dog": ("A brown dog on green grass", "A brown dog runs", "Two dogs , one brown , one white", "a dog", "a DOG ."),
    "boat": ("A white boat", "Two people in a white boat", "2 men and a grey boat", "two in a gray boat", "A red boat"),
}
TEXTS = {"dog": "a brown and black dog", "boat": "three people in a white boat in blue water"}


def test_by_hand() -> None:
    table = named_words(TEXTS, REFERENCES)
    # Said are brown, black; white, blue: two of them have a reference. Brown; white and gray two references have.
    colour, number = table["colour"], table["number"]
    assert (colour.said, colour.precision, colour.agreed) == (4, 50.0, 3)
    assert colour.recall == pytest.approx(200 / 3)
    assert colour.commonest == 100  # white, which people saw in both photos
    assert colour.people == pytest.approx(200 / 3)  # brown and white somebody else has, too, and green nobody
    assert (number.said, number.precision, number.agreed, number.recall) == (1, 0.0, 1, 0.0)  # three; two
    assert number.people is None  # no first reference says a number
    assert json.loads(json.dumps({kind: asdict(named) for kind, named in table.items()}))


def test_as_plain_loops_find() -> None:
    draw = Random(3)
    words = ["red", "grey", "gray", "blond", "golden", "two", "3", "dog", "one", "redder"]

    def text() -> str:
        return " ".join(draw.choices(words, k=5))

    references = {photo: [text() for _ in range(draw.randint(1, 5))] for photo in range(60)}
    texts = {photo: text() for photo in references}
    same = {"grey": "gray", "golden": "gold"}
    colours = {"red", "gray", "blond", "gold"}

    def named(text: str) -> set[str]:
        return {same.get(word, word) for word in text.split()} & colours

    right, told = [], []
    for photo, own in references.items():
        right += [(any(word in named(one) for one in own), photo) for word in named(texts[photo])]
        agreed = [word for word in colours if sum(word in named(one) for one in own) >= min(2, len(own))]
        told += [(word in named(texts[photo]), photo) for word in agreed]
    found = named_words(texts, references)["colour"]
    for asked, mean, within in (
        (right, found.precision, found.precision_within),
        (told, found.recall, found.recall_within),
    ):
        values, owners = (np.array(column) for column in zip(*asked, strict=True))
        assert mean == pytest.approx(100 * values.mean())
        assert within == pytest.approx(mean_interval(100 * values, owners))
    assert (found.said, found.agreed) == (len(right), len(told))


def test_a_word_within_another_does_not_count() -> None:
    assert words_of("a tired man with a greenish, twofold, Redwood-coloured hat", "colour") == frozenset()
    assert words_of("Twofold", "number") == frozenset()
    assert words_of("a black-and-white dog", "colour") == {"black", "white"}


def test_where_nobody_names_any_there_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    table = named_words({"dog": "ein Hund"}, {"dog": ("ein brauner Hund", "ein Hund")})
    assert table == {}
    print_named_words({"lstm": table})
    assert capsys.readouterr().out == ""


def test_a_line_a_captioner(capsys: pytest.CaptureFixture[str]) -> None:
    print_named_words({"lstm": named_words(TEXTS, REFERENCES), "other": named_words(REFERENCES_FIRST, REFERENCES)})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["colours", "lstm", "other", "numbers", "lstm"]
    assert lines[1].split()[:3] == ["lstm", "4", "50"]


REFERENCES_FIRST = {photo: own[0] for photo, own in REFERENCES.items()}
