"""A saved captioner is the same captioner when loaded, and damage is named."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.artefacts import seal
from helpers.captioning.captioner import Captioner, features_of, load_captioner, new_captioner, save_captioner
from helpers.data.text import build_tokenizer
from helpers.environment import resident_memory
from helpers.features.backbones import load_backbone
from helpers.features.store import Features
from helpers.files import InputError, read_json, write_json

CAPTIONS = ["a red dog runs on the grass", "a blue cat sleeps", "two birds fly over the sea"]


@pytest.fixture
def captioner() -> Captioner:
    tokenizer = build_tokenizer("word", CAPTIONS)
    return new_captioner("lstm", tokenizer, 1280, "efficientnet_lite0", 12, beam=3, embedding=8, hidden=16)


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 1280)).astype(np.float32)


def test_a_loaded_captioner_writes_the_same_captions(captioner: Captioner, tmp_path: Path) -> None:
    save_captioner(tmp_path, captioner, [{"epoch": 1, "cider_d": 2.0}])
    loaded = load_captioner(tmp_path)
    assert (loaded.backbone, loaded.max_length, loaded.beam, loaded.length_power) == ("efficientnet_lite0", 12, 3, 0.7)
    before, after = captioner.decode(vectors(5)), loaded.decode(vectors(5))
    assert [c.tokens for c in before] == [c.tokens for c in after]
    assert [c.score for c in before] == [c.score for c in after]
    assert captioner.texts(before) == loaded.texts(after)


def test_the_batch_size_of_decoding_does_not_matter(captioner: Captioner) -> None:
    whole, parts = captioner.decode(vectors(7)), captioner.decode(vectors(7), batch=3)
    assert [c.tokens for c in whole] == [c.tokens for c in parts]


def test_dropout_is_off_when_decoding(captioner: Captioner) -> None:
    captioner.model.train()
    first = captioner.decode(vectors(5))
    captioner.model.train()
    assert [c.tokens for c in captioner.decode(vectors(5))] == [c.tokens for c in first]


def test_one_call_captions_a_file_or_an_image(captioner: Captioner, tmp_path: Path) -> None:
    backbone = load_backbone("efficientnet_lite0", random_seed=0)
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    text = captioner.caption(tmp_path / "photo.png", backbone)
    assert text and set(text.split()) <= set(" ".join(CAPTIONS).split())
    assert captioner.caption(str(tmp_path / "photo.png"), backbone) == text
    assert captioner.caption(Image.fromarray(pixels).convert("RGBA"), backbone) == text


def test_the_seed_alone_decides_the_first_weights(captioner: Captioner) -> None:
    tokenizer = captioner.tokenizer
    torch.rand(3)

    def first(seed: int) -> torch.Tensor:
        return new_captioner("lstm", tokenizer, 4, "vgg16", 9, seed=seed).model.output.weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("name", ["weights.pt", "config.json", "tokenizer.json"])
def test_a_missing_or_torn_file_is_an_input_error(captioner: Captioner, tmp_path: Path, name: str) -> None:
    save_captioner(tmp_path, captioner, [])
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"train|run"):
        load_captioner(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"train|run"):
        load_captioner(tmp_path)


def test_files_of_two_trainings_are_not_mixed(captioner: Captioner, tmp_path: Path) -> None:
    save_captioner(tmp_path / "one", captioner, [])
    other = new_captioner("lstm", captioner.tokenizer, 1280, "efficientnet_lite0", 12, seed=7, embedding=8, hidden=16)
    save_captioner(tmp_path / "two", other, [])
    (tmp_path / "two" / "weights.pt").replace(tmp_path / "one" / "weights.pt")
    with pytest.raises(InputError, match=r"weights\.pt is not as it was written: it is damaged, or from another run"):
        load_captioner(tmp_path / "one")


def test_weights_for_likelihoods_are_kept_beside_those_for_captions(captioner: Captioner, tmp_path: Path) -> None:
    other = new_captioner("lstm", captioner.tokenizer, 1280, "efficientnet_lite0", 12, seed=7, embedding=8, hidden=16)
    save_captioner(tmp_path, captioner, [], likelihood=other.model.state_dict())
    assert torch.equal(load_captioner(tmp_path).model.output.weight, captioner.model.output.weight)
    assert torch.equal(load_captioner(tmp_path, likelihood=True).model.output.weight, other.model.output.weight)
    (tmp_path / "likelihood.pt").write_bytes((tmp_path / "weights.pt").read_bytes())
    with pytest.raises(InputError, match=r"likelihood\.pt is not as it was written"):
        load_captioner(tmp_path, likelihood=True)
    save_captioner(tmp_path, captioner, [])  # trained again, without the second stage
    assert not (tmp_path / "likelihood.pt").exists()
    assert torch.equal(load_captioner(tmp_path, likelihood=True).model.output.weight, captioner.model.output.weight)


def test_unknown_kind_and_missing_grid_are_named(captioner: Captioner) -> None:
    with pytest.raises(InputError, match="no captioner 'gru'"):
        new_captioner("gru", captioner.tokenizer, 4, "vgg16", 9)
    features = Features(["a", "b"], vectors(2), None)
    assert features_of("lstm", features) is features.vectors
    np.testing.assert_array_equal(captioner.features(features, ["b", "a"]), features.vectors[::-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beam": 10**9}, r"beam: Input should be less than or equal to 1024"),
        ({"beam": "5"}, r"beam: Input should be a valid integer"),
        ({"max_length": -1}, r"max_length: Input should be greater than"),
        ({"length_power": "high"}, r"length_power: Input should be a valid number"),
        ({"kind": "gru"}, r"config\.json cannot be used"),
        ({"kind": None}, r"config\.json cannot be used"),
        ({"model": []}, r"lstm\.model: Input should be an object"),
        ({"model": {"vocab_size": 13}}, r"lstm\.model\.feature_width: Field required"),
        ({"backbone": 7}, r"backbone: Input should be a valid string"),
    ],
)
def test_settings_of_another_type_or_size_are_one_sentence(
    captioner: Captioner, tmp_path: Path, change: dict, said: str
) -> None:
    save_captioner(tmp_path, captioner, [])
    write_json(tmp_path / "config.json", read_json(tmp_path / "config.json") | change)
    seal(tmp_path, "config.json")
    with pytest.raises(InputError, match=said):
        load_captioner(tmp_path)


@pytest.mark.parametrize("width", [2**15, 2**17])
def test_a_model_larger_than_its_weights_uses_no_memory(captioner: Captioner, tmp_path: Path, width: int) -> None:
    save_captioner(tmp_path, captioner, [])
    config = read_json(tmp_path / "config.json")
    config["model"] |= {"hidden": width, "embedding": width}  # tens of gigabytes, or more than there can be
    write_json(tmp_path / "config.json", config)
    seal(tmp_path, "config.json")
    before = resident_memory(os.getpid())
    with pytest.raises(InputError, match=r"cannot be loaded \(its settings ask for"):
        load_captioner(tmp_path)
    assert resident_memory(os.getpid()) - before < 2**27


def test_a_good_captioner_is_not_to_be_trained_again_where_memory_is_short(
    captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    save_captioner(tmp_path, captioner, [])
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(InputError, match=r"weights\.pt could not be loaded \(MemoryError\) .* free some memory"):
        load_captioner(tmp_path)


def test_a_vocabulary_of_another_model_is_noticed(captioner: Captioner, tmp_path: Path) -> None:
    save_captioner(tmp_path, captioner, [])
    build_tokenizer("word", CAPTIONS[:2]).save(tmp_path)  # and seals it
    with pytest.raises(InputError, match=r"has 14 entries and the model beside it knows 19"):
        load_captioner(tmp_path)


def test_a_captioner_of_an_earlier_version_is_understood(captioner: Captioner, tmp_path: Path) -> None:
    save_captioner(tmp_path, captioner, [], likelihood=captioner.model.state_dict())
    config = read_json(tmp_path / "config.json") | {"weights": "0123456789ab", "likelihood": "ba9876543210"}
    write_json(tmp_path / "config.json", config)
    (tmp_path / "checksums.json").unlink()
    for likelihood in (False, True):
        loaded = load_captioner(tmp_path, likelihood)
        assert torch.equal(loaded.model.output.weight, captioner.model.output.weight)
