"""Export against the PyTorch functions it started from: numbers, precisions, and a save that fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved_layer import saved_layer
from torch import Tensor, nn

from helpers.deploy import export as module
from helpers.deploy.export import compare, export, latency, measure, save, variants
from helpers.files import InputError
from helpers.graphs import Graph, convert, read_graph


def test_a_failed_save_leaves_the_old_graph_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layer, path = saved_layer(tmp_path)
    model = convert(layer, layer, (torch.zeros(1, 3),))
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def stops_half_way(model, temporary, compress_to_fp16):
        temporary.with_suffix(".bin").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module.ov, "save_model", stops_half_way)
    with pytest.raises(InputError, match=r"layer\.bin cannot be written \(disk full\)"):
        save(model, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old


def test_any_function_of_a_module_exports_with_all_its_outputs(tmp_path: Path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def vector_and_grid(pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = network(pixels.permute(0, 3, 1, 2).float() / 255)
        return maps.mean(dim=(2, 3)), maps.flatten(2).transpose(1, 2)

    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8))
    export(network, vector_and_grid, tmp_path / "network.xml", [(photo[None],) for photo in pixels])
    vector, grid = Graph(read_graph(tmp_path / "network.xml"))(pixels)
    with torch.no_grad():
        expected = vector_and_grid(pixels)
    torch.testing.assert_close(vector, expected[0])
    torch.testing.assert_close(grid, expected[1])
    assert grid.shape == (6, 36, 4)
    table = measure(tmp_path / "network.xml", vector_and_grid, (pixels,), seconds=0.01)
    assert list(table) == ["pytorch", *variants()]
    assert all(row["latency_ms"] > 0 and row["rows_per_second"] > 0 for row in table.values())
    assert table["fp32"]["cosine"] > 0.9999999 and table["int8"]["cosine"] > 0.9
    assert table["int8"]["megabytes"] > 0


def test_no_sum_of_two_products_overflows_16_bits_on_whatever_processor_the_graph_was_made():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    photos = [(torch.rand(1, 3, 12, 12),) for _ in range(4)]
    integers = module.quantise(convert(network, network, photos[0]), photos)
    weights = [operation.data for operation in integers.get_ops() if operation.get_element_type() == module.ov.Type.i8]
    assert len(weights) == 3 and all(np.abs(one.astype(int)).max() <= 64 for one in weights)


@pytest.mark.parametrize("attention", [False, True])
def test_in_8_bits_vectors_keep_unit_length_and_only_products_are_rounded(attention: bool):
    """A length that has 127 steps would make vectors that are up to 1 % too long: first in a search for that alone."""
    torch.manual_seed(0)
    layer, norm, out = nn.Linear(12, 12), nn.LayerNorm(12), nn.Linear(12, 6)

    def tower(numbers: Tensor) -> Tensor:
        return nn.functional.normalize(out(norm(numbers + layer(numbers).tanh() * numbers)), dim=1)

    network = nn.ModuleList([layer, norm, out])
    numbers = torch.randn(64, 12) * torch.rand(64, 1).exp()
    samples = [(row[None],) for row in numbers]
    integers = module.quantise(convert(network, tower, samples[0]), samples, attention=attention)
    rounded = [o for o in integers.get_ops() if o.get_type_name() == "FakeQuantize"]
    readers = {reader.get_node().get_type_name() for o in rounded for reader in o.output(0).get_target_inputs()}
    assert readers == {"MatMul"}
    torch.testing.assert_close(Graph(integers)(numbers)[0].norm(dim=1), torch.ones(64), atol=1e-5, rtol=0)


def test_log_probabilities_of_another_photo_are_no_good_answer(tmp_path: Path):
    """Of 1,000 words nearly all are unlikely, whatever the photo: such rows point the same way until `exp` is taken."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 1000), nn.LogSoftmax(dim=1))
    photos = 4 * torch.randn(6, 8)
    export(network, network, tmp_path / "step.xml", [(photo[None],) for photo in photos])

    def of_the_next(photos: Tensor) -> Tensor:
        return network(photos.roll(1, 0))

    def cosines(function: Callable[[Tensor], Tensor], **options: Any) -> dict[str, float]:
        table = measure(tmp_path / "step.xml", function, (photos,), **options, seconds=0.0)
        return {name: row["cosine"] for name, row in table.items()}

    assert cosines(of_the_next)["fp32"] > 0.9
    wrong, right = cosines(of_the_next, compared=torch.exp), cosines(network, compared=torch.exp)
    assert all(wrong[name] < 0.5 < 0.97 < right[name] for name in variants())
    # PyTorch's own row says beforehand what the wrong photo scores, reckoned here without `compare`.
    with torch.no_grad():
        rows = network(photos).exp().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.mean([unit[place] @ unit[place - 1] for place in range(6)])
    assert right["pytorch"] == pytest.approx(expected, abs=1e-6) and wrong["fp32"] == pytest.approx(expected, abs=1e-4)


def test_compare_and_latency_on_known_answers():
    reference = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert compare(reference, reference) == {"max_difference": 0.0, "cosine": pytest.approx(1.0)}
    result = compare(reference, torch.tensor([[0.0, 1.0], [0.0, 5.0]]))  # a right angle, and the same direction
    assert result == {"max_difference": 3.0, "cosine": pytest.approx(0.5)}
    calls = []
    assert latency(lambda: calls.append(1), seconds=0.0) >= 0
    assert len(calls) >= 3


def test_the_same_model_gives_the_same_files_whatever_was_made_before_it(tmp_path: Path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    samples = [(torch.rand(1, 3),) for _ in range(4)]
    for name in ("one", "other"):
        export(network, network, tmp_path / name / "network.xml", samples)
        export(network, network, tmp_path / name / "smaller.xml", samples, weights_only=True)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert len(one) == 13 and one == other  # checksums.json among them
