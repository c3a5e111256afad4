"""Training and judging the fusion model: a small world that can be learned, exact resume, and plain loops."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from helpers.encoders import fusion_training
from helpers.encoders.fusion import WEIGHTS, FusionConfig, FusionEncoder, load_fusion, new_fusion
from helpers.encoders.fusion_training import (
    MODES,
    FusionData,
    FusionSettings,
    draw_sides,
    draw_triplets,
    embed_views,
    evaluate,
    first_photos,
    judging_triplets,
    relations,
    search_scores,
    train_fusion,
    triplet_accuracy,
)
from helpers.encoders.keywords import overlap
from helpers.encoders.metrics import chance_ndcg, without_own
from helpers.encoders.triplet import triplet_loss
from helpers.files import CHECKPOINT, InputError
from helpers.training import loop
from helpers.training.checkpoints import save_checkpoint

PUBLISHED = {WEIGHTS, "checksums.json", "config.json", "history.json", "finished.json"}
SETTINGS = FusionSettings(epochs=4, batch=16, learning_rate=3e-3)
KEYWORDS = 12


def world(count: int, seed: int) -> FusionData:
    """Photos with three of twelve keywords each. A photo shows all of them, a caption tells two, both with noise."""
    rng = np.random.default_rng(seed)
    look, meaning = (np.random.default_rng(9).normal(size=(KEYWORDS, width)) for width in (20, 512))
    has = rng.random((count, KEYWORDS)).argsort(axis=1) < 3  # (N, K)
    vectors = has @ look + rng.normal(0, 0.4, (count, 20))
    owners = np.repeat(np.arange(count), 2)
    told = np.array([rng.choice(np.flatnonzero(has[owner]), 2, replace=False) for owner in owners])  # (M, 2)
    sentences = meaning[told].sum(axis=1) + rng.normal(0, 0.3, (len(owners), 512))
    sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
    weights = np.ones(KEYWORDS, np.float32)
    return FusionData(vectors.astype(np.float32), sentences.astype(np.float32), owners, has, weights)


def small_encoder(seed: int = 0) -> FusionEncoder:
    config = FusionConfig("efficientnet_lite0", photo_width=20, side=32, embedding=16, photo_dropout=0.1)
    return new_fusion(config, world(60, seed=1).vectors, seed)


def same_weights(first: FusionEncoder, second: FusionEncoder) -> bool:
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_small_world_is_learned_and_published(tmp_path: Path) -> None:
    encoder, train, val = small_encoder(), world(300, seed=1), world(60, seed=2)
    triplets = draw_triplets(val, 500, 2, seed=0)
    best, history = train_fusion(encoder, train, val, replace(SETTINGS, epochs=20), tmp_path)
    after = evaluate(best, val, triplets, seed=0)
    assert same_weights(encoder, small_encoder())  # a cell that trains can be run again
    assert min(after[f"triplet_accuracy_{mode}"] for mode in MODES) > 0.85  # a caption tells two keywords of three
    assert after["triplet_accuracy_both"] > evaluate(encoder, val, triplets, seed=0)["triplet_accuracy_both"]
    chance = chance_ndcg(without_own(overlap(val.keywords, val.keywords, val.weights)))
    for gallery in ("photo", "both"):
        both, photo, text = (after[f"ndcg_{mode}_in_{gallery}"] for mode in MODES)
        assert both > text > 2 * chance and photo > 2 * chance
    assert after["t2i_r10"] > 3 * 100 * 10 / 60
    assert {path.name for path in tmp_path.iterdir()} == PUBLISHED
    assert json.loads((tmp_path / "history.json").read_text()) == history
    assert len(history["epochs"]) == 20 and history["train_seconds"] > 0
    assert history["parameters"] == sum(p.numel() for p in best.model.parameters())
    assert same_weights(load_fusion(tmp_path), best)
    _, more = train_fusion(best, train, val, replace(SETTINGS, epochs=1, learning_rate=1e-4), tmp_path)
    assert more["epochs"][0]["triplet_accuracy_both"] > 0.9  # it did not start again


def test_a_killed_run_continues_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = world(40, seed=1), world(30, seed=2)
    whole, history = train_fusion(small_encoder(), train, val, SETTINGS, tmp_path / "whole")

    def killed(path: Path, fingerprint: str, state: dict) -> None:
        save_checkpoint(path, fingerprint, state)
        if len(state["epochs"]) == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_checkpoint", killed)
        train_fusion(small_encoder(), train, val, SETTINGS, folder)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT]  # nothing half-trained is published
    torch.rand(7)  # the resumed process has another random state
    continued, again = train_fusion(small_encoder(), train, val, SETTINGS, folder)
    assert same_weights(continued, whole)
    assert [row["train_loss"] for row in again["epochs"]] == [row["train_loss"] for row in history["epochs"]]


def test_a_checkpoint_of_another_run_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = world(20, seed=1)
    save_checkpoint(tmp_path / CHECKPOINT, "another run", {"epochs": []})
    train_fusion(small_encoder(), data, data, replace(SETTINGS, epochs=1), tmp_path)
    assert "other settings or data" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == PUBLISHED | {f"{CHECKPOINT}.old"}


def test_coming_back_loads_what_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = world(20, seed=1)
    once, history = train_fusion(small_encoder(), data, data, SETTINGS, tmp_path)
    files = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    with patch.object(loop.Training, "run_epoch", side_effect=AssertionError("trained again")):
        again, same = train_fusion(small_encoder(), data, data, SETTINGS, tmp_path)
    assert "not trained again" in capsys.readouterr().out
    assert same == history
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == files
    assert not again.model.training
    for a, b in zip(once.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    _, other = train_fusion(small_encoder(), data, data, replace(SETTINGS, epochs=2), tmp_path)
    assert len(other["epochs"]) == 2  # other settings are another training


def test_what_cannot_be_trained_on_is_named(tmp_path: Path) -> None:
    data = world(20, seed=1)
    with pytest.raises(InputError, match="0 epochs train nothing"):
        train_fusion(small_encoder(), data, data, replace(SETTINGS, epochs=0), tmp_path)
    with pytest.raises(InputError, match="too few for a triplet"):
        train_fusion(small_encoder(), world(2, seed=1), data, SETTINGS, tmp_path)
    with pytest.raises(InputError, match="lower learning rate"):
        vectors = np.full_like(data.vectors, np.nan)
        train_fusion(small_encoder(), replace(data, vectors=vectors), data, SETTINGS, tmp_path)


def test_relations_are_those_of_sets() -> None:
    keywords = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    photos = np.array([0, 1, 2, 3, 4, 4])
    words = [set(np.flatnonzero(row)) for row in keywords]
    positives, negatives = relations(keywords, photos, shared=2)
    for i in range(6):
        for j in range(6):
            common = len(words[i] & words[j])
            assert positives[i, j] == (i != j and (common >= 2 or photos[i] == photos[j]))
            assert negatives[i, j] == bool(words[i] and words[j] and common == 0)


def test_those_that_share_more_keep_negatives_farther_away(tmp_path: Path) -> None:
    asked, weights = [], np.linspace(0.5, 2.0, KEYWORDS, dtype=np.float32)
    train, val = replace(world(60, 1), weights=weights), world(20, 2)

    def watched(keywords: np.ndarray, photos: np.ndarray, shared: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append([set(np.flatnonzero(row)) for row in keywords])
        return relations(keywords, photos, shared)

    def checked(vectors: torch.Tensor, *pairs: torch.Tensor) -> torch.Tensor:
        views, margins = asked[-1], pairs[-1]
        for a, first in enumerate(views):
            for b, second in enumerate(views):
                share = sum(weights[list(first & second)]) / sum(weights[list(first | second)])
                assert margins[a, b] == pytest.approx(SETTINGS.margin * share, abs=1e-6)
        return triplet_loss(vectors, *pairs)

    with patch.multiple(fusion_training, relations=watched, triplet_loss=checked):
        train_fusion(small_encoder(), train, val, replace(SETTINGS, epochs=1), tmp_path)
    assert asked


def test_triplets_are_as_promised() -> None:
    data = world(40, seed=3)
    captions = draw_triplets(data, 300, 2, seed=5)
    assert captions.shape == (300, 3) and len(np.unique(captions)) > 60
    anchor, positive, negative = data.owners[captions].T
    assert (anchor != positive).all()
    assert ((data.keywords[anchor] & data.keywords[positive]).sum(axis=1) >= 2).all()
    assert ((data.keywords[anchor] & data.keywords[negative]).sum(axis=1) == 0).all()
    np.testing.assert_array_equal(captions, draw_triplets(data, 300, 2, seed=5))
    np.testing.assert_array_equal(draw_triplets(data, 300, 3, seed=5), draw_triplets(data, 300, 9, seed=5))
    assert (captions != draw_triplets(data, 300, 2, seed=6)).any()


def test_photos_that_make_no_triplet_are_judged_by_all_else(tmp_path: Path) -> None:
    """A handful of validation photos may share nothing, or nothing but what all of them have."""
    train, few = world(40, seed=1), first_photos(world(40, seed=2), 3)
    alike = replace(few, keywords=np.tile(few.keywords[:1], (3, 1)))
    apart = replace(few, keywords=np.eye(3, KEYWORDS, dtype=bool))
    for name, val in {"alike": alike, "apart": apart}.items():
        with pytest.raises(InputError, match="no triplet can be drawn"):
            draw_triplets(val, 3, 2, seed=0)
        encoder, history = train_fusion(small_encoder(), train, val, replace(SETTINGS, epochs=2), tmp_path / name)
        assert all(np.isnan(epoch["triplet_accuracy_both"]) for epoch in history["epochs"])
        figures = evaluate(encoder, val, judging_triplets(val, 2, 0), 0)
        assert np.isnan(figures["triplet_accuracy_text"]) and figures["gallery"] == 3
        assert same_weights(encoder, load_fusion(tmp_path / name))
        if val is alike:  # every answer is right
            assert figures["ndcg_both_in_photo"] == pytest.approx(1)
        else:  # there is none to find, so nobody knows which epoch is the best
            assert np.isnan(figures["ndcg_both_in_photo"]) and history["best_epoch"] == 2


def test_triplet_accuracy_counts_the_closer_positives() -> None:
    views = np.array([[1.0, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    assert triplet_accuracy(views, np.array([[0, 1, 2], [0, 3, 2], [3, 2, 1], [1, 0, 0]])) == 0.5  # the last is a tie
    random = np.random.default_rng(0).normal(size=(80, 6))
    assert triplet_accuracy(random, draw_triplets(world(40, 3), 4000, 2, seed=0)) == pytest.approx(0.5, abs=0.06)


def test_a_search_never_compares_other_views_than_it_says() -> None:
    data = world(30, seed=4)
    encoder = small_encoder()
    views = embed_views(encoder, data)
    np.testing.assert_allclose(views["both"][7], encoder.embed(data.vectors[3:4], data.sentences[7:8])[0], atol=1e-6)
    np.testing.assert_allclose(views["photo"][7], encoder.embed(data.vectors[3:4])[0], atol=1e-6)
    np.testing.assert_allclose(views["text"][7], encoder.embed(None, data.sentences[7:8])[0], atol=1e-6)
    scores = search_scores(views, data.owners, seed=0)
    assert set(scores) == {"photo", "both"} and all(set(found) == set(MODES) for found in scores.values())
    alone = encoder.embed(data.vectors)
    np.testing.assert_allclose(scores["photo"]["photo"], alone @ alone.T, atol=1e-5)
    # A query's caption is one of the photo's own: every row is found among those of the photo's two captions.
    options = (views["text"] @ alone.T).reshape(30, 2, 30)
    assert np.abs(options - scores["photo"]["text"][:, None]).max(axis=2).min(axis=1).max() < 1e-5


def test_every_view_has_a_side_and_all_three_kinds_occur() -> None:
    has_photo, has_text = draw_sides(3000, 2 / 3, np.random.default_rng(0))
    assert (has_photo | has_text).all()
    for share in (has_photo & has_text, has_photo & ~has_text, ~has_photo & has_text):
        assert share.mean() == pytest.approx(1 / 3, abs=0.03)
    assert np.all(draw_sides(50, 0.0, np.random.default_rng(0)))
