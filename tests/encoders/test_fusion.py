"""Fusion model: a NumPy reference, missing sides, one artefact on disk, and bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.artefacts import seal
from helpers.encoders import fusion
from helpers.encoders.fusion import (
    Fusion,
    FusionConfig,
    FusionEncoder,
    embed_rows,
    load_fusion,
    new_fusion,
    save_fusion,
)
from helpers.encoders.sentence_encoder import sentence_vectors
from helpers.files import InputError

CONFIG = FusionConfig("efficientnet_lite0", photo_width=12, side=10, embedding=6)


def some_vectors(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, width)).astype(np.float32)


@pytest.fixture
def encoder() -> FusionEncoder:
    encoder = new_fusion(CONFIG, some_vectors(50, 12), seed=1)
    with torch.no_grad():  # as after a training
        encoder.model.no_photo.normal_()
        encoder.model.no_text.normal_()
    return encoder


def reference(model: Fusion, photos: np.ndarray | None, texts: np.ndarray | None) -> np.ndarray:
    """The model once more, in NumPy and row by row."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def side(name: str, row: np.ndarray) -> np.ndarray:
        return np.maximum(weights[f"{name}.weight"] @ row + weights[f"{name}.bias"], 0)

    rows = []
    for number in range(len(photos if photos is not None else texts)):
        photo, text = weights["no_photo"], weights["no_text"]
        if photos is not None:
            photo = side("photo", (photos[number] - weights["mean"]) / weights["deviation"])
        if texts is not None:
            text = side("text", texts[number])
        row = weights["join.weight"] @ np.concatenate([photo, text]) + weights["join.bias"]
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


@pytest.mark.parametrize("sides", ["both", "photo", "text"])
def test_vectors_equal_those_of_numpy(encoder: FusionEncoder, sides: str) -> None:
    photos = None if sides == "text" else some_vectors(7, 12, seed=2)
    texts = None if sides == "photo" else some_vectors(7, 512, seed=3) / 50
    found = encoder.embed(photos, texts, size=3)
    assert found.shape == (7, 6) and found.dtype == np.float32
    np.testing.assert_allclose(found, reference(encoder.model, photos, texts), atol=1e-5)
    np.testing.assert_allclose(found, embed_rows(encoder.model, photos, texts), atol=1e-6)


def test_what_a_missing_side_holds_does_not_count(encoder: FusionEncoder) -> None:
    photos, texts = torch.from_numpy(some_vectors(4, 12)), torch.from_numpy(some_vectors(4, 512))
    there, missing = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    with torch.no_grad():
        alone = encoder.model(photos, texts, there, missing)
        assert torch.equal(alone, encoder.model(photos, torch.full_like(texts, torch.nan), there, missing))
        assert not torch.allclose(alone, encoder.model(photos, texts, there, there))
        mixed = encoder.model(photos, texts, there, torch.tensor([True, False, True, False]))
        torch.testing.assert_close(mixed[1], alone[1])


def test_photos_are_standardised_by_those_of_the_training(encoder: FusionEncoder) -> None:
    vectors = some_vectors(50, 12)
    vectors[:, 4] = 2.5  # a number that never changes
    model = new_fusion(CONFIG, vectors, seed=1).model
    scaled = (torch.from_numpy(vectors) - model.mean) / model.deviation
    np.testing.assert_allclose(scaled.mean(dim=0), np.zeros(12), atol=1e-4)
    np.testing.assert_allclose(np.delete(scaled.std(dim=0, correction=0).numpy(), 4), np.ones(11), atol=1e-2)
    assert torch.isfinite(scaled).all()


def test_weights_depend_on_the_seed_alone() -> None:
    vectors = some_vectors(50, 12)
    first, again, other = (new_fusion(CONFIG, vectors, seed).model.join.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_photos_and_texts_as_people_give_them() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    encoder = new_fusion(replace(CONFIG, photo_width=1280), some_vectors(50, 1280), seed=1)
    with torch.inference_mode():
        seen = fusion._backbone("efficientnet_lite0")(torch.from_numpy(photos))[0].numpy()
    texts = ["A dog runs .", "two cats"]
    np.testing.assert_allclose(
        encoder.embed(photos, texts), encoder.embed(seen, sentence_vectors(texts, "use")), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(InputError, match="take"):
        FusionEncoder(Fusion(CONFIG)).embed(photos)


def test_what_cannot_be_embedded_is_named(encoder: FusionEncoder) -> None:
    with pytest.raises(InputError, match="nothing to embed"):
        encoder.embed()
    with pytest.raises(InputError, match="2 photos and 1 texts do not pair"):
        encoder.embed(some_vectors(2, 12), ["a dog"])
    with pytest.raises(InputError, match="have 9 numbers and the model takes the 12 of efficientnet_lite0"):
        encoder.embed(some_vectors(2, 9))


def test_one_call_saves_and_one_loads(encoder: FusionEncoder, tmp_path: Path) -> None:
    save_fusion(tmp_path, encoder)
    loaded = load_fusion(tmp_path)
    assert loaded.config == CONFIG and not loaded.model.training
    photos = some_vectors(3, 12, seed=4)
    np.testing.assert_array_equal(loaded.embed(photos), encoder.embed(photos))


def test_a_damaged_artefact_is_named(encoder: FusionEncoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run notebook 04b first"):
        load_fusion(tmp_path)
    save_fusion(tmp_path, encoder)
    weights = (tmp_path / fusion.WEIGHTS).read_bytes()
    (tmp_path / fusion.WEIGHTS).write_bytes(weights[:500])
    with pytest.raises(InputError, match=r"weights\.pt is not as it was written"):
        load_fusion(tmp_path)
    (tmp_path / fusion.WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"weights.pt does not exist"):
        load_fusion(tmp_path)
    save_fusion(tmp_path, new_fusion(replace(CONFIG, side=5), some_vectors(9, 12), seed=1))
    (tmp_path / fusion.WEIGHTS).write_bytes(weights)
    seal(tmp_path, fusion.WEIGHTS)
    with pytest.raises(InputError, match="does not hold a usable fusion model"):
        load_fusion(tmp_path)
