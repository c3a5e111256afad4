"""Training: exact resume, publishing only at the end, augmentation, and that a tiny problem is learned."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data.manifest import ClassPhoto, Photo
from helpers.data.text import build_tokenizer
from helpers.encoders import training as module
from helpers.encoders.dual_encoder import WEIGHTS, DualEncoderConfig, EncoderPair, load_dual_encoder, new_pair
from helpers.encoders.training import (
    EncoderSettings,
    PairData,
    TextDraw,
    augment,
    caption_pairs,
    class_pairs,
    evaluate,
    train_dual_encoder,
)
from helpers.features.rows import Views
from helpers.files import CHECKPOINT, InputError
from helpers.training import loop
from helpers.training.checkpoints import load_checkpoint, save_checkpoint

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "white": (240, 240, 240)}
PUBLISHED = {WEIGHTS, "checksums.json", "config.json", "tokenizer.json", "history.json", "finished.json"}


def small_pair() -> EncoderPair:
    tokenizer = build_tokenizer("word", [f"a {colour} square" for colour in COLOURS] + ["something coloured"])
    config = DualEncoderConfig(tokenizer.vocab_size, photo_size=32, channels=(8, 8, 8, 8), lstm_width=8, embedding=8)
    return new_pair(config, tokenizer, seed=0)


def coloured_squares(pair: EncoderPair, count: int, seed: int) -> PairData:
    """`count` noisy photos a colour; the colour is the class, with two descriptions."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), count)
    pixels = np.array(list(COLOURS.values()))[groups][:, None, None] + rng.normal(0, 20, (4 * count, 32, 32, 3))
    tokens = pair.tokens([text for colour in COLOURS for text in (f"a {colour} square", colour)])
    return PairData(pixels.clip(0, 255).astype(np.uint8), tokens, groups, np.repeat(np.arange(4), 2), by_class=True)


SETTINGS = EncoderSettings(epochs=4, batch=8, colour=0.1, learning_rate=3e-3)


def same_weights(first: EncoderPair, second: EncoderPair) -> bool:
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_colours_are_learned_and_published(tmp_path: Path) -> None:
    pair = small_pair()
    train, val = coloured_squares(pair, 12, seed=1), coloured_squares(pair, 5, seed=2)
    before = evaluate(pair.model, val)["map"]
    fresh = small_pair()
    best, history = train_dual_encoder(pair, train, val, replace(SETTINGS, epochs=20), tmp_path)
    after = evaluate(best.model, val)
    assert before < 0.8
    assert same_weights(pair, fresh)  # a cell that trains can be run again
    assert after["map"] > 0.95
    assert after["t2i_p5"] > 0.95
    assert {path.name for path in tmp_path.iterdir()} == PUBLISHED
    assert json.loads((tmp_path / "history.json").read_text()) == history
    assert history["epochs"][history["best_epoch"] - 1]["map"] == pytest.approx(after["map"])
    assert history["train_seconds"] > 0
    assert history["parameters"] == sum(p.numel() for p in best.model.parameters())
    loaded = load_dual_encoder(tmp_path)
    assert same_weights(loaded, best)
    assert loaded.model.config.temperature != 0.07


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, muon=True)])
def test_a_killed_run_continues_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: EncoderSettings
) -> None:
    train, val = coloured_squares(small_pair(), 6, seed=1), coloured_squares(small_pair(), 3, seed=2)
    whole, history = train_dual_encoder(small_pair(), train, val, settings, tmp_path / "whole")

    def killed(path: Path, fingerprint: str, state: dict) -> None:
        save_checkpoint(path, fingerprint, state)
        if len(state["epochs"]) == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_checkpoint", killed)
        train_dual_encoder(small_pair(), train, val, settings, folder)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT]  # nothing half-trained is published
    torch.rand(7)  # the resumed process has another random state
    continued, again = train_dual_encoder(small_pair(), train, val, settings, folder)
    assert same_weights(continued, whole)
    assert [row["train_loss"] for row in again["epochs"]] == [row["train_loss"] for row in history["epochs"]]


def test_coming_back_loads_what_is_finished_by_the_same_code(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = coloured_squares(small_pair(), 6, seed=1), coloured_squares(small_pair(), 3, seed=2)
    once, history = train_dual_encoder(small_pair(), train, val, SETTINGS, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "run_epoch", None)  # training again would be an error
        again, same = train_dual_encoder(small_pair(), train, val, SETTINGS, tmp_path)
    assert "not trained again" in capsys.readouterr().out
    assert same == history and same_weights(again, once) and again.model.config == once.model.config
    assert not again.model.training
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    # Weights from elsewhere, or other code, are not what this run made.
    marked = json.loads((tmp_path / "finished.json").read_text())
    for change in ({"weights": "0" * 12}, {"code": "0" * 12}):
        (tmp_path / "finished.json").write_text(json.dumps(marked | change))
        train_dual_encoder(small_pair(), train, val, SETTINGS, tmp_path)
        assert "not trained again" not in capsys.readouterr().out


def test_other_words_with_the_same_ids_are_another_training(tmp_path: Path) -> None:
    data = [coloured_squares(small_pair(), count, seed=count) for count in (3, 2)]
    for red in ("red", "rouge"):
        tokenizer = build_tokenizer("word", [f"a {colour} square" for colour in ("blue", red, "white")])
        pair = new_pair(replace(small_pair().model.config, vocab_size=tokenizer.vocab_size), tokenizer, seed=0)
        assert pair.tokens([red]).tolist() == [[1, 7, 2]]
        for part in data:
            part.texts[:] = 7
        train_dual_encoder(pair, *data, replace(SETTINGS, epochs=1), tmp_path)
        assert load_dual_encoder(tmp_path).tokens([red]).tolist() == [[1, 7, 2]]


def test_the_views_of_every_photo_tell_trainings_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(module, "finished_history", lambda _, run: runs.append(run) or 1 / 0)
    for change in (0, 0, 1):
        seen, numbers = np.zeros((110, 7), np.float32), np.arange(110)
        seen[1] += change
        data = PairData(Views([seen]), np.ones((110, 2), np.int64), numbers, numbers, by_class=False)
        with pytest.raises(ZeroDivisionError):
            train_dual_encoder(small_pair(), data, data, SETTINGS, tmp_path)
    assert runs[0] == runs[1] != runs[2]


def test_a_checkpoint_of_another_run_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pair = small_pair()
    data = coloured_squares(pair, 4, seed=1)
    save_checkpoint(tmp_path / CHECKPOINT, "another run", {"epochs": []})
    train_dual_encoder(pair, data, data, replace(SETTINGS, epochs=1), tmp_path)
    assert "other settings or data" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == PUBLISHED | {f"{CHECKPOINT}.old"}


def test_a_torn_checkpoint_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, "run", {"epochs": [], "model": torch.zeros(1000)})
    assert load_checkpoint(path, "run")["model"].shape == (1000,)
    whole = path.read_bytes()
    forgotten = bytearray(whole)
    forgotten[len(whole) // 2] ^= 1  # among the numbers of the model, where any would do
    for content in (b"", whole[:2000], b"not a checkpoint", bytes(forgotten)):
        path.write_bytes(content)
        assert load_checkpoint(path, "run") is None
        assert "cannot be read" in capsys.readouterr().out
        assert not path.exists()


def test_training_continues_from_a_published_model(tmp_path: Path) -> None:
    pair = small_pair()
    train, val = coloured_squares(pair, 12, seed=1), coloured_squares(pair, 5, seed=2)
    train_dual_encoder(pair, train, val, replace(SETTINGS, epochs=20), tmp_path)
    first = load_dual_encoder(tmp_path)
    settings = replace(SETTINGS, epochs=1, learning_rate=1e-4)
    _, history = train_dual_encoder(first, train, val, settings, tmp_path)
    assert history["epochs"][0]["map"] > 0.9  # it did not start again


def test_a_diverging_run_stops_with_a_sentence(tmp_path: Path) -> None:
    pair = small_pair()
    with torch.no_grad():
        pair.model.text.project.weight.fill_(torch.nan)
    data = coloured_squares(pair, 4, seed=1)
    with pytest.raises(InputError, match="lower learning rate"):
        train_dual_encoder(pair, data, data, SETTINGS, tmp_path)
    wild = replace(SETTINGS, muon=True, learning_rate=1e30)
    with pytest.raises(InputError, match="lower learning rate"):
        train_dual_encoder(small_pair(), data, data, wild, tmp_path / "wild")


def test_photos_of_a_class_and_captions_become_groups(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.png")
    pair = small_pair()
    photos = [
        Photo("1", tmp_path / "red.png", ("a red square", "red"), "train"),
        Photo("2", tmp_path / "blue.png", ("a blue square",), "train"),
    ]
    data = caption_pairs(photos, pair)
    assert not data.by_class
    assert data.photos.shape == (2, 32, 32, 3)
    assert data.text_groups.tolist() == [0, 0, 1]
    class_photos = [ClassPhoto(name, tmp_path / f"{name}.png", name[0], "train") for name in ("red", "blue", "red")]
    data = class_pairs(class_photos, {"b": ["blue"], "r": ["red", "a red square"]}, pair)
    assert data.by_class
    assert data.photo_groups.tolist() == [1, 0, 1]
    assert data.text_groups.tolist() == [0, 1, 1]


def test_a_class_of_one_photo_is_still_a_class() -> None:
    pair = small_pair()
    data = coloured_squares(pair, 1, seed=1)
    few = replace(data, photos=data.photos[:2], photo_groups=data.photo_groups[:2])
    mixed = replace(data, photos=data.photos[::-1].copy(), photo_groups=data.photo_groups[::-1])
    for one in (data, few, mixed):
        assert evaluate(pair.model, one)["gallery"] == len(one.photos)
    assert evaluate(pair.model, data)["map"] == pytest.approx(evaluate(pair.model, mixed)["map"])


def test_texts_are_drawn_from_the_photos_own() -> None:
    owners = np.array([2, 0, 1, 0, 2, 2, 1])
    draw = TextDraw(owners)
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 500)
    rows = draw(groups, rng)
    assert (owners[rows] == groups).all()
    assert set(rows) == set(range(7))


def test_augmentation_off_is_the_photo_or_its_mirror_image() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (16, 8, 8, 3), dtype=torch.uint8)
    found = augment(pixels, EncoderSettings(epochs=1, turn=0, zoom=0, colour=0))
    mirrored = 0
    for before, after in zip(pixels.float(), found, strict=True):
        is_mirror = torch.allclose(after, before.flip(1), atol=0.01)
        assert is_mirror or torch.allclose(after, before, atol=0.01)
        mirrored += is_mirror
    assert 0 < mirrored < 16


def test_photos_turn_by_no_more_than_the_limit() -> None:
    torch.manual_seed(0)
    gradient = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None] * 15, (16, 16, 3)).copy()
    found = augment(torch.from_numpy(gradient)[None].repeat(64, 1, 1, 1), EncoderSettings(1, turn=20, zoom=0, colour=0))
    # The middle stays; the turn tilts the gradient by at most 20 degrees either way.
    centre = found[:, 4:12, 4:12, 0]
    down = centre.diff(dim=1).mean(dim=(1, 2))
    across = centre.diff(dim=2).mean(dim=(1, 2))
    angles = torch.rad2deg(torch.atan2(across, down))
    assert angles.abs().max() < 21
    assert angles.max() > 10
    assert angles.min() < -10


def test_photos_are_turned_and_not_sheared() -> None:
    """A disc, off its middle, stays one: as wide as it is high, whichever way it is mirrored and turned."""
    torch.manual_seed(0)
    down, across = np.mgrid[:64, :64]
    disc = np.repeat((((down - 31.5) ** 2 + (across - 31.5) ** 2) < 400)[..., None] * np.uint8(255), 3, axis=2)
    found = augment(torch.from_numpy(disc)[None].repeat(32, 1, 1, 1), EncoderSettings(1, turn=40, zoom=0, colour=0))
    for mask in found[..., 0].numpy():
        rows, columns = np.nonzero(mask > 128)
        spread = np.cov(rows, columns)
        assert spread[0, 0] == pytest.approx(spread[1, 1], rel=0.05) and abs(spread[0, 1]) < 0.05 * spread[0, 0]


def test_colours_stay_in_range_and_differ_by_photo() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8).repeat(8, 1, 1, 1)
    found = augment(pixels, EncoderSettings(1, colour=0.5))
    assert found.min() >= 0
    assert found.max() <= 255
    assert found.mean(dim=(1, 2, 3)).std() > 5
