"""Exported dual encoders and captioners against PyTorch, at other batches and lengths than they were exported with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.captioners import WEIGHTS, Captioner, new_captioner, save_captioner
from helpers.decoding import StepModel, beam_search
from helpers.dual_encoder import DualEncoder, DualEncoderConfig, EncoderPair, save_dual_encoder
from helpers.files import InputError
from helpers.openvino_export import PRECISIONS, compare, graph_path, size_on_disk
from helpers.openvino_models import (
    OpenVINOCaptioner,
    export_captioner,
    export_dual_encoder,
    load_openvino_captioner,
    load_openvino_pair,
)
from helpers.text import Tokenizer, build_tokenizer

TEXTS = ["a brown dog runs on the grass", "two cats", "a bird flies over the blue sea near a small boat"]
WORST = {"fp32": (0.9999999, 1e-5), "fp16": (0.9999, 5e-3), "int8": (0.9, 1.0)}  # cosine, largest difference


def random_pixels(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Photos of coarse coloured blocks, so that they differ after pooling."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(size // 4, axis=1).repeat(size // 4, axis=2)


@pytest.fixture(scope="module")
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderPair, Path]:
    """A small random pair with settled batch norm, saved and exported."""
    folder = tmp_path_factory.mktemp("dual_encoder")
    torch.manual_seed(0)
    tokenizer = build_tokenizer("word", TEXTS)
    config = DualEncoderConfig(
        tokenizer.vocab_size, photo_size=32, channels=(8, 16, 16, 32), word_width=16, lstm_width=24, embedding=20
    )
    pair = EncoderPair(DualEncoder(config), tokenizer)
    with torch.no_grad():
        pair.model.train().encode_image(torch.from_numpy(random_pixels(64)))
    pair.model.eval()
    save_dual_encoder(folder, pair)
    export_dual_encoder(pair, folder, random_pixels(16, seed=1), TEXTS)
    return pair, folder


@pytest.mark.parametrize("precision", PRECISIONS)
def test_dual_encoder_equals_pytorch_at_other_batches_and_lengths(pair_folder, precision):
    pair, folder = pair_folder
    exported = load_openvino_pair(folder, precision)
    assert exported.photo_size == 32
    texts = [*TEXTS[:2], "a dog and a cat and a bird on the small blue boat run over the brown grass near the sea"]
    cosine, difference = WORST[precision]
    for count in (1, 5):
        pixels = random_pixels(count, seed=count)
        result = compare(torch.from_numpy(pair.embed_photos(pixels)), torch.from_numpy(exported.embed_photos(pixels)))
        assert result["cosine"] >= cosine and result["max_difference"] <= difference
    for some in (texts[:1], texts):
        result = compare(torch.from_numpy(pair.embed_texts(some)), torch.from_numpy(exported.embed_texts(some)))
        assert result["cosine"] >= cosine and result["max_difference"] <= difference


def test_precisions_are_really_stored_in_fewer_bits(pair_folder):
    _, folder = pair_folder
    for name in ("image_encoder.xml", "text_encoder.xml"):
        fp32, fp16, int8 = (graph_path(folder / name, p).with_suffix(".bin").stat().st_size for p in PRECISIONS)
        assert fp16 < 0.6 * fp32
        assert int8 < fp16
    assert size_on_disk(folder / "image_encoder.xml") > (folder / "image_encoder.bin").stat().st_size
    # The photo tower's arithmetic is 8-bit; the text tower's weights only.
    assert "FakeQuantize" in (folder / "image_encoder_int8.xml").read_text()
    assert "FakeQuantize" not in (folder / "text_encoder_int8.xml").read_text()


def test_graphs_of_other_weights_are_refused(pair_folder, tmp_path: Path):
    pair, folder = pair_folder
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load_openvino_pair(tmp_path)
    save_dual_encoder(tmp_path, EncoderPair(DualEncoder(pair.model.config), pair.tokenizer))  # new random weights
    with pytest.raises(InputError, match="exported from other weights"):
        load_openvino_pair(tmp_path)


class TinyAttention(nn.Module):
    """A captioner that looks at regions, to cover memory and attention in a step."""

    def __init__(self, vocab_size: int, width: int = 16) -> None:
        super().__init__()
        self.project = nn.Linear(12, width)
        self.words = nn.Embedding(vocab_size, width, padding_idx=0)
        self.cell = nn.LSTMCell(width, width)
        self.out = nn.Linear(width, vocab_size)

    def encode(self, features: Tensor) -> Tensor:
        return torch.tanh(self.project(features))  # (B, R, H)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        start = memory.mean(dim=1)
        return start, torch.zeros_like(start)

    def step(self, tokens: Tensor, state: tuple[Tensor, Tensor], memory: Tensor):
        h, c = self.cell(self.words(tokens), state)
        attention = torch.softmax((memory @ h[:, :, None])[:, :, 0], dim=1)  # (B, R)
        context = (attention[:, :, None] * memory).sum(dim=1)
        return self.out(h + context).log_softmax(dim=1), (h, c), attention


def lstm(tokenizer: Tokenizer, folder: Path) -> tuple[Captioner, tuple[int, ...]]:
    """A random LSTM captioner, saved, and the shape of its features."""
    captioner = new_captioner("lstm", tokenizer, 12, "none", 20, beam=1, embedding=16, hidden=24)
    save_captioner(folder, captioner, [])
    return captioner, (12,)


def attention(tokenizer: Tokenizer, folder: Path) -> tuple[Captioner, tuple[int, ...]]:
    captioner = Captioner("lstm", TinyAttention(tokenizer.vocab_size), tokenizer, "none", 20, beam=1)
    torch.save(captioner.model.state_dict(), folder / WEIGHTS)
    return captioner, (5, 12)


@torch.no_grad()
@pytest.mark.parametrize("make", [lstm, attention])
def test_captioner_equals_pytorch(tmp_path: Path, make):
    torch.manual_seed(1)
    captioner, shape = make(build_tokenizer("word", TEXTS), tmp_path)
    model = captioner.model.eval()
    examples = np.random.default_rng(0).normal(size=(60, *shape)).astype("float32")
    export_captioner(captioner, tmp_path, examples, 20 * TEXTS)
    features = torch.randn(7, *shape)  # another batch than the examples'
    memory = model.encode(features)
    tokens, state = torch.randint(1, 12, (7,)), model.initial_state(memory)
    expected = model.step(tokens, state, memory)
    for precision in PRECISIONS:
        exported = OpenVINOCaptioner(tmp_path, precision, "f32")
        cosine, difference = WORST[precision]
        assert compare(memory, exported.encode(features))["cosine"] >= cosine
        assert compare(state[0], exported.initial_state(memory)[0])["cosine"] >= cosine
        log_probs, new_state, weights = exported.step(tokens, state, memory)
        assert (log_probs - expected[0]).abs().max() <= difference
        assert [compare(a, b)["cosine"] >= cosine for a, b in zip(expected[1], new_state, strict=True)] == [True, True]
        assert (weights is None) == (expected[2] is None)
        assert weights is None or compare(expected[2], weights)["cosine"] >= cosine

    def captions(of: StepModel, **options: int) -> list[list[int]]:
        return [caption.tokens for caption in beam_search(of, features, captioner.rules, **options)]

    exported = OpenVINOCaptioner(tmp_path, "fp32", "f32")
    for beam in (1, 3):  # 1 is greedy; 3 reorders the state
        assert captions(exported, beam=beam) == captions(model, beam=beam)
    assert len({tuple(caption) for caption in captions(model, beam=1)}) > 1


def test_a_loaded_captioner_brings_vocabulary_and_settings(tmp_path: Path):
    captioner, _ = lstm(build_tokenizer("word", TEXTS), tmp_path)
    rows = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    with pytest.raises(InputError, match="does not exist with its"):
        load_openvino_captioner(tmp_path)
    export_captioner(captioner, tmp_path, rows[:3], TEXTS)
    exported = load_openvino_captioner(tmp_path)
    assert exported.texts(exported.decode(rows)) == captioner.texts(captioner.decode(rows))
    assert exported.max_length == 20
    lstm(build_tokenizer("word", [*TEXTS, "one more word"]), tmp_path)  # trained again
    with pytest.raises(InputError, match="exported from other weights"):
        load_openvino_captioner(tmp_path)
