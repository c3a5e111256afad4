"""Vision transformers of the hub as backbones: against transformers itself, and on OpenVINO."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_models import SIDE, save_tiny_model

from helpers.deploy.export import export
from helpers.features.backbones import graph_file, load_backbone
from helpers.features.store import extract_features, features_file, load_features
from helpers.files import InputError
from helpers.graphs import Graph, graph_path, read_graph

KINDS = ("clip", "siglip", "dinov2", "vit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny_model(kind, tmp_path_factory.mktemp("hub") / f"tiny-{kind}") for kind in KINDS}


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    rough = np.random.default_rng(3).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in rough])


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
    return (found * expected).sum(-1) / norms


@pytest.mark.parametrize("kind", KINDS)
def test_it_sees_what_the_model_of_transformers_sees(kind: str, folders: dict[str, Path], photos: np.ndarray) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification

    folder = folders[kind]
    if kind == "vit":  # as the model was saved, whose classes are told from the class token
        model = AutoModelForImageClassification.from_pretrained(folder).vit.eval()
    else:
        model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    # A photo that has the size already is neither resized nor cropped by us; by their processor it must not be, either.
    pixels = processor(images=list(photos), do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = getattr(model, "vision_model", model)(pixel_values=pixels)
        vectors, grid = load_backbone(str(folder))(torch.from_numpy(photos))
    summed_up = expected.last_hidden_state[:, 0] if kind == "vit" else expected.pooler_output
    np.testing.assert_allclose(vectors, summed_up, rtol=1e-4, atol=1e-5)
    tokens = expected.last_hidden_state.numpy()
    first = 0 if kind == "siglip" else 1  # behind the class token
    patches = tokens[:, first:].reshape(len(photos), 4, 4, -1)
    assert first + 16 == tokens.shape[1]
    spans = [slice(4 * i // 7, -(-4 * (i + 1) // 7)) for i in range(7)]  # as adaptive pooling has it
    regions = np.stack([patches[:, rows, columns].mean((1, 2)) for rows in spans for columns in spans], axis=1)
    np.testing.assert_allclose(grid, regions, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_graphs_agree_with_it(
    kind: str, folders: dict[str, Path], photos: np.ndarray, tmp_path: Path
) -> None:
    name = str(folders[kind])
    backbone = load_backbone(name)
    assert backbone.photo_size == SIDE and backbone.name == name
    files = []
    for row, pixels in enumerate(photos):
        files.append(tmp_path / f"{row}.png")
        Image.fromarray(pixels).save(files[-1])
    with torch.inference_mode():
        expected = [part.numpy() for part in backbone(torch.from_numpy(photos))]
    found = extract_features(
        [SimpleNamespace(id=path.name, path=path) for path in files], backbone, tmp_path / "features"
    )
    kept = tmp_path / features_file(name)
    assert kept.parent == tmp_path / "features" and kept.exists()
    np.testing.assert_allclose(load_features(tmp_path / "features", name).vectors, expected[0], rtol=1e-3, atol=1e-4)
    assert cosines(np.asarray(found.grid[:], np.float32), expected[1]).min() > 0.999
    export(backbone, backbone, graph_file(tmp_path, name), [(torch.from_numpy(one[None]),) for one in photos])
    for precision, least in (("fp32", 0.99999), ("fp16", 0.9999), ("int8", 0.97)):
        graph = Graph(read_graph(graph_path(graph_file(tmp_path, name), precision)))
        vectors, grid = (part.numpy() for part in graph(torch.from_numpy(photos)))
        assert cosines(vectors, expected[0]).min() > least and cosines(grid, expected[1]).mean() > least


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_of_a_model_with_two_towers_the_one_for_photos_alone_must_be_there(
    kind: str, folders: dict[str, Path], photos: np.ndarray, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[kind.lower()], tmp_path / kind)
    saved = getattr(transformers, f"{kind}ForImageClassification").from_pretrained(folder)  # without a tower for texts
    (folder / "model.safetensors").unlink()
    saved.save_pretrained(folder)
    with torch.inference_mode():
        found, expected = (load_backbone(str(one))(torch.from_numpy(photos)) for one in (folder, folders[kind.lower()]))
    for part, known in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, known, atol=1e-5)


def test_what_is_no_vision_transformer_is_told_in_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"The backbone .*/empty .*backbone=efficientnet_lite0"):
        load_backbone(str(tmp_path / "empty"))
    odd = shutil.copytree(folders["clip"], tmp_path / "odd")
    config = odd / "preprocessor_config.json"
    config.write_text(config.read_text().replace(str(SIDE), str(SIDE - 4)))
    with pytest.raises(InputError, match=r"does not cut its photos of 28 pixels into whole patches"):
        load_backbone(str(odd))
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    convolutional = tmp_path / "convolutional"
    ConvNextImageProcessor(size={"shortest_edge": 384}).save_pretrained(convolutional)
    ConvNextModel(ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1])).save_pretrained(convolutional)
    with pytest.raises(InputError, match=r"\(ConvNextModel\) gives no patches and one vector"):
        load_backbone(str(convolutional))
    headless = shutil.copytree(folders["siglip"], tmp_path / "headless")
    transformers.SiglipVisionModel.from_pretrained(headless, vision_use_head=False).save_pretrained(headless)
    with pytest.raises(InputError, match=r"gives no patches and one vector"):
        load_backbone(str(headless))
