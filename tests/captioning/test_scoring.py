"""Scores: the tokeniser against Stanford's, BLEU worked by hand, METEOR and the blind caption against the package."""

import math
import random
import shutil
import subprocess

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from helpers.captioning import scoring
from helpers.captioning.scoring import (
    METRICS,
    bleu_4_of,
    bleu_counts,
    blind_caption,
    cider_by_photo,
    meteor_score,
    rouge_by_photo,
    score_captions,
    score_intervals,
    tokenize,
)
from helpers.files import InputError

# Expectations are what PTBTokenizer of stanford-corenlp-3.4.1 (the one coco-caption runs) prints for each line with
# `-preserveLines -lowerCase`, less the punctuation coco-caption drops.
HARD_CAPTIONS = [
    ("A dog's bone.", "a dog 's bone"),
    ("Dogs' toys, and the girls' bikes!", "dogs toys and the girls bikes"),
    ("The man can't, won't and doesn't stop.", "the man ca n't wo n't and does n't stop"),
    ("I'm sure they've left; she'd say we're late.", "i 'm sure they 've left she 'd say we 're late"),
    ("You cannot touch it", "you can not touch it"),
    ("He's gonna jump... isn't he?", "he 's gon na jump is n't he"),
    ('A "red" t-shirt (size XL) is black-and-white.', "a red t-shirt -lrb- size xl -rrb- is black-and-white"),
    ("A boy -- about five -- runs - fast.", "a boy about five runs fast"),
    ("Mr. Smith and Dr. Jones visit St. Louis.", "mr. smith and dr. jones visit st. louis"),
    ("a man of the U. Miami in Washington D.C.", "a man of the u. miami in washington d.c."),
    ("3,000 people at 10:30 a.m. near 1/2 of a pie", "3,000 people at 10:30 a.m. near 1/2 of a pie"),
    ("It costs $5 & 50% off", "it costs $ 5 & 50 % off"),
    ("Really?! Stop!!!", "really ?! stop !!!"),
    ("It is 7:30am on the 1st of the '80s", "it is 7:30 am on the 1st of the '80s"),
    ("Player #23 of the 1980's", "player # 23 of the 1980 's"),
    ("rock 'n' roll at five o'clock", "rock 'n' roll at five o'clock"),
    ("see www.site.com or two men/women", "see www.site.com or two men/women"),
    ("[brackets] and {braces}", "-lsb- brackets -rsb- and -lcb- braces -rcb-"),
    ("Café: it’s a “smart” dog", "café it 's a smart dog"),
    ("red,white;blue:green", "red white blue green"),
    ("a child says 'hello' and '-ependent' .", "a child says hello and ependent"),
    ("I'd've worn a father-in-law's hat", "i 'd 've worn a father-in-law 's hat"),
    ("Players of AT&T's, not of h&m", "players of at&t 's not of h & m"),
    ("No.1 is the bus no. 5 - no. Never", "no. 1 is the bus no. 5 no never"),
    ("a Ph.D. student of D'Artagnan's at -1 or +1,5", "a ph.d. student of d'artagnan 's at -1 or +1,5"),
    ("see https://site.com/a?b=1 , <unk>", "see https://site.com/a?b=1 <unk>"),
    ("...", ""),
    ("  mother and her  two   kids ", "mother and her two kids"),
]


@pytest.mark.parametrize(("caption", "expected"), HARD_CAPTIONS)
def test_tokenize_splits_like_the_stanford_tokenizer(caption: str, expected: str) -> None:
    assert " ".join(tokenize(caption)) == expected


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("Das Schäfchen läuft , über die Straße .", "das schäfchen läuft über die straße"),
        ("Cafe\u0301 !", "café"),
        ("كَلْبٌ يَرْكُضُ ، في المنزل؟", "كَلْبٌ يَرْكُضُ في المنزل"),
        ("一只狗，在草地上。", "一 只 狗 在 草 地 上"),
        ("एक कुत्ता है।", "एक कुत्ता है"),
    ],
)
def test_tokens_of_other_languages(caption: str, tokens: str) -> None:
    assert tokenize(caption) == tokens.split()


def test_chinese_is_scored_by_characters() -> None:
    """As if somebody had put spaces between them; as one word each, two captions would have nothing in common."""
    caption, reference = "一只狗在草地上奔跑。", "一只黑狗在草地上玩。"
    bleu, _ = Bleu(4).compute_score({1: [" ".join(reference[:-1])]}, {1: [" ".join(caption[:-1])]}, verbose=0)
    scores = score_captions({"a": caption}, {"a": [reference]})
    assert [scores[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx([100 * score for score in bleu])
    assert scores["bleu_4"] > 20


def test_meteor_is_for_english(capsys: pytest.CaptureFixture[str]) -> None:
    assert scoring.meteor_score({"a": ["ein hund läuft durch den schnee"]}, {"a": ["ein hund"]}) is None
    assert "METEOR not computed: it knows the stems and synonyms of English" in capsys.readouterr().out


def test_bleu_matches_a_count_by_hand() -> None:
    references = {"a": ["the cat sat on the mat", "there is a cat on a mat"]}
    scores = score_captions({"a": "The cat on the the mat."}, references)
    # the x2 of 3 (clipped), cat, on, mat: 5 of 6; of the pairs only "the the" is in no reference: 4 of 5; no triple is.
    assert scores["bleu_1"] == pytest.approx(100 * 5 / 6, abs=1e-3)
    assert scores["bleu_2"] == pytest.approx(100 * math.sqrt(5 / 6 * 4 / 5), abs=1e-3)
    assert scores["bleu_3"] < 1e-2


def test_bleu_punishes_short_captions() -> None:
    scores = score_captions({"a": "a dog runs on"}, {"a": ["a dog runs on the wet sand today"]})
    assert scores["bleu_4"] == pytest.approx(100 * math.exp(1 - 8 / 4), abs=1e-3)


def test_rouge_l_matches_a_count_by_hand() -> None:
    scores = score_captions({"a": "a dog runs fast"}, {"a": ["a dog quickly runs by the sea"]})
    precision, recall, weight = 3 / 4, 3 / 7, 1.2**2
    assert scores["rouge_l"] == pytest.approx(100 * (1 + weight) * precision * recall / (recall + weight * precision))


def test_cider_d_matches_the_formula_of_the_paper() -> None:
    references = {
        "a": ["a dog runs on grass", "the dog plays outside now"],
        "b": ["a cat sleeps", "the cat rests on a sofa"],
        "c": ["two men talk to a dog"],
    }
    candidates = {"a": "a dog dog runs outside", "b": "a cat rests", "c": "two men talk"}
    assert score_captions(candidates, references)["cider_d"] == pytest.approx(100 * cider_d(candidates, references))


def cider_d(candidates: dict[str, str], references: dict[str, list[str]]) -> float:
    """Vedantam et al. 2015, section 6, written down directly; the length of coco-caption's penalty counts bigrams."""

    def vector(caption: str, n: int) -> dict[tuple[str, ...], float]:
        words = caption.split()
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        holders = {
            gram: sum(any(gram in windows(text, n) for text in texts) for texts in references.values())
            for gram in grams
        }
        return {gram: grams.count(gram) * math.log(len(references) / max(1, holders[gram])) for gram in grams}

    def windows(caption: str, n: int) -> list[tuple[str, ...]]:
        return list(zip(*(caption.split()[i:] for i in range(n)), strict=False))

    total = 0.0
    for photo, caption in candidates.items():
        for text in references[photo]:
            gap = len(caption.split()) - len(text.split())
            for n in range(1, 5):
                ours, truth = vector(caption, n), vector(text, n)
                norm = math.hypot(*ours.values()) * math.hypot(*truth.values())
                overlap = sum(min(weight, truth.get(gram, 0)) * truth.get(gram, 0) for gram, weight in ours.items())
                if norm:
                    total += 10 * math.exp(-(gap**2) / 72) * overlap / norm / 4 / len(references[photo])
    return total / len(candidates)


def test_summary_figures() -> None:
    references = {photo: ["a dog runs"] for photo in "abcd"}
    scores = score_captions({"a": "a dog .", "b": "A dog", "c": "a cat sits down", "d": "one dog"}, references)
    assert set(scores) == {*METRICS, "distinct_share", "vocabulary_used", "mean_length"}
    assert (scores["distinct_share"], scores["vocabulary_used"], scores["mean_length"]) == (75.0, 6, 2.5)
    assert scores["meteor"] is None


def test_an_empty_caption_scores_zero_and_does_not_fail() -> None:
    scores = score_captions({"a": "", "b": "."}, {"a": ["a dog runs"], "b": ["a cat sits"]})
    assert scores["bleu_4"] == pytest.approx(0, abs=1e-6) and scores["cider_d"] == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="'b'"):
        score_captions({"a": "a dog", "b": "a cat"}, {"a": ["a dog"], "b": []})
    with pytest.raises(InputError, match="no caption to score"):
        score_captions({}, {"a": ["a dog"]})


def test_meteor_equals_the_package_where_java_is_and_is_none_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    truths = {"a": ["a dog runs on grass", "the dog plays"], "b": ["a cat is sleeping"]}
    results = {"a": ["a dog is running on the grass"], "b": ["the cat sleeps"]}
    score = meteor_score(truths, results)
    if shutil.which("java"):
        assert score == pytest.approx(29.860110912899906)  # what pycocoevalcap's own Meteor class returns
    else:
        assert score is None and "Java is not installed" in capsys.readouterr().out


def test_meteor_that_hangs_or_fails_is_not_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scoring.shutil, "which", lambda _: "/usr/bin/java")

    def hang(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(scoring.subprocess, "run", hang)
    assert meteor_score({"a": ["a dog"]}, {"a": ["a dog"]}, seconds=1) is None
    assert "timed out after 1 seconds" in capsys.readouterr().out
    monkeypatch.setattr(scoring.shutil, "which", lambda _: None)
    assert score_captions({"a": "a dog"}, {"a": ["a dog"]}, meteor=True)["meteor"] is None


def test_blind_caption_is_the_best_constant_answer() -> None:
    rng = random.Random(0)
    words = ["a", "dog", "cat", "runs", "on", "the", "grass"]
    captions = [[" ".join(rng.choices(words, k=rng.randint(4, 8))) for _ in range(3)] for _ in range(12)]
    truths = dict(enumerate(captions))

    def bleu_4(caption: str) -> float:
        return Bleu(4).compute_score(truths, {i: [caption] for i in truths}, verbose=0)[0][3]

    best = max((caption for photo in captions for caption in photo), key=bleu_4)
    assert bleu_4(blind_caption(captions)) == pytest.approx(bleu_4(best))


@pytest.mark.parametrize("longer", [[], ["a dog runs"]])
def test_blind_caption_of_captions_too_short_for_bleu_4_is_still_the_best(longer: list[str]) -> None:
    captions = [[text] for text in ["dog"] * 6 + ["cat"] * 3 + ["zebra", *longer]]
    truths = dict(enumerate(captions))

    def bleu_4(caption: str) -> float:
        return Bleu(4).compute_score(truths, {i: [caption] for i in truths}, verbose=0)[0][3]

    assert blind_caption(captions) == max({text for (text,) in captions}, key=bleu_4)


def test_of_two_references_as_near_in_length_the_shorter_one_counts() -> None:
    """Else six words were too short for three photos of four, and eight the best answer."""
    captions = [*[["a b c d", "a b c d e f g h"]] * 3, ["a b c d e f"]]
    assert blind_caption(captions) == "a b c d e f"
    assert (
        Bleu(4).compute_score(dict(enumerate(captions)), {i: ["a b c d e f"] for i in range(4)}, verbose=0)[0][3] > 0.99
    )


def test_the_parts_of_each_photo_add_up_to_the_scores_of_the_reference_package():
    rng = np.random.default_rng(0)
    words = "a dog cat runs sits on the grass sand red blue".split()
    references = {str(n): [" ".join(rng.choice(words, rng.integers(5, 12))) for _ in range(3)] for n in range(30)}
    candidates = {photo: " ".join(captions[0].split()[:-1]) for photo, captions in references.items()}
    scores = score_captions(candidates, references)
    assert bleu_4_of(bleu_counts(candidates, references).sum(axis=0)) == pytest.approx(scores["bleu_4"], rel=1e-9)
    assert cider_by_photo(candidates, references).mean() == pytest.approx(scores["cider_d"], rel=1e-9)
    for name, (low, high) in score_intervals(candidates, references).items():
        assert low < scores[name] < high
    # An interval is of these photos: half of them again is what a draw is.
    half = {photo: candidates[photo] for photo in list(candidates)[:15]}
    counts = bleu_counts(candidates, references)[:15]
    assert bleu_4_of(counts.sum(axis=0)) == pytest.approx(score_captions(half, references)["bleu_4"], rel=1e-9)


def test_rouge_of_each_photo_is_what_it_gets_alone():
    references = {"a": ["a dog runs on the grass", "a brown dog"], "b": ["two cats sleep on a sofa"], "c": ["a boat"]}
    candidates = {"b": "two dogs sleep", "c": "", "a": "a dog on the grass"}
    alone = [score_captions({photo: text}, references)["rouge_l"] for photo, text in candidates.items()]
    assert rouge_by_photo(candidates, references) == pytest.approx(alone, abs=1e-12) and len(set(alone)) == 3


def test_captions_without_any_match_score_nothing_and_raise_nothing():
    counts = bleu_counts({"a": "zebra"}, {"a": ["a dog runs on the grass"]})
    assert bleu_4_of(counts.sum(axis=0)) < 1e-3
