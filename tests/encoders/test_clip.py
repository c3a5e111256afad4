"""CLIP as a pair: against the library's own way to compare photos and texts, with tiny random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.encoders.clip import MEAN, STD, load_clip
from helpers.environment import prepare_torchvision
from helpers.files import InputError


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare_torchvision()
    from transformers import BertTokenizer, CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs", "boat", "on", "the", "lake"]
    BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": len(words), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    vision = small | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    return folder


def test_cosines_are_those_of_the_library(tiny_clip: Path) -> None:
    pair = load_clip(str(tiny_clip))
    assert pair.photo_size == 32
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    texts = ["a dog runs", "a boat on the lake"]
    normal = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(
        STD
    )[:, None, None]
    with torch.inference_mode():
        found = pair.model(**pair.tokenizer(texts, padding=True, return_tensors="pt"), pixel_values=normal)
        cosines = found.logits_per_image / pair.model.logit_scale.exp()
    np.testing.assert_allclose(pair.embed_photos(pixels) @ pair.embed_texts(texts).T, cosines, atol=1e-4)


def test_weights_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"could not be loaded .*compare_with_clip=False"):
        load_clip(str(tmp_path / "nothing"))
