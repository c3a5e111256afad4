"""Pretrained towers: the arithmetic against NumPy, one artefact, and that heads learn to make two worlds meet."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.data.manifest import Photo
from helpers.encoders import sentence_encoder
from helpers.encoders.dual_encoder import WEIGHTS, in_batches
from helpers.encoders.pretrained import (
    PretrainedConfig,
    PretrainedEncoder,
    PretrainedPair,
    ViewData,
    load_pretrained_pair,
    new_pretrained_pair,
    view_data,
    with_tail,
)
from helpers.encoders.sentence_encoder import beside, embed_sentences, sentence_vectors
from helpers.encoders.training import EncoderSettings, evaluate, train_dual_encoder
from helpers.features.backbones import Backbone, load_backbone, stem_of
from helpers.features.rows import Rows
from helpers.features.store import Features
from helpers.files import InputError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("efficientnet_lite0")


@pytest.fixture
def pair(backbone: Backbone) -> PretrainedPair:
    return new_pretrained_pair(backbone, "use", 512, seed=0)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_photo_vector_is_the_direction_between_its_views(pair: PretrainedPair) -> None:
    seen = np.random.default_rng(1).random((2, 2, 1280), np.float32)
    normal = (seen - seen.mean(2, keepdims=True)) / seen.std(2, keepdims=True)
    layer = pair.model.project_photo
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = unit(unit(normal @ weight.T + bias).mean(1))
    pair.model.eval()
    with torch.inference_mode():
        np.testing.assert_allclose(pair.model.encode_image(torch.from_numpy(seen)), expected, atol=1e-4)


def test_each_eye_has_a_layer_and_a_share_of_the_vector() -> None:
    """Against two encoders of one eye each: the cosine is the mean of theirs."""
    torch.manual_seed(0)
    both = PretrainedEncoder(PretrainedConfig("a+b", 5, "use", 6, embedding=8, eyes=(3, 2))).eval()
    views, meanings = torch.rand(4, 2, 5), torch.randn(7, 6)
    cosines = []
    for number, width in enumerate((3, 2)):
        columns, rows = slice(3 * number, 3 * number + width), slice(4 * number, 4 * number + 4)
        alone = PretrainedEncoder(PretrainedConfig("a", width, "use", 6, embedding=4)).eval()
        photo, text = both.project_photo, both.project_text
        weights = {"project_photo.weight": photo.weight[:, columns], "project_photo.bias": photo.bias}
        weights |= {"project_text.weight": text.weight[rows], "project_text.bias": text.bias[rows]}
        alone.load_state_dict(weights)
        with torch.inference_mode():
            cosines.append((alone.encode_image(views[:, :, columns]) @ alone.encode_text(meanings).T).numpy())
    with torch.inference_mode():
        photos, texts = both.encode_image(views).numpy(), both.encode_text(meanings).numpy()
    assert photos.shape == (4, 8) and texts.shape == (7, 8)
    np.testing.assert_allclose(np.linalg.norm(photos, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(photos @ texts.T, np.mean(cosines, axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "widths", "stem"),
    [
        ("efficientnet_lite0+efficientnet_lite2", (1280, 1280), "efficientnet_lite0_stem+efficientnet_lite2_stem"),
        ("colours+efficientnet_lite0", (1344,), "efficientnet_lite0_stem+colours_stem"),  # no share of their own
        (
            "efficientnet_lite0+efficientnet_lite2+colours",
            (1280, 1344),
            "efficientnet_lite0_stem+efficientnet_lite2_stem+colours_stem",
        ),
    ],
)
def test_towers_of_several_eyes_look_and_are_saved(
    name: str, widths: tuple[int, ...], stem: str, tmp_path: Path
) -> None:
    pair = new_pretrained_pair(load_backbone(name), "use", 512, seed=0)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 320, 320, 3), np.uint8)
    vectors = pair.embed_photos(pixels)
    assert vectors.shape == (2, 512 * len(widths)) and pair.model.config.eyes == widths
    longer = with_tail(pair)
    assert longer.backbone.name == stem
    np.testing.assert_allclose(longer.embed_photos(pixels), vectors, atol=1e-5)
    for number, one in enumerate((pair, longer)):
        one.save(tmp_path / str(number))
        np.testing.assert_allclose(
            load_pretrained_pair(tmp_path / str(number)).embed_photos(pixels), vectors, atol=1e-5
        )


def test_photos_are_embedded_as_from_stored_features(pair: PretrainedPair) -> None:
    size = pair.photo_size
    pixels = np.random.default_rng(2).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        looks = [pair.backbone(torch.from_numpy(view.copy()))[0].numpy() for view in (pixels, pixels[:, :, ::-1])]
    photos = [Photo(name, Path(name), ("a dog",), "val") for name in ("b", "a")]
    features = [Features(["a", "b"], look[::-1], np.zeros((2, 49, 1280))) for look in looks]
    data = view_data(pair, photos, features, embed_sentences(["a dog", "a dog"]))
    assert data.photos.shape == (2, 2, 1280) and not data.by_class
    pair.model.eval()
    with torch.inference_mode():
        stored = pair.model.encode_image(torch.from_numpy(data.photos)).numpy()
    found = pair.embed_photos(pixels)
    assert (found * stored).sum(1).min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_sentence_encoders_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"use": np.eye(2, 4, dtype=np.float32), "other": np.eye(2, 9, dtype=np.float32)}
    monkeypatch.setattr(sentence_encoder, "embed_sentences", lambda texts, name: known[name])
    found = sentence_vectors(["a", "b"], "use+other")
    np.testing.assert_allclose(found, np.hstack([2 * known["use"], 3 * known["other"]]))
    np.testing.assert_allclose((beside([known["use"]]) ** 2).mean(1), 1)  # a number is about 1
    two = beside([known["use"], known["use"][:, :4]])
    np.testing.assert_array_equal(two, np.hstack([beside([known["use"]]), 2 * known["use"][:, :4]]))


def made_up_data(count: int, seed: int) -> ViewData:
    """Photos and their two texts are noisy views of the same eight hidden numbers, in two unrelated languages."""
    rng, language = np.random.default_rng(seed), np.random.default_rng(99)
    hidden = rng.normal(size=(count, 8))
    photos = hidden @ language.normal(size=(8, 1280)) + 0.1 * rng.normal(size=(count, 1280))
    texts = hidden.repeat(2, axis=0) @ language.normal(size=(8, 512)) + 0.1 * rng.normal(size=(2 * count, 512))
    seen = photos[:, None].repeat(2, axis=1).astype(np.float32)
    return ViewData(seen, texts.astype(np.float32), np.arange(count), np.arange(count).repeat(2), by_class=False)


def test_two_languages_learn_to_meet(pair: PretrainedPair, tmp_path: Path) -> None:
    train, val = made_up_data(256, seed=1), made_up_data(50, seed=2)
    before = evaluate(pair.model, val)["t2i_r1"]
    best, history = train_dual_encoder(pair, train, val, EncoderSettings(epochs=6, batch=64, texts=2), tmp_path)
    after = evaluate(best.model, val)
    assert before < 20
    assert after["t2i_r1"] > 80 and after["i2t_r1"] > 80
    assert history["parameters"] == 512 * (1280 + 1 + 512 + 1)
    loaded = load_pretrained_pair(tmp_path)
    assert loaded.model.config == best.model.config
    assert evaluate(loaded.model, val) == after


def test_a_step_sees_one_view_of_each_photo() -> None:
    data = made_up_data(50, seed=1)
    data.photos[:, 1] += 1000
    torch.manual_seed(0)
    rows = np.arange(50)
    views = data.batch_photos(rows, EncoderSettings(epochs=1))
    assert views.shape == (50, 1, 1280)
    second = (views[:, 0].mean(1) > 500).numpy()
    assert 10 < second.sum() < 40
    np.testing.assert_array_equal(views[:, 0], data.photos[rows, second.astype(int)])


@pytest.fixture
def stem_looks(backbone: Backbone, tmp_path: Path) -> list[Features]:
    """What the stem sees of eight photos of noise and of their mirror images, on disk."""
    stem, ids = stem_of(backbone), list("abcdefgh")
    pixels = np.random.default_rng(5).integers(0, 256, (8, 320, 320, 3), dtype=np.uint8)
    looks = []
    for turned in (False, True):
        with torch.inference_mode():
            vectors, grid = stem(torch.from_numpy((pixels[:, :, ::-1] if turned else pixels).copy()))
        np.save(tmp_path / f"{turned}.npy", grid.half().numpy())
        looks.append(Features(ids, vectors.numpy(), Rows(tmp_path / f"{turned}.npy", "this test")))
    return looks


def test_with_the_last_layers_the_vectors_are_as_they_were(pair: PretrainedPair, stem_looks: list[Features]) -> None:
    longer = with_tail(pair)
    pixels = np.random.default_rng(5).integers(0, 256, (8, 320, 320, 3), dtype=np.uint8)
    before = pair.embed_photos(pixels)
    np.testing.assert_allclose(longer.embed_photos(pixels), before, atol=1e-4)
    stored = longer.views(stem_looks, list("abcdefgh"))
    assert stored.shape == (8, 2, 400, 112)
    found = in_batches(longer.model, longer.model.encode_image, stored, 3)
    np.testing.assert_allclose(found, before, atol=2e-3)  # stored in 16 bits
    words = np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32)
    np.testing.assert_array_equal(longer.embed_sentences(words), pair.embed_sentences(words))


def test_the_last_layers_learn_and_are_saved(pair: PretrainedPair, stem_looks: list[Features], tmp_path: Path) -> None:
    begun = with_tail(pair)
    photos = [Photo(one, Path(one), ("x", "y"), "train") for one in "abcdefgh"]
    data = view_data(begun, photos, stem_looks, np.random.default_rng(0).normal(size=(16, 512)).astype(np.float32))
    settings = EncoderSettings(epochs=2, batch=4, texts=2, learning_rate=1e-3)
    trained, history = train_dual_encoder(begun, data, data, settings, tmp_path / "towers")
    assert history["epochs"][1]["train_loss"] < history["epochs"][0]["train_loss"]
    for name, weight in begun.model.tail.named_parameters():
        moved = (trained.model.tail.get_parameter(name) - weight).abs().max()
        assert 0 < moved < 1e-2, name
    for name, statistic in begun.model.tail.named_buffers():
        assert torch.equal(trained.model.tail.get_buffer(name), statistic), name  # ImageNet's means and spreads
    loaded = load_pretrained_pair(tmp_path / "towers")
    assert loaded.backbone.name == "efficientnet_lite0_stem" and loaded.model.config.tail == "efficientnet_lite0"
    assert evaluate(loaded.model, data) == evaluate(trained.model, data)
    # The same training again is loaded; with other photos it is another one.
    again, _ = train_dual_encoder(begun, data, data, settings, tmp_path / "towers")
    assert torch.equal(again.model.project_photo.weight, trained.model.project_photo.weight)
    turned = view_data(begun, photos, stem_looks[::-1], data.texts)
    other, _ = train_dual_encoder(begun, turned, data, settings, tmp_path / "towers")
    assert not torch.equal(other.model.project_photo.weight, trained.model.project_photo.weight)


def test_the_last_layers_of_vgg16_are_not_those_that_make_its_vector() -> None:
    vgg16 = load_backbone("vgg16", random_seed=0)
    with pytest.raises(InputError, match=r"The vector of vgg16 is not the mean of its grid.*leave"):
        with_tail(new_pretrained_pair(vgg16, "use", 512, seed=0))


def test_damaged_or_missing_towers_are_named(pair: PretrainedPair, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run notebook 04c"):
        load_pretrained_pair(tmp_path)
    pair.save(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(InputError, match="is not as it was written"):
        load_pretrained_pair(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_pretrained_pair(tmp_path)
