"""Training: the loss by hand, the batches, learning, early stopping, and exact continuation after SIGKILL."""

import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_captioners import KINDS, SETTINGS, photo_set, prepared

from helpers.captioning import training
from helpers.captioning.captioner import Captioner, load_captioner
from helpers.captioning.scoring import score_captions
from helpers.captioning.training import (
    CaptionData,
    CaptionTraining,
    batches,
    best_epoch,
    caption_data,
    caption_loss,
    padding_share,
    train_captioner,
)
from helpers.data.text import Tokenizer, build_tokenizer
from helpers.environment import project_root
from helpers.features.store import Features
from helpers.files import InputError


def test_loss_is_the_mean_cross_entropy_of_real_words() -> None:
    captioner, train, _ = prepared(6)
    model = captioner.model.eval()
    features, tokens = train.batch(np.arange(6))
    loss, words = caption_loss(model, features, tokens)
    log_probs = model(features, tokens[:, :-1]).log_softmax(2).detach().numpy()
    terms = [
        -log_probs[row, place, tokens[row, place + 1]]
        for row in range(len(tokens))
        for place in range(tokens.shape[1] - 1)
        if tokens[row, place + 1] != 0
    ]
    assert words == len(terms) == sum(len(caption.split()) + 1 for caption in cleaned(train))
    assert loss.item() == pytest.approx(np.mean(terms), rel=2e-2)  # bfloat16 where the processor has it
    smoothed, _ = caption_loss(model, features, tokens, label_smoothing=0.1)
    assert smoothed.item() > 0 and smoothed.item() != loss.item()


def cleaned(data: CaptionData) -> list[str]:
    return [caption.replace(" .", "") for captions in data.captions for caption in captions]


def test_a_photo_with_fewer_captions_is_filled_up_with_nothing_to_learn() -> None:
    captioner, train, _ = prepared(4)
    assert train.tokens.shape[1] == 3
    blank = train.tokens[0, 2]  # the first photo has two captions
    assert blank[0] == captioner.tokenizer.sos_id and not blank[1:].any()


def test_captions_stay_with_their_photo() -> None:
    captioner, train, _ = prepared(30)
    features, tokens = train.batch(np.array([7, 3, 21]))
    for place, photo in enumerate((7, 3, 21)):
        np.testing.assert_allclose(features[place], train.views[0][photo])
        texts = [captioner.tokenizer.decode(row.tolist()) for row in tokens[3 * place : 3 * place + 3]]
        assert [text for text in texts if text] == [text.replace(" .", "") for text in train.captions[photo]]


def test_padding_is_counted_and_sorting_by_length_saves_some_of_it() -> None:
    _, train, _ = prepared(200)
    sorted_parts = batches(train, 8, np.random.default_rng(3))
    by_chance = np.array_split(np.random.default_rng(3).permutation(200), len(sorted_parts))
    shares = []
    for parts in (sorted_parts, by_chance):
        tokens = [train.batch(part)[1] for part in parts]  # what is really trained on
        empty = sum(int((batch == 0).sum()) for batch in tokens) / sum(batch.numel() for batch in tokens)
        assert padding_share(train, parts) == pytest.approx(empty)
        shares.append(empty)
    assert 0 < shares[0] < shares[1]


def test_batches_hold_every_photo_once_and_similar_lengths_together() -> None:
    _, train, _ = prepared(50)
    parts = batches(train, 8, np.random.default_rng(3))
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    assert {len(part) for part in parts} == {7, 8}
    assert {len(part) for part in batches(train, 49, np.random.default_rng(3))} == {25}  # and not 49 and 1
    assert {len(part) for part in batches(prepared(49)[1], 2, np.random.default_rng(3))} == {2, 3}  # and none of one
    longest = (train.tokens != 0).sum(2).max(1)
    assert sum(len(set(longest[part])) for part in parts) < 2 * len(parts)
    again = batches(train, 8, np.random.default_rng(3))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_describe_unseen_photos_and_not_without_looking(kind: str, tmp_path: Path) -> None:
    rate = {"lstm": 2e-2, "attention": 1e-2, "transformer": 5e-3}[kind]
    settings = CaptionTraining(epochs=10, batch=8, learning_rate=rate, patience=10)
    captioner, train, val = prepared(100, kind, dropout=0)
    seen = train_captioner(captioner, train, val, settings, tmp_path / "seen")
    blind, train, val = prepared(100, kind, dropout=0)
    train.views[0][:] = 0
    val.views[0][:] = 0
    unseen = train_captioner(blind, train, val, settings, tmp_path / "blind")
    assert max(epoch["bleu_4"] for epoch in seen) > 70
    assert max(epoch["bleu_4"] for epoch in unseen) < 55
    assert max(epoch["cider_d"] for epoch in seen) > 1.5 * max(epoch["cider_d"] for epoch in unseen)


def test_the_published_captioner_is_the_best_epoch(tmp_path: Path) -> None:
    captioner, train, val = prepared()
    history = train_captioner(captioner, train, val, SETTINGS, tmp_path)
    best = history[best_epoch(history) - 1]
    loaded = load_captioner(tmp_path)
    assert training.validate(loaded, val)["cider_d"] == pytest.approx(best["cider_d"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checksums.json",
        "config.json", "finished.json", "history.json", "likelihood.pt", "tokenizer.json", "weights.pt",
    ]  # fmt: skip
    before = load_captioner(tmp_path, likelihood=True)  # the best of the first stage
    first = max(epoch["cider_d"] for epoch in history if epoch["stage"] == "cross-entropy")
    assert training.validate(before, val)["cider_d"] == pytest.approx(first)
    assert {"epoch", "train_loss", "val_loss", "cider_d", "tokens_per_second", "train_seconds"} <= set(history[0])
    assert [epoch["stage"] for epoch in history] == 3 * ["cross-entropy"] + 2 * ["self-critical"] + ["halfway"]
    assert {"train_reward", "val_loss", "cider_d", "train_seconds"} <= set(history[-2])
    assert {"val_loss", "cider_d", "train_seconds"} <= set(history[-1])


@pytest.mark.parametrize(("before", "after", "kept"), [(8.0, 8.5, 4), (8.0, 7.0, 3)])
def test_weights_halfway_between_the_stages_are_kept_where_they_write_best(
    before: float, after: float, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, states, tried = iter([5.0, 6.0, 7.0, 1.0]), [], []
    as_used = iter([before, after])

    def weights_of(captioner: Captioner) -> dict[str, np.ndarray]:
        return {name: weight.numpy().copy() for name, weight in captioner.model.state_dict().items()}

    def judged(captioner: Captioner, _: CaptionData) -> dict[str, float]:
        states.append(weights_of(captioner))
        return {"val_loss": 1.0, "bleu_4": 1.0, "cider_d": next(scores)}

    def decoded(captioner: Captioner, _: CaptionData) -> float:
        tried.append(weights_of(captioner))
        return next(as_used)

    monkeypatch.setattr(training, "validate", judged)
    monkeypatch.setattr(training, "cider_as_used", decoded)
    captioner, train, val = prepared(8)
    settings = CaptionTraining(epochs=2, batch=8, self_critical_epochs=1)
    history = train_captioner(captioner, train, val, settings, tmp_path)
    assert (len(history), best_epoch(history)) == (4, kept)
    for name, weight in tried[1].items():
        np.testing.assert_array_equal(tried[0][name], states[2][name])
        np.testing.assert_array_equal(weight, states[3][name])
        mean = np.mean([states[1][name], states[2][name]], axis=0)
        np.testing.assert_allclose(
            weight, mean if weight.dtype == np.float32 else states[2][name], rtol=1e-5, atol=1e-7
        )
    for name, weight in load_captioner(tmp_path).model.state_dict().items():
        np.testing.assert_array_equal(weight, states[kept - 1][name])
    for name, weight in load_captioner(tmp_path, likelihood=True).model.state_dict().items():
        np.testing.assert_array_equal(weight, states[1][name])


def test_captions_are_judged_as_they_are_decoded() -> None:
    captioner, _, val = prepared(8)
    captioner.beam = 3
    captions = captioner.texts(captioner.decode(val.features(np.arange(len(val.ids)))))
    truth = dict(zip(val.ids, val.captions, strict=True))
    expected = score_captions(dict(zip(val.ids, captions, strict=True)), truth)["cider_d"]
    assert training.cider_as_used(captioner, val) == pytest.approx(expected)


def test_coming_back_loads_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, train, val = prepared(8)
    history = train_captioner(captioner, train, val, SETTINGS, tmp_path)
    again, train, val = prepared(8)
    again.beam = 2
    with monkeypatch.context() as patch:
        patch.setattr(training, "_cross_entropy_epoch", None)  # training again would be an error
        assert train_captioner(again, train, val, SETTINGS, tmp_path) == history
    assert "not trained again" in capsys.readouterr().out
    pairs = zip(captioner.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and not again.model.training
    assert load_captioner(tmp_path).beam == 2  # how it decodes is no part of the training, and follows the settings
    assert history[-1]["decoding"] == "beam 5, length power 0.7"  # with which its figures were taken


def test_the_features_of_every_photo_tell_trainings_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(training, "finished_history", lambda _, run: runs.append(run) or 1 / 0)
    for change in (0, 0, 1):
        captioner, train, val = prepared(110)
        train.views[0][1] += change
        with pytest.raises(ZeroDivisionError):
            train_captioner(captioner, train, val, SETTINGS, tmp_path)
    assert runs[0] == runs[1] != runs[2]


def test_training_ends_when_captions_stop_getting_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([5.0, 9.0, 8.0, 9.0, 7.0, 99.0])
    monkeypatch.setattr(training, "validate", lambda *_: {"val_loss": 1.0, "bleu_4": 1.0, "cider_d": next(scores)})
    captioner, train, val = prepared(8)
    history = train_captioner(captioner, train, val, CaptionTraining(epochs=9, batch=8, patience=3), tmp_path)
    assert len(history) == 5 and best_epoch(history) == 2


def test_of_epochs_whose_captions_are_worth_the_same_the_one_with_the_lowest_loss_is_kept(tmp_path: Path) -> None:
    """A single photo's CIDEr-D is always 0: each of its words is in all photos there are."""
    captioner, train, val = prepared(40)
    one = CaptionData(val.ids[:1], val.views, val.rows[:1], val.tokens[:1], val.captions[:1])
    settings = CaptionTraining(epochs=8, batch=8, learning_rate=2e-2, patience=3)
    history = train_captioner(captioner, train, one, settings, tmp_path)
    losses = [epoch["val_loss"] for epoch in history]
    assert {epoch["cider_d"] for epoch in history} == {0.0}
    assert best_epoch(history) == 1 + int(np.argmin(losses)) > 1
    assert len(history) == min(8, best_epoch(history) + 3)


def test_a_loss_that_is_no_number_in_the_second_stage_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, steps = training.self_critical_loss, iter([1.0, math.nan])

    def torn(*arguments: Any) -> tuple[torch.Tensor, float]:
        loss, reward = whole(*arguments)
        return loss * next(steps), reward

    monkeypatch.setattr(training, "self_critical_loss", torn)
    with pytest.raises(InputError, match="no longer a number in self-critical epoch 1"):
        train_captioner(*prepared(16), CaptionTraining(epochs=1, batch=4, self_critical_epochs=1), tmp_path)


def test_a_loss_that_is_no_number_is_said_so(tmp_path: Path) -> None:
    captioner, train, val = prepared(8)
    train.views[0][0] = math.nan
    with pytest.raises(InputError, match="no longer a number"):
        train_captioner(captioner, train, val, SETTINGS, tmp_path)


def test_training_for_no_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 epochs"):
        train_captioner(*prepared(8), CaptionTraining(epochs=0, self_critical_epochs=2), tmp_path)


def test_no_photos_and_unknown_photos_are_named() -> None:
    _, features = photo_set(3)
    tokenizer: Tokenizer = build_tokenizer("word", ["a dog"])
    with pytest.raises(InputError, match="no photos"):
        caption_data("lstm", [], [features], tokenizer, 12)
    with pytest.raises(InputError, match="1-0"):
        caption_data("lstm", photo_set(1, seed=1)[0], [features], tokenizer, 12)


def test_training_photos_are_seen_in_all_their_views_and_others_as_they_are() -> None:
    photos, features = photo_set(6)
    mirrored = Features(features.ids, -features.vectors, -features.grid)
    tokenizer = build_tokenizer("word", [text for photo in photos for text in photo.captions])
    data = caption_data("lstm", photos, [features, mirrored], tokenizer, 12)
    np.testing.assert_allclose(data.features(np.arange(6)), features.vectors)
    rng = np.random.default_rng(0)
    drawn = np.stack([data.features(np.arange(6), rng) for _ in range(40)])  # (40, 6, D)
    signs = np.sign((drawn * features.vectors).sum(2))  # (40, 6): 1 as it is, -1 mirrored
    np.testing.assert_allclose(drawn, signs[:, :, None] * features.vectors)
    assert (np.abs(signs.mean(0)) < 0.6).all()  # each photo was seen in both ways


def interrupted(folder: Path, kind: str, epochs: int) -> None:
    """Train in a process of its own that SIGKILL ends right after the checkpoint of epoch `epochs`."""
    code = f"""
import os, signal, sys
sys.path[:0] = [{str(project_root())!r}, {str(Path(__file__).parents[1])!r}]
import torch
torch.set_num_threads({torch.get_num_threads()})
from pathlib import Path
from helpers.captioning import training
from small_captioners import SETTINGS, prepared
save = training.save_checkpoint
def save_then_die(path, run, state):
    save(path, run, state)
    if len(state["history"]) == {epochs}:
        os.kill(os.getpid(), signal.SIGKILL)
training.save_checkpoint = save_then_die
torch.rand(100)  # what else the process drew must not matter
training.train_captioner(*prepared(kind={kind!r}), SETTINGS, Path({str(folder)!r}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.parametrize(("kind", "epochs"), [("lstm", 1), ("lstm", 5), ("attention", 3), ("transformer", 4)])
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, kind: str, epochs: int, capsys: pytest.CaptureFixture
) -> None:
    whole, train, val = prepared(kind=kind)
    history = train_captioner(whole, train, val, SETTINGS, tmp_path / "whole")

    train_captioner(*prepared(hidden=24), SETTINGS, tmp_path / "killed")  # an older captioner, finished
    older = (tmp_path / "killed" / "weights.pt").read_bytes()
    interrupted(tmp_path / "killed", kind, epochs)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    assert (tmp_path / "killed" / "weights.pt").read_bytes() == older
    assert load_captioner(tmp_path / "killed").model.config.hidden == 24

    capsys.readouterr()
    torch.rand(5)
    resumed = train_captioner(*prepared(kind=kind), SETTINGS, tmp_path / "killed")
    assert f"continuing after epoch {epochs}" in capsys.readouterr().out
    for name in ("train_loss", "train_reward", "cider_d"):
        assert [epoch.get(name) for epoch in resumed] == [epoch.get(name) for epoch in history]
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()
    # The weights from before the self-critical stage too, in whichever stage it was killed.
    expected, found = (load_captioner(tmp_path / name, likelihood=True) for name in ("whole", "killed"))
    assert torch.equal(expected.model.words.weight, found.model.words.weight)


def test_a_stopped_training_with_a_frozen_weight_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def frozen() -> tuple[Captioner, CaptionData, CaptionData]:
        captioner, train, val = prepared(kind="attention")
        torch.nn.init.zeros_(captioner.model.energy.weight).requires_grad_(False)
        return captioner, train, val

    history = train_captioner(*frozen(), SETTINGS, tmp_path / "whole")
    for stopped in (2, 5):  # one in each stage
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            save = training.save_checkpoint

            def save_then_stop(path: Path, run: str, state: dict, stopped: int = stopped, save: Any = save) -> None:
                save(path, run, state)
                if len(state["history"]) == stopped:
                    raise KeyboardInterrupt

            patch.setattr(training, "save_checkpoint", save_then_stop)
            train_captioner(*frozen(), SETTINGS, tmp_path / "stopped")
    resumed = train_captioner(*frozen(), SETTINGS, tmp_path / "stopped")
    assert [epoch["cider_d"] for epoch in resumed] == [epoch["cider_d"] for epoch in history]
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not found["energy.weight"].any()
    thawed, train, val = frozen()
    thawed.model.requires_grad_(True)
    train_captioner(thawed, train, val, SETTINGS, tmp_path / "stopped")  # the same numbers, and another training
    assert weights(tmp_path / "stopped")["energy.weight"].any()


def test_a_checkpoint_of_another_run_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    captioner, train, val = prepared(8)
    train_captioner(captioner, train, val, SETTINGS, tmp_path / "expected")
    training.save_checkpoint(tmp_path / "checkpoint.pt", "another run", {"history": []})
    captioner, train, val = prepared(8)
    train_captioner(captioner, train, val, SETTINGS, tmp_path)
    assert "set aside" in capsys.readouterr().out
    assert (tmp_path / "checkpoint.pt.old").exists()
    expected, found = weights(tmp_path / "expected"), weights(tmp_path)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
