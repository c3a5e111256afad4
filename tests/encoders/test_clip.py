"""CLIP and its kin: against transformers' own processor and model, with tiny random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import SIDE, TEXTS, save_tiny_model

from helpers.encoders.clip import load_clip
from helpers.files import InputError

KINDS = ("clip", "siglip")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


def photos() -> list[Image.Image]:
    """Wide, high, small and square, of coarse blocks and of noise."""
    rng = np.random.default_rng(0)
    shapes = [(90, 160), (200, 50), (20, 31), (32, 32)]
    images = [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    coarse = Image.fromarray(rng.integers(0, 256, (3, 5, 3), dtype=np.uint8))
    return [*images, coarse.resize((250, 150), Image.Resampling.NEAREST)]


def own_vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of `photos` and TEXTS from transformers alone."""
    from transformers import AutoModel, AutoProcessor

    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    seen, read = [], []
    padding = "max_length" if model.config.model_type == "siglip" else False
    with torch.inference_mode():
        for photo in photos():
            pixels = processor.image_processor(images=photo, return_tensors="pt")
            seen.append(model.get_image_features(**pixels).pooler_output[0].numpy())
        for text in TEXTS:
            tokens = processor.tokenizer(text, padding=padding, max_length=20, return_tensors="pt")
            read.append(model.get_text_features(**tokens).pooler_output[0].numpy())
    return tuple(np.stack(part) / np.linalg.norm(part, axis=1, keepdims=True) for part in (seen, read))


def test_vectors_are_those_of_the_library_whatever_the_company(folder: Path) -> None:
    pair = load_clip(str(folder))
    assert pair.photo_size == SIDE
    squares = np.stack([pair.square(photo) for photo in photos()])
    assert squares.shape == (5, SIDE, SIDE, 3) and squares.dtype == np.uint8
    seen, read = own_vectors(folder)
    np.testing.assert_allclose(pair.embed_photos(squares), seen, atol=1e-5)
    np.testing.assert_allclose(pair.embed_texts(TEXTS), read, atol=1e-5)
    assert np.abs(seen[0] - seen[1]).max() > 0.01 and np.abs(read[0] - read[1]).max() > 0.01


def test_a_square_is_what_the_processor_makes_before_it_counts(folder: Path) -> None:
    pair = load_clip(str(folder))
    for photo in photos():
        whole = pair.preparation.image_processor(images=photo, return_tensors="pt")["pixel_values"][0]
        squares = torch.from_numpy(pair.square(photo)[None])
        np.testing.assert_allclose(pair.preparation(squares)[0], whole, atol=1e-5)


def test_the_fingerprint_is_that_of_the_weights(folder: Path, tmp_path: Path) -> None:
    first, again = load_clip(str(folder)), load_clip(str(folder))
    assert first.fingerprint == again.fingerprint
    other = load_clip(str(save_tiny_model("clip", tmp_path)))
    with torch.no_grad():
        next(iter(other.model.model.parameters())).add_(1)
    other.model.model.save_pretrained(tmp_path)
    assert load_clip(str(tmp_path)).fingerprint not in (first.fingerprint, other.fingerprint)


def test_a_blank_text_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="is blank"):
        load_clip(str(folder)).embed_texts(["a dog", " \n"])


def test_weights_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"could not be loaded: .*compare_with_clip=False"):
        load_clip(str(tmp_path / "nothing"))


def test_a_model_that_is_no_dual_encoder_is_named(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    save_tiny_model("clip", tmp_path)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=12, **small)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"BertModel\) is no dual encoder"):
        load_clip(str(tmp_path))
