"""Keywords: nouns against words known beforehand, and shared keywords and overlap against sets."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from helpers.data.manifest import Photo
from helpers.encoders import metrics
from helpers.encoders.keywords import Vocabulary, build_vocabulary, nouns, overlap, photo_nouns, shared_counts
from helpers.files import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black dog runs on the grass .", "dog grass"),
        ("Two dogs are running across green grass", "dog grass"),
        ("Three women and two men sit on benches", "woman man bench"),
        ("The children play with puppies near some geese", "child puppy goose"),
        ("The man's hat is red .", "man hat"),
        ("A group of people stands in front of a building", "people building"),
        ("Two people at the side of the road, in the background a car", "people road car"),
        ("Skis lie between leaves under a blue sky", "ski leaf sky"),
        ("running very quickly", ""),
        (" . ", ""),
    ],
)
def test_nouns_in_their_dictionary_form_without_empty_words(text: str, expected: str) -> None:
    assert nouns(text) == set(expected.split())


def photo(*captions: str) -> Photo:
    return Photo("x", Path("x.jpg"), captions, "train")


def test_a_noun_counts_when_two_captions_have_it() -> None:
    photos = [
        photo("A dog on a beach .", "A dog runs on sand .", "Two dogs on a beach ."),
        photo("A cat under a tree ."),
        photo("Running fast", "Jumping high"),
    ]
    assert photo_nouns(photos) == [{"dog", "beach"}, {"cat", "tree"}, set()]


def random_sets(count: int, seed: int) -> list[frozenset[str]]:
    rng = np.random.default_rng(seed)
    words = [f"word{number}" for number in range(12)]
    return [frozenset(rng.choice(words, rng.integers(0, 6), replace=False)) for _ in range(count)]


@pytest.mark.parametrize(
    ("captions", "shared"),
    [
        (("Ein Hund läuft im Schnee .", "Der Hund und der Schnee ."), {"hund", "schnee"}),
        (("一只狗在奔跑", "狗和球"), {"狗"}),
        (("كَلْبٌ يَرْكُضُ", "كَلْبٌ كبير"), {"كَلْبٌ"}),
    ],
)
def test_in_other_languages_all_words_count(captions: tuple[str, ...], shared: set[str]) -> None:
    (found,) = photo_nouns([Photo("a", Path("a"), captions, "train")])
    assert found >= shared and len(found) <= len(shared) + 1


def test_keywords_are_neither_singular_nor_everywhere() -> None:
    train = [frozenset({"dog", "grass", "a"}), frozenset({"dog", "a"}), frozenset({"cat", "a"}), frozenset({"a"})]
    vocabulary = build_vocabulary(train)
    assert vocabulary.names == ["dog"]
    assert vocabulary.weights.tolist() == pytest.approx([math.log(2)])
    with pytest.raises(InputError, match="share no nouns"):
        build_vocabulary([frozenset({"dog"}), frozenset({"cat"})])


def test_counts_and_overlap_equal_those_of_sets() -> None:
    first, second = random_sets(20, seed=0), random_sets(15, seed=1)
    vocabulary = build_vocabulary(first)
    weight = dict(zip(vocabulary.names, vocabulary.weights.tolist(), strict=True))
    one, other = vocabulary.table(first), vocabulary.table(second)
    counts, grades = shared_counts(one, other), overlap(one, other, vocabulary.weights)
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        a, b = a & weight.keys(), b & weight.keys()
        assert counts[i, j] == len(a & b)
        either = sum(weight[word] for word in a | b)
        expected = sum(weight[word] for word in a & b) / either if either else 0
        assert grades[i, j] == pytest.approx(expected, abs=1e-6)
    full = one.any(axis=1)
    np.testing.assert_allclose(overlap(one, one, vocabulary.weights).diagonal()[full], 1, rtol=1e-6)


def test_counts_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = build_vocabulary(random_sets(40, seed=2))
    table = vocabulary.table(random_sets(40, seed=3))
    expected = shared_counts(table, table)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 4 * (40 + table.shape[1]) * 7)
    np.testing.assert_array_equal(shared_counts(table, table), expected)


def test_words_of_a_row_come_rarest_first() -> None:
    vocabulary = Vocabulary(["cat", "dog", "yak"], np.array([1.0, 0.5, 3.0], np.float32))
    row = vocabulary.table([frozenset({"dog", "yak", "gnu"})])[0]
    assert vocabulary.words(row) == ["yak", "dog"]
