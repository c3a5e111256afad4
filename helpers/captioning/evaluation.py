"""Judging a trained captioner on photos it has never seen, the same way for all three.

Scores come from `scoring.py`; here is what surrounds them: captions of a whole split, the line of a captioner
without eyes beside them, the table, and `metrics.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from helpers.captioning.captioner import Captioner
from helpers.captioning.facts import Facts
from helpers.captioning.named_words import NamedWords
from helpers.captioning.scoring import (
    METRICS,
    blind_caption,
    cider_by_photo,
    rouge_by_photo,
    score_captions,
    score_intervals,
)
from helpers.captioning.training import PART, CaptionData, History, best_epoch, caption_photos
from helpers.features.store import Features
from helpers.uncertainty import Interval, brackets, mean_interval, with_interval

Scores = dict[str, float | None]


def caption_seen(captioner: Captioner, features: Features, ids: Sequence[str]) -> dict[str, str]:
    """Photo id -> caption of the photos `ids`, as `features` have seen them."""
    texts: list[str] = []
    for start in range(0, len(ids), PART):
        seen = captioner.features(features, ids[start : start + PART])
        texts += captioner.texts(captioner.decode(seen))
    return dict(zip(ids, texts, strict=True))


@dataclass(frozen=True)
class Judgement:
    """How a captioner does on photos it has never seen.

    Attributes:
        texts: photo id -> its caption, as the captioner is set.
        blind: the caption that every photo gets from one that never looks.
        references: photo id -> what people wrote.
        scores: from `judge`, of "blind", "greedy" and "beam 5", and of each data set, if there are several.
        final: those of them that count.
        intervals: of `final`, from `score_intervals`.
        beam_gain: interval of what the wider search adds to CIDEr-D of greedy captions.
    """

    texts: dict[str, str]
    blind: str
    references: dict[str, Sequence[str]]
    scores: dict[str, Scores]
    final: Scores
    intervals: dict[str, Interval]
    beam_gain: Interval


def judge_captioner(captioner: Captioner, train: CaptionData, test: CaptionData) -> Judgement:
    """Caption the photos in `test` and score that, beside greedy captions and the blind one, which is from `train`."""
    texts = caption_photos(captioner, test)
    likeliest = caption_photos(replace(captioner, beam=1), test)  # a beam of 1 is greedy
    blind = blind_caption(train.captions)
    own = f"beam {captioner.beam}"
    scores = judge(test, {"blind": dict.fromkeys(test.ids, blind), "greedy": likeliest, own: texts})
    references = dict(zip(test.ids, test.captions, strict=True))
    gain = mean_interval(cider_by_photo(texts, references) - cider_by_photo(likeliest, references))
    within = score_intervals(texts, references)
    return Judgement(texts, blind, references, scores, scores[own], within, gain)


def print_judgement(judged: Judgement) -> None:
    """The table of scores, and how far off other photos would be."""
    final = judged.final
    print(f"{len(judged.texts)} test photos; the blind caption is {judged.blind!r}\n")
    print_scores(judged.scores)
    print(f"\n{final['distinct_share']:.0f} % of the captions differ, {final['vocabulary_used']} words are used")
    for name, label in (("bleu_4", "BLEU-4"), ("cider_d", "CIDEr-D")):
        within = brackets(judged.intervals[name])
        print(f"{label} {final[name]:.1f}, and for other photos of this kind likely within {within}")


def judge(data: CaptionData, ways: Mapping[str, Mapping[str, str]]) -> dict[str, Scores]:
    """Scores of several ways to caption the photos in `data`, such as blind, greedy and beam search.

    The last one is the one that counts: it gets METEOR as well and, where the photos come from several data sets,
    scores set by set: "of flickr8k". CIDEr-D weighs words by how rare they are in the photos it is given, so its
    figures compare within a set only.

    Args:
        ways: name of a way -> photo id -> caption.
    """
    references = dict(zip(data.ids, data.captions, strict=True))
    origins = sorted(set(data.origins)) if len(set(data.origins)) > 1 else []
    *_, (last, texts) = ways.items()
    return {
        **{name: score_captions(said, references, meteor=name == last) for name, said in ways.items()},
        **{f"of {origin}": score_captions(_of_origin(texts, data, origin), references) for origin in origins},
    }


def _of_origin(texts: Mapping[str, str], data: CaptionData, origin: str) -> dict[str, str]:
    """The captions of the photos that come from one data set."""
    return {id_: texts[id_] for id_, of in zip(data.ids, data.origins, strict=True) if of == origin}


def print_scores(table: Mapping[str, Mapping[str, float | None]]) -> None:
    """A line of scores for each name in `table`; what was not computed is a dash."""
    width = max(map(len, table)) + 2
    print(" " * width + "".join(f"{name:>9}" for name in METRICS))
    for name, row in table.items():
        cells = ("–" if row.get(metric) is None else format(row[metric], ".1f") for metric in METRICS)
        print(f"{name:>{width}}" + "".join(f"{cell:>9}" for cell in cells))


def captioner_metrics(
    captioner: Captioner,
    data: CaptionData,
    judged: Judgement,
    history: History,
    speed: Mapping[str, float],
    facts: Facts | None = None,
    words: Mapping[str, NamedWords] | None = None,
) -> dict[str, Any]:
    """The content of a captioner's `metrics.json`: percentages on the usual scale of 0 to 100, seconds, counts.

    Args:
        data: the test photos, on which the captioner was `judged`.
        speed: from `words_per_second`, or empty.
        facts: from `fact_table`, where the truth is known.
        words: from `named_words`.
    """
    scores, final = judged.scores, judged.final
    return {
        "split": "test",
        "images": len(data.ids),
        "decoding": captioner.decoding,
        **final,
        "parameters": sum(weight.numel() for weight in captioner.model.parameters()),
        "epochs": sum(epoch["stage"] != "halfway" for epoch in history),  # that was a mean of weights
        "train_seconds": sum(epoch["seconds"] for epoch in history),
        "speed": dict(speed),
        "validation": history[best_epoch(history) - 1],
        "greedy": scores["greedy"],
        "blind": scores["blind"] | {"caption": judged.blind},
        "by_origin": {name.removeprefix("of "): row for name, row in scores.items() if name.startswith("of ")},
        "intervals": {name: list(bounds) for name, bounds in judged.intervals.items()},
        "facts": dict(facts or {}),
        "words": {kind: asdict(named) for kind, named in (words or {}).items()},
        "headline": {
            "BLEU-4": with_interval(final["bleu_4"], judged.intervals["bleu_4"]),
            "CIDEr-D": with_interval(final["cider_d"], judged.intervals["cider_d"]),
            "BLEU-4 blind": scores["blind"]["bleu_4"],
        },
    }


def best_and_worst(texts: Mapping[str, str], data: CaptionData, count: int = 4) -> tuple[list[str], list[str]]:
    """Photos whose captions share most with their references (ROUGE-L, photo by photo), and those that share least.

    At most `count` of either, and none that is both, unless it is the only one.
    """
    references = dict(zip(data.ids, data.captions, strict=True))
    shared = dict(zip(data.ids, rouge_by_photo({i: texts[i] for i in data.ids}, references), strict=True))
    order = sorted(data.ids, key=shared.__getitem__, reverse=True)
    return both_ends(order, count)


def both_ends(order: list[str], count: int) -> tuple[list[str], list[str]]:
    """At most `count` of the first and as many of the last, none of them both, unless it is the only one.

    >>> both_ends(["a", "b", "c"], 2), both_ends(["a"], 2)
    ((['a'], ['c']), (['a'], ['a']))
    """
    count = max(1, min(count, len(order) // 2))
    return order[:count], order[-count:]
