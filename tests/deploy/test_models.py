"""Exported encoders and captioners against PyTorch, at other batches and lengths than they were exported with."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import export_floats
from torch import Tensor

from helpers.captioning.captioner import Captioner, new_captioner, save_captioner
from helpers.captioning.decoding import StepModel, beam_search
from helpers.data.text import build_tokenizer
from helpers.deploy.export import compare, export, size_on_disk
from helpers.deploy.models import (
    OpenVINOCaptioner,
    OpenVINODualEncoder,
    export_captioner,
    export_dual_encoder,
    export_fusion,
    export_pretrained_pair,
    load_openvino_captioner,
    load_openvino_fusion,
    load_openvino_pair,
    load_openvino_pretrained_pair,
)
from helpers.encoders.dual_encoder import DualEncoder, DualEncoderConfig, EncoderPair
from helpers.encoders.fusion import FusionConfig, FusionEncoder, new_fusion, save_fusion
from helpers.encoders.pretrained import PretrainedPair, new_pretrained_pair, with_tail
from helpers.features.backbones import graph_file, load_backbone
from helpers.files import InputError
from helpers.graphs import PRECISIONS, graph_path

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
    pair.save(folder)
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
    EncoderPair(DualEncoder(pair.model.config), pair.tokenizer).save(tmp_path)  # new random weights
    with pytest.raises(InputError, match="exported from other weights"):
        load_openvino_pair(tmp_path)


@pytest.fixture(scope="module")
def fusion_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[FusionEncoder, Path]:
    """A small random fusion model, saved and exported."""
    folder = tmp_path_factory.mktemp("fusion")
    vectors, sentences = photo_and_sentence_vectors(40, seed=0)
    encoder = new_fusion(FusionConfig("efficientnet_lite0", photo_width=24, side=32, embedding=16), vectors, seed=0)
    with torch.no_grad():
        encoder.model.no_photo.uniform_()
        encoder.model.no_text.uniform_()
    save_fusion(folder, encoder)
    export_fusion(encoder, folder, vectors, sentences)
    return encoder, folder


def photo_and_sentence_vectors(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sentences = rng.normal(size=(count, 512))
    sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
    return rng.normal(2, 3, (count, 24)).astype(np.float32), sentences.astype(np.float32)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fusion_equals_pytorch_with_either_side_missing(fusion_folder, precision):
    encoder, folder = fusion_folder
    exported = load_openvino_fusion(folder, precision)
    assert exported.config == encoder.config
    cosine, difference = WORST[precision]
    for count in (1, 7):
        photos, texts = photo_and_sentence_vectors(count, seed=count)
        for sides in ((photos, texts), (photos, None), (None, texts)):
            ours, theirs = (torch.from_numpy(one.embed(*sides)) for one in (encoder, exported))
            result = compare(ours, theirs)
            assert result["cosine"] >= cosine and result["max_difference"] <= difference
    flags = torch.tensor([True, True, False]), torch.tensor([True, False, True])  # of each kind, in one batch
    inputs = tuple(torch.from_numpy(rows) for rows in photo_and_sentence_vectors(3, seed=3))
    with torch.no_grad():
        assert compare(encoder.model(*inputs, *flags), exported.model(*inputs, *flags))["cosine"] >= cosine


def test_a_fusion_graph_of_other_weights_is_refused(fusion_folder, tmp_path: Path):
    encoder, folder = fusion_folder
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load_openvino_fusion(tmp_path)
    assert "FakeQuantize" in (tmp_path / "fusion_int8.xml").read_text()
    save_fusion(tmp_path, new_fusion(encoder.config, photo_and_sentence_vectors(9, seed=1)[0], seed=1))
    with pytest.raises(InputError, match="exported from other weights"):
        load_openvino_fusion(tmp_path)


SMALL = {
    "lstm": {"embedding": 16, "hidden": 24},
    "attention": {"embedding": 16, "hidden": 24, "attention": 8},
    "transformer": {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "grid": 2},
}


@pytest.fixture(scope="module", params=SMALL)
def captioner_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Captioner, Tensor, Path]:
    """A random captioner with settled batch norm, saved and exported, and features of seven photos."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(1)
    shape = (12,) if request.param == "lstm" else (9, 12)
    captioner = new_captioner(
        request.param, build_tokenizer("word", TEXTS), 12, "none", 20, beam=1, **SMALL[request.param]
    )
    captioner.model.train()(torch.randn(16, *shape), torch.ones(16, 1, dtype=torch.int64))
    captioner.model.eval()
    save_captioner(folder, captioner, [])
    # Twelve examples: no batch below is that large. Their captions have 8 tokens at most, those below up to 20.
    export_captioner(captioner, folder, np.random.default_rng(0).normal(size=(12, *shape)).astype("f"), 6 * TEXTS[:2])
    return captioner, torch.randn(7, *shape), folder


@torch.no_grad()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_captioner_equals_pytorch(captioner_folder, precision):
    captioner, features, folder = captioner_folder
    model, exported = captioner.model, OpenVINOCaptioner(folder, precision, "f32")
    cosine, difference = WORST[precision]
    memory = model.encode(features)
    assert compare(memory, exported.encode(features))["cosine"] >= cosine
    state, found_state = model.initial_state(memory), exported.initial_state(memory)
    tokens = torch.full((7,), captioner.tokenizer.sos_id)
    for _ in range(captioner.max_length - 1):
        log_probs, state, attention = model.step(tokens, state, memory)
        found, found_state, found_attention = exported.step(tokens, found_state, memory)
        assert (found - log_probs).abs().max() <= difference
        for expected, part in zip(state, found_state, strict=True):
            assert expected.shape == part.shape and compare(expected, part)["cosine"] >= cosine
        assert (found_attention is None) == (attention is None)
        assert attention is None or compare(attention, found_attention)["cosine"] >= cosine
        tokens = torch.randint(3, captioner.tokenizer.vocab_size, (7,))


def test_captions_equal_those_of_pytorch(captioner_folder):
    captioner, features, folder = captioner_folder
    exported = OpenVINOCaptioner(folder, "fp32", "f32")

    def captions(of: StepModel, beam: int) -> list[list[int]]:
        return [caption.tokens for caption in beam_search(of, features, captioner.rules, beam=beam)]

    for beam in (1, 3):  # 1 is greedy; 3 reorders the state
        assert captions(exported, beam) == captions(captioner.model, beam)
    greedy_captions = captions(captioner.model, beam=1)
    assert len(set(map(tuple, greedy_captions))) > 1 and max(map(len, greedy_captions)) > 16


def test_a_loaded_captioner_brings_vocabulary_and_settings(captioner_folder, tmp_path: Path):
    captioner, features, folder = captioner_folder
    save_captioner(tmp_path, captioner, [])
    with pytest.raises(InputError, match="does not exist with its"):
        load_openvino_captioner(tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    exported = load_openvino_captioner(tmp_path)
    assert exported.texts(exported.decode(features)) == captioner.texts(captioner.decode(features))
    assert exported.max_length == 20
    save_captioner(
        tmp_path,
        new_captioner(captioner.kind, captioner.tokenizer, 12, "none", 20, seed=7, **SMALL[captioner.kind]),
        [],
    )  # trained again
    with pytest.raises(InputError, match="exported from other weights"):
        load_openvino_captioner(tmp_path)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainedPair, Path]:
    """Pretrained towers with random layers, saved and exported with their backbone."""
    folder = tmp_path_factory.mktemp("pretrained")
    backbone = load_backbone("efficientnet_lite0")
    pair = new_pretrained_pair(backbone, "use", 512, seed=0)
    pair.model.eval()
    pair.save(folder)
    views = np.random.default_rng(0).random((4, 2, 1280), np.float32)
    export_pretrained_pair(pair, folder, views, TEXTS)
    photos = [(torch.from_numpy(photo[None]),) for photo in random_pixels(4, backbone.photo_size)]
    # Weights only: its 8-bit arithmetic is not the subject here, and calibrating it takes half a minute.
    export(backbone, backbone, graph_file(folder, backbone.name), photos, weights_only=True)
    return pair, folder


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pretrained_pair_equals_pytorch_with_one_view_or_two(
    pretrained: tuple[PretrainedPair, Path], precision: str
) -> None:
    pair, folder = pretrained
    exported = load_openvino_pretrained_pair(folder, folder, precision)
    assert exported.photo_size == pair.photo_size
    pixels = random_pixels(2, pair.photo_size, seed=5)
    cosine, difference = WORST[precision]
    found = compare(torch.from_numpy(pair.embed_photos(pixels)), torch.from_numpy(exported.embed_photos(pixels)))
    assert found["cosine"] > cosine and found["max_difference"] < 10 * difference
    found = compare(torch.from_numpy(pair.embed_texts(TEXTS)), torch.from_numpy(exported.embed_texts(TEXTS)))
    assert found["cosine"] > cosine and found["max_difference"] < difference
    for count in (1, 2):
        views = torch.rand(3, count, 1280, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            expected = pair.model.encode_image(views)
        assert compare(expected, exported.model.encode_image(views))["cosine"] > cosine


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "efficientnet_lite1+efficientnet_lite0", "efficientnet_lite0+colours"]
)
def test_the_last_layers_are_a_part_of_the_photo_graph(tmp_path: Path, name: str) -> None:
    pair = with_tail(new_pretrained_pair(load_backbone(name), "use", 512, seed=0))
    pair.model.eval()
    pair.save(tmp_path)
    with torch.inference_mode():
        seen = pair.backbone(torch.from_numpy(random_pixels(8, 320, seed=3)))[1]  # (8, 400, C)
    export_pretrained_pair(pair, tmp_path, seen.unflatten(0, (4, 2)).numpy(), TEXTS)
    example = [(torch.zeros(1, 320, 320, 3, dtype=torch.uint8),)]
    export_floats(pair.backbone, pair.backbone, graph_file(tmp_path, pair.backbone.name), example)
    for precision in PRECISIONS:
        model = OpenVINODualEncoder(tmp_path, pair.model.config, precision, "f32")
        for views in (seen[:3, None], seen[2:].unflatten(0, (3, 2))):  # with one view, or two
            with torch.inference_mode():
                found = compare(pair.model.encode_image(views), model.encode_image(views))
            assert found["cosine"] >= WORST[precision][0], precision
    pixels = random_pixels(2, 320, seed=5)
    exported = load_openvino_pretrained_pair(tmp_path, tmp_path)
    np.testing.assert_allclose(exported.embed_photos(pixels), pair.embed_photos(pixels), atol=1e-4)


def test_graphs_of_other_pretrained_weights_are_refused(
    pretrained: tuple[PretrainedPair, Path], tmp_path: Path
) -> None:
    pair, folder = pretrained
    shutil.copytree(folder, tmp_path / "copy")
    new_pretrained_pair(pair.backbone, "use", 512, seed=1).save(tmp_path / "copy")
    with pytest.raises(InputError, match="other weights"):
        load_openvino_pretrained_pair(tmp_path / "copy", folder)
