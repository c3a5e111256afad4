"""The towers: shapes, independence of padding and batch, and one artefact that loads as it was saved."""

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from helpers.artefacts import seal
from helpers.data.text import build_tokenizer
from helpers.encoders import dual_encoder
from helpers.encoders.dual_encoder import (
    WEIGHTS,
    DualEncoder,
    DualEncoderConfig,
    EncoderPair,
    in_batches,
    load_dual_encoder,
)
from helpers.files import InputError
from helpers.graphs import convert

TEXTS = ["a dog on the grass", "two horses run", "a cat", "the brown dog runs over the wide green grass"]


@pytest.fixture
def pair() -> EncoderPair:
    torch.manual_seed(0)
    tokenizer = build_tokenizer("word", TEXTS)
    config = DualEncoderConfig(tokenizer.vocab_size, photo_size=32, channels=(4, 8, 8, 16), lstm_width=8, embedding=12)
    return EncoderPair(DualEncoder(config).eval(), tokenizer)


def test_vectors_have_length_one(pair: EncoderPair) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    for vectors, count in ((pair.embed_photos(pixels), 5), (pair.embed_texts(TEXTS), 4)):
        assert vectors.shape == (count, 12)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_documented_widths() -> None:
    model = DualEncoder(DualEncoderConfig(vocab_size=100))
    convolutions = [layer for layer in model.image.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 256, 512]
    assert (model.text.words.embedding_dim, model.text.forward_lstm.hidden_size) == (128, 256)
    assert model.image.project.out_features == model.text.project.out_features == 256


def test_padding_changes_nothing(pair: EncoderPair) -> None:
    tokens = torch.from_numpy(pair.tokens(TEXTS))
    padded = torch.nn.functional.pad(tokens, (0, 9))
    with torch.no_grad():
        vectors = pair.model.encode_text(tokens)
        torch.testing.assert_close(pair.model.encode_text(padded), vectors)
        for row, text in enumerate(TEXTS):  # alone, without any padding
            alone = torch.tensor([pair.tokenizer.encode(text, 32)])
            torch.testing.assert_close(pair.model.encode_text(alone)[0], vectors[row])


def test_the_two_lstms_are_a_bidirectional_lstm(pair: EncoderPair) -> None:
    """Against PyTorch's own bidirectional LSTM on packed sequences."""
    tower = pair.model.text
    both = torch.nn.LSTM(128, 8, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name, weight in both.named_parameters():
            source = tower.backward_lstm if name.endswith("_reverse") else tower.forward_lstm
            weight.copy_(getattr(source, name.removesuffix("_reverse")))
        tokens = torch.from_numpy(pair.tokens(TEXTS))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            tower.words(tokens), (tokens != 0).sum(dim=1), batch_first=True, enforce_sorted=False
        )
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(both(packed)[0], batch_first=True, padding_value=-9)
        expected = torch.nn.functional.normalize(tower.project(output.amax(dim=1)), dim=1)
        torch.testing.assert_close(pair.model.encode_text(tokens), expected)


def test_word_order_matters(pair: EncoderPair) -> None:
    there, back = pair.embed_texts(["dog on grass", "grass on dog"])
    assert not np.allclose(there, back, atol=1e-3)


def test_openvino_takes_the_text_tower_at_any_shape(pair: EncoderPair) -> None:
    model = convert(pair.model, pair.model.encode_text, [torch.from_numpy(pair.tokens(TEXTS[:2]))])
    longer = torch.nn.functional.pad(torch.from_numpy(pair.tokens(TEXTS)), (0, 3))
    found = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(longer)[0]
    np.testing.assert_allclose(found, pair.embed_texts(TEXTS), atol=1e-5)


def test_saved_and_loaded_is_the_same(pair: EncoderPair, tmp_path: Path) -> None:
    pair.model.train()
    pixels = np.random.default_rng(1).integers(0, 256, (7, 32, 32, 3), np.uint8)
    pair.model.encode_image(torch.from_numpy(pixels))  # moves the running statistics
    pair.save(tmp_path)
    loaded = load_dual_encoder(tmp_path)
    assert loaded.photo_size == 32
    assert not loaded.model.training
    np.testing.assert_allclose(loaded.embed_photos(pixels), pair.embed_photos(pixels), atol=1e-6)
    np.testing.assert_allclose(loaded.embed_texts(TEXTS), pair.embed_texts(TEXTS), atol=1e-6)


def test_missing_torn_and_foreign_files_are_explained(pair: EncoderPair, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json does not exist"):
        load_dual_encoder(tmp_path)
    pair.save(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is not as it was written"):
        load_dual_encoder(tmp_path)
    torch.save({"other": torch.zeros(99_999)}, tmp_path / WEIGHTS)
    seal(tmp_path, WEIGHTS)
    with pytest.raises(InputError, match="usable dual encoder"):
        load_dual_encoder(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_dual_encoder(tmp_path)


@pytest.mark.parametrize(("width", "longest"), [(8, 128), (128, 8), (2000, 1)])
def test_fewer_rows_are_encoded_together_where_they_are_large(
    width: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dual_encoder, "_TOGETHER", 4096)
    rows = np.repeat(np.arange(130, dtype=np.float32)[:, None], width, axis=1)
    seen = []

    def first(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part[:, :1]

    np.testing.assert_array_equal(in_batches(nn.Linear(1, 1), first, rows)[:, 0], np.arange(130))
    assert (max(seen), sum(seen)) == (longest, 130)
