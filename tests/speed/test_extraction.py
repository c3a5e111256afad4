"""The plain loop and the compiled graphs see the same photos in the same order."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from small_data import write_photo

from helpers.deploy.export import compare
from helpers.files import InputError
from helpers.speed import extraction
from helpers.speed.extraction import decode, decoded_ahead, extraction_speeds, through_queue


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_photo(tmp_path / f"{number}.png", (25 * number, 90, 10)) for number in range(9)]


def test_photos_decoded_ahead_come_in_order(paths: list[Path]) -> None:
    for path, photo in zip(paths, decoded_ahead(paths, 16), strict=True):
        np.testing.assert_array_equal(photo, decode(path, 16))
    with pytest.raises(InputError, match="does not exist"):
        list(decoded_ahead([*paths, paths[0].with_name("gone.png")], 16))


def test_the_queue_gives_rows_in_order_and_leaves_a_part_batch_out() -> None:
    pixels = ov.opset13.parameter([2, 4, 4, 3], np.uint8)
    mean = ov.opset13.reduce_mean(ov.opset13.convert(pixels, "f32"), [1, 2, 3])
    compiled = ov.Core().compile_model(ov.Model([mean], [pixels]), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    photos = [np.full((4, 4, 3), value, np.uint8) for value in range(7)]
    vectors, seconds = through_queue(compiled, photos, 2)
    np.testing.assert_allclose(vectors, np.arange(6))
    assert seconds > 0


def test_every_kind_of_arithmetic_agrees_with_the_plain_loop(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []
    monkeypatch.setattr(extraction, "compare", lambda *both: judged.append(len(both[0])) or compare(*both))
    table = extraction_speeds("resnet50", paths, plain=6, batch=2, calibration=4, random_seed=0)
    assert set(judged) == {5}  # and none of those that calibrated
    assert {"plain_loop", "fp32", "int8"} <= table.keys()
    assert table["fp32"]["cosine"] > 0.99999
    assert all(row["cosine"] > 0.9 for way, row in table.items() if way != "plain_loop")
    slow = table["plain_loop"]["photos_per_second"]
    for way, row in table.items():
        assert 0 <= row["decoding_share"] <= 1
        if way != "plain_loop":
            assert row["ratio"] == pytest.approx(row["photos_per_second"] / slow)
