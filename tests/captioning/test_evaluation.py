"""Judging a captioner: which captions are scored, what the table shows, and what metrics.json promises."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocoevalcap.bleu.bleu import Bleu
from small_captioners import prepared

from helpers.captioning import scoring, training
from helpers.captioning.captioner import Captioner
from helpers.captioning.decoding import greedy
from helpers.captioning.evaluation import (
    Judgement,
    Scores,
    best_and_worst,
    captioner_metrics,
    judge,
    judge_captioner,
    print_judgement,
    print_scores,
)
from helpers.captioning.scoring import METRICS, score_captions
from helpers.captioning.training import CaptionData, caption_photos
from helpers.files import write_json
from helpers.uncertainty import mean_interval

BLIND = "a dog on the grass"
INTERVALS = {"bleu_4": (11.23, 30.05), "cider_d": (40.0, 90.0)}


def judged_as(scores: dict[str, Scores]) -> Judgement:
    return Judgement({}, BLIND, {}, scores, scores["beam 5"], INTERVALS, (0.0, 1.0))


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Captioner, CaptionData]:
    """A captioner whose captions differ between photos, and photos to judge it on."""
    captioner, _, val = prepared()
    captioner.model.photo[2].weight.data *= 8  # louder photos
    return captioner, val


@pytest.fixture(autouse=True)
def meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR starts Java, which takes seconds."""
    monkeypatch.setattr(scoring, "meteor_score", lambda *_: 33.0)


def test_photos_are_read_some_at_a_time(
    trained: tuple[Captioner, CaptionData], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, data = trained
    expected = caption_photos(captioner, data)
    read: list[int] = []
    features = CaptionData.features

    def counted(self: CaptionData, places: np.ndarray, *rest: object) -> np.ndarray:
        read.append(len(places))
        return features(self, places, *rest)

    monkeypatch.setattr(CaptionData, "features", counted)
    monkeypatch.setattr(training, "PART", 2)
    assert caption_photos(captioner, data) == expected
    assert max(read) == 2 < len(data.ids)


def ways(captioner: Captioner, data: CaptionData) -> dict[str, dict[str, str]]:
    """What the notebooks compare: blind, greedy, and the captioner as it is set."""
    blind, likeliest = dict.fromkeys(data.ids, BLIND), caption_photos(replace(captioner, beam=1), data)
    return {"blind": blind, "greedy": likeliest, "beam 5": caption_photos(captioner, data)}


def references(data: CaptionData) -> dict[str, tuple[str, ...]]:
    return dict(zip(data.ids, data.captions, strict=True))


def test_every_photo_gets_the_caption_that_it_gets_alone(trained: tuple[Captioner, CaptionData]) -> None:
    captioner, data = trained
    texts = caption_photos(captioner, data)
    assert list(texts) == data.ids
    for place, photo in enumerate(data.ids):
        assert texts[photo] == captioner.texts(captioner.decode(data.views[0][data.rows[[place]]]))[0]
    assert len(set(texts.values())) > 1


def test_photos_of_several_sets_are_scored_set_by_set(trained: tuple[Captioner, CaptionData]) -> None:
    captioner, data = trained
    texts = caption_photos(captioner, data)
    mixed = replace(data, origins=["flickr8k" if place % 3 else "coco" for place in range(len(data.ids))])
    table = judge(mixed, ways(captioner, mixed))
    assert list(table) == ["blind", "greedy", "beam 5", "of coco", "of flickr8k"]
    assert table["of coco"] == score_captions({id_: texts[id_] for id_ in data.ids[::3]}, references(data))
    history = [{"epoch": 1, "stage": "cross-entropy", "cider_d": 4.0, "val_loss": 1.0, "seconds": 1.0}]
    metrics = captioner_metrics(captioner, mixed, judged_as(table), history, {})
    assert metrics["by_origin"] == {"coco": table["of coco"], "flickr8k": table["of flickr8k"]}
    assert "of coco" not in judge(replace(data, origins=["coco"] * len(data.ids)), {"any": texts})


def test_three_ways_to_caption_are_scored_on_the_same_photos(trained: tuple[Captioner, CaptionData]) -> None:
    captioner, data = trained
    texts = caption_photos(captioner, data)
    table = judge(data, ways(captioner, data))
    assert list(table) == ["blind", "greedy", "beam 5"]
    assert table["blind"] == score_captions(dict.fromkeys(data.ids, BLIND), references(data))
    plain = [[text.replace(" .", "") for text in own] for own in data.captions]
    bleu, _ = Bleu(4).compute_score(dict(enumerate(plain)), {i: [BLIND] for i in range(len(plain))}, verbose=0)
    assert [table["blind"][f"bleu_{n}"] for n in range(1, 5)] == pytest.approx([100 * score for score in bleu])
    assert table["beam 5"] == score_captions(texts, references(data), meteor=True)
    features = torch.from_numpy(data.features(np.arange(len(data.ids))))
    likeliest = captioner.texts(greedy(captioner.model, features, captioner.rules))
    assert table["greedy"] == score_captions(dict(zip(data.ids, likeliest, strict=True)), references(data))
    assert [row["meteor"] for row in table.values()] == [None, None, 33.0]


def test_a_judgement_is_of_the_photos_asked_for_and_tells_all_of_it(
    trained: tuple[Captioner, CaptionData], capsys: pytest.CaptureFixture[str]
) -> None:
    captioner, data = trained
    train = replace(data, captions=[(BLIND, "a man")] * len(data.ids))
    judged = judge_captioner(captioner, train, data)
    expected = ways(captioner, data)
    assert judged.texts == expected["beam 5"]
    ours, plain = (scoring.cider_by_photo(expected[way], judged.references) for way in ("beam 5", "greedy"))
    assert judged.beam_gain == mean_interval(ours - plain)
    assert judged.blind == scoring.blind_caption(train.captions) and judged.references == references(data)
    assert judged.scores == judge(data, expected | {"blind": dict.fromkeys(data.ids, judged.blind)})
    assert judged.final == judged.scores["beam 5"]
    assert judged.intervals == scoring.score_intervals(judged.texts, judged.references)
    print_judgement(judged)
    said = capsys.readouterr().out
    assert f"{len(data.ids)} test photos; the blind caption is {judged.blind!r}" in said
    low, _ = judged.intervals["bleu_4"]
    assert f"BLEU-4 {judged.final['bleu_4']:.1f}, and for other photos of this kind likely within [{low:.1f}" in said


def test_a_table_has_a_line_a_name_and_a_dash_for_what_was_not_computed(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {name: 10.0 * place + 1.26 for place, name in enumerate(METRICS)}
    print_scores({"blind": scores | {"meteor": None}, "beam 5": scores, "old": {"bleu_1": 9.0}})
    head, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == list(METRICS)
    full = ["1.3", "11.3", "21.3", "31.3", "41.3", "51.3", "61.3"]
    assert lines == [["blind", *full[:-1], "–"], ["beam", "5", *full], ["old", "9.0", *6 * "–"]]


def test_metrics_have_the_promised_names_and_are_plain_numbers(
    trained: tuple[Captioner, CaptionData], tmp_path: Path
) -> None:
    captioner, data = trained
    scores = judge(data, ways(captioner, data))
    history = [
        {"epoch": epoch, "stage": "cross-entropy", "cider_d": cider, "val_loss": 1.0, "seconds": 2.5}
        for epoch, cider in enumerate([4.0, 9.0, 8.0], start=1)
    ]
    metrics = captioner_metrics(captioner, data, judged_as(scores), history, {"ratio": 7.0})
    write_json(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    promised = "split images decoding bleu_1 bleu_2 bleu_3 bleu_4 rouge_l cider_d meteor train_seconds parameters"
    assert {*promised.split(), "distinct_share"} <= set(metrics)
    assert (metrics["split"], metrics["images"], metrics["decoding"]) == ("test", 18, "beam 5, length power 0.7")
    assert {name: metrics[name] for name in METRICS} == {name: scores["beam 5"][name] for name in METRICS}
    assert metrics["train_seconds"] == 7.5 and metrics["epochs"] == 3
    assert metrics["validation"]["epoch"] == 2
    mean = history[1] | {"stage": "halfway", "cider_d_as_used": 9.5, "cider_d_as_used_before": 9.0}
    kept = captioner_metrics(captioner, data, judged_as(scores), [*history, mean], {"ratio": 7.0})
    assert kept["epochs"] == 3 and kept["validation"] == mean
    assert metrics["blind"]["caption"] == BLIND and metrics["blind"]["bleu_4"] == scores["blind"]["bleu_4"]
    assert metrics["headline"]["BLEU-4"] == [round(metrics["bleu_4"], 1), 11.2, 30.1]
    assert metrics["intervals"] == {name: list(bounds) for name, bounds in INTERVALS.items()}
    sizes = {name: np.prod(weight.shape) for name, weight in captioner.model.named_parameters()}
    assert metrics["parameters"] == sum(sizes.values())


def test_best_and_worst_are_by_what_captions_share_with_their_references() -> None:
    texts = {  # four words each: how many of them are in the reference, in order
        "two": "a dog x y",
        "all": "a dog runs fast",
        "none": "x y z w",
        "three": "a dog runs x",
        "one": "a x y z",
    }
    data = CaptionData(list(texts), [], np.arange(5), np.zeros((5, 1, 1), np.int64), 5 * [("a dog runs fast",)])
    assert best_and_worst(texts, data, count=2) == (["all", "three"], ["one", "none"])
    assert best_and_worst(texts, data) == (["all", "three"], ["one", "none"])  # of five, none is on both sides
    alone = CaptionData(["two"], [], np.arange(1), np.zeros((1, 1, 1), np.int64), [("a dog runs fast",)])
    assert best_and_worst(texts, alone) == (["two"], ["two"])
