"""Training, decoding and looking on a GPU give what they give on the processor, and leave nothing behind there."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_captioners import KINDS, SETTINGS, prepared

from helpers import devices
from helpers.captioning.captioner import LIKELIHOOD, WEIGHTS, load_captioner
from helpers.captioning.decoding import sample
from helpers.captioning.ensemble import ensemble
from helpers.captioning.training import train_captioner
from helpers.data.manifest import Photo
from helpers.data.text import build_tokenizer
from helpers.devices import CPU, device_of
from helpers.encoders.dual_encoder import DualEncoderConfig, EncoderPair, load_dual_encoder, new_pair
from helpers.encoders.fusion import FusionConfig, load_fusion, new_fusion
from helpers.encoders.fusion_training import FusionData, FusionSettings, train_fusion
from helpers.encoders.pretrained import PretrainedConfig, PretrainedEncoder, PretrainedPair, ViewData
from helpers.encoders.training import EncoderSettings, PairData, train_dual_encoder
from helpers.features.backbones import load_backbone
from helpers.features.store import extract_features, load_features, photo_features
from helpers.files import CHECKPOINT, read_json
from helpers.search.consensus import drawn_captions
from helpers.search.reranking import pair_log_likelihoods
from helpers.training import loop

Train = Callable[[Path], Any]  # into a folder; the history
SHORT = replace(SETTINGS, epochs=1, self_critical_epochs=1, self_critical_captions=2)


def losses(history: Any) -> list[float]:
    epochs = history["epochs"] if isinstance(history, dict) else history
    # Of the weights halfway between both stages nothing was trained: what they make of the validation photos.
    return [epoch.get("train_loss", epoch.get("train_reward", epoch.get("val_loss"))) for epoch in epochs]


def on(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_chosen", device)


def all_on_cpu(path: Path) -> bool:
    """Whether a file of tensors was written from the processor, so that it loads where there is nothing else."""

    def tensors(part: Any) -> list[torch.Tensor]:
        parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return [part] if isinstance(part, torch.Tensor) else [one for some in parts for one in tensors(some)]

    found = tensors(torch.load(path, weights_only=True))  # without map_location: where they were
    return bool(found) and {tensor.device for tensor in found} == {CPU}


@pytest.mark.parametrize("kind", KINDS)
def test_a_captioner_learns_and_writes_as_on_the_processor(
    kind: str, gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, train, val = prepared(16, kind=kind, dropout=0.0)
    at_home = losses(train_captioner(captioner, train, val, SHORT, tmp_path / "cpu"))
    on(gpu, monkeypatch)
    captioner, train, val = prepared(16, kind=kind, dropout=0.0)
    assert losses(train_captioner(captioner, train, val, SHORT, tmp_path / "gpu")) == pytest.approx(at_home, rel=0.01)
    assert device_of(captioner.model).type == gpu.type
    assert all_on_cpu(tmp_path / "gpu" / WEIGHTS) and all_on_cpu(tmp_path / "gpu" / LIKELIHOOD)
    there = load_captioner(tmp_path / "gpu")
    on(CPU, monkeypatch)
    here = load_captioner(tmp_path / "gpu")
    assert (device_of(there.model).type, device_of(here.model)) == (gpu.type, CPU)

    seen = val.features(np.arange(4))
    texts, rows, columns = ["a dog on the sea", "a cat"], np.array([0, 1, 1]), np.array([0, 0, 1])
    for beam in (1, 2):
        there.beam = here.beam = beam
        assert there.texts(there.decode(seen)) == here.texts(here.decode(seen))
    drawn = [sample(one.model, torch.from_numpy(seen), one.rules, count=3, seed=4) for one in (there, here)]
    assert [one.tokens for one in drawn[0]] == [one.tokens for one in drawn[1]]
    maps = [one.attention for one in there.decode(seen)]
    assert (maps[0] is None) == (kind == "lstm") and all(one is None or one.device == CPU for one in maps)
    likely = [pair_log_likelihoods(one, seen, texts, rows, columns) for one in (there, here)]
    np.testing.assert_allclose(*likely, rtol=1e-3)
    assert drawn_captions(there, seen, 2) == drawn_captions(here, seen, 2)


def test_captioners_write_together(gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(gpu, monkeypatch)
    captioners = []
    for kind in ("attention", "transformer"):
        captioner, train, val = prepared(16, kind=kind)
        train_captioner(captioner, train, val, replace(SHORT, self_critical_epochs=0), tmp_path / kind)
        captioners.append(captioner)
    seen = val.features(np.arange(4))
    there = ensemble(captioners)
    texts = there.texts(there.decode(seen))
    on(CPU, monkeypatch)
    here = ensemble([load_captioner(tmp_path / kind) for kind in ("attention", "transformer")])
    assert here.texts(here.decode(seen)) == texts


def squares(pair: EncoderPair, count: int, seed: int) -> PairData:
    """Noisy photos of four colours, which are their classes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), count)
    pixels = 60 * groups[:, None, None, None] + rng.integers(0, 60, (4 * count, 32, 32, 3))
    tokens = pair.tokens(["red", "a green square", "blue", "a white square"])
    return PairData(pixels.astype(np.uint8), tokens, groups, np.arange(4), by_class=True)


def dual_encoder() -> Train:
    tokenizer = build_tokenizer("word", ["a red green blue white square"])
    config = DualEncoderConfig(
        tokenizer.vocab_size, photo_size=32, channels=(8, 8, 8, 8), lstm_width=8, embedding=8, dropout=0.0
    )
    pair = new_pair(config, tokenizer, seed=0)
    settings = EncoderSettings(epochs=2, batch=8)
    return lambda folder: train_dual_encoder(pair, squares(pair, 6, 1), squares(pair, 3, 2), settings, folder)[1]


def fusion() -> Train:
    def world(count: int, seed: int) -> FusionData:
        rng = np.random.default_rng(seed)
        keywords = rng.random((count, 8)).argsort(axis=1) < 2
        owners = np.repeat(np.arange(count), 2)
        vectors, sentences = keywords @ rng.normal(size=(8, 20)), keywords[owners] @ rng.normal(size=(8, 512))
        weights = np.ones(8, np.float32)
        return FusionData(vectors.astype(np.float32), sentences.astype(np.float32), owners, keywords, weights)

    config = FusionConfig("efficientnet_lite0", 20, side=32, embedding=16, photo_dropout=0.0, dropout=0.0)
    encoder, settings = new_fusion(config, world(60, 1).vectors, 0), FusionSettings(epochs=2, batch=16)
    return lambda folder: train_fusion(encoder, world(60, 1), world(40, 2), settings, folder)[1]


def towers() -> Train:
    def views(count: int, seed: int) -> ViewData:
        rng = np.random.default_rng(seed)
        photos, texts = rng.normal(size=(count, 2, 20)), rng.normal(size=(count, 16))
        numbers = np.arange(count)
        return ViewData(photos.astype(np.float32), texts.astype(np.float32), numbers, numbers, by_class=False)

    torch.manual_seed(0)
    pair = PretrainedPair(PretrainedEncoder(PretrainedConfig("efficientnet_lite0", 20, "use", 16, 32, 0.0)), None)
    settings = EncoderSettings(epochs=2, batch=16)
    return lambda folder: train_dual_encoder(pair, views(64, 1), views(20, 2), settings, folder)[1]


def captioner() -> Train:
    made, train, val = prepared(16, kind="attention", dropout=0.0)
    return lambda folder: train_captioner(made, train, val, SHORT, folder)


TRAININGS = {"dual": dual_encoder, "fusion": fusion, "towers": towers, "captioner": captioner}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_that_stops_goes_on_on_the_other_device(
    name: str, gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = TRAININGS[name]
    whole = losses(begin()(tmp_path / "whole"))
    module = loop if name != "captioner" else __import__("helpers.captioning.training", fromlist=["training"])
    save = module.save_checkpoint
    for first, second in ((CPU, gpu), (gpu, CPU)):
        folder = tmp_path / first.type

        def save_and_stop(*state: Any) -> None:
            save(*state)
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "save_checkpoint", save_and_stop)
        on(first, monkeypatch)
        with suppress(KeyboardInterrupt):
            begin()(folder)
        assert all_on_cpu(folder / CHECKPOINT)
        monkeypatch.setattr(module, "save_checkpoint", save)
        on(second, monkeypatch)
        assert losses(begin()(folder)) == pytest.approx(whole, rel=0.01)
        assert not list(folder.glob("*.old"))
        # A finished training is loaded, wherever it was.
        on(first, monkeypatch)
        assert losses(begin()(folder)) == pytest.approx(whole, rel=0.01)
        assert read_json(folder / "history.json")
    on(gpu, monkeypatch)
    if name == "dual":
        pair = load_dual_encoder(tmp_path / "cpu")
        assert device_of(pair.model).type == gpu.type
        assert pair.embed_texts(["red"]).shape == pair.embed_photos(squares(pair, 1, 3).photos[:1]).shape == (1, 8)
    if name == "fusion":
        encoder = load_fusion(tmp_path / "cpu")
        assert device_of(encoder.model).type == gpu.type
        assert encoder.embed(np.ones((3, 20), np.float32)).shape == (3, 16)


def test_photos_are_seen_as_in_openvino(gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).resize((320, 320), Image.Resampling.BICUBIC).save(path)
        photos.append(Photo(path.name, path, ("a dog",), "train"))
    backbone = load_backbone("efficientnet_lite0")
    here = extract_features(photos, backbone, tmp_path / "cpu")
    on(gpu, monkeypatch)
    there = extract_features(photos, backbone, tmp_path / "gpu")
    for one, other in ((here.vectors, there.vectors), (here.grid[:], there.grid[:])):
        one, other = one.reshape(len(photos), -1).astype(float), other.reshape(len(photos), -1).astype(float)
        assert (one * other).sum(1) == pytest.approx(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-4)
    engines = [read_json(tmp_path / name / "efficientnet_lite0_grid.json")["engine"] for name in ("cpu", "gpu")]
    assert engines[0].startswith("OpenVINO") and engines[1].endswith(f"on {gpu.type}")
    # What was seen elsewhere is not seen again.
    monkeypatch.setattr("helpers.features.store._fill", None)
    assert np.array_equal(extract_features(photos, backbone, tmp_path / "cpu").vectors, here.vectors)
    vector, grid = photo_features(backbone.to(gpu), np.zeros((320, 320, 3), np.uint8))
    assert (vector.shape, grid.shape) == ((1280,), (49, 1280))
    assert load_features(tmp_path / "gpu", "efficientnet_lite0").ids == [photo.id for photo in photos]
