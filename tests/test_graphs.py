"""Graphs read and run: damaged files, other weights, and outputs that are one's own."""

import threading
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from saved_layer import saved_layer
from torch import nn

from helpers import graphs
from helpers.artefacts import CHECKSUMS, seal
from helpers.files import InputError
from helpers.graphs import Graph, convert, core, read_graph, request_queue


def test_missing_and_torn_graphs_are_named(tmp_path: Path):
    _, xml = saved_layer(tmp_path)
    weights = xml.with_suffix(".bin")
    operations, numbers = xml.read_bytes(), weights.read_bytes()
    read_graph(xml)
    for file, damage in [(xml, operations[:500]), (xml, b""), (weights, numbers[:100]), (weights, b"")]:
        xml.write_bytes(operations)
        weights.write_bytes(numbers)
        file.write_bytes(damage)
        with pytest.raises(InputError, match=r"layer\.(xml|bin) is not as it was written"):
            read_graph(xml)
        seal(tmp_path, file.name)
        with pytest.raises(InputError, match="not a readable OpenVINO graph"):
            read_graph(xml)
        xml.write_bytes(operations)
        weights.write_bytes(numbers)
        seal(tmp_path, xml.name, weights.name)
    for file in (weights, xml):
        file.unlink()
        with pytest.raises(InputError, match="does not exist with its"):
            read_graph(xml)


def test_a_good_graph_is_not_to_be_made_again_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def read_model(self, path: Path) -> None:
            raise RuntimeError("Exception from src/core.cpp:120:\nstd::bad_alloc")

    _, xml = saved_layer(tmp_path)
    monkeypatch.setattr(graphs, "core", Full)
    with pytest.raises(InputError, match=r"layer\.xml could not be loaded .* left as it is; free some memory"):
        read_graph(xml)


def test_a_graph_of_other_weights_is_refused(tmp_path: Path):
    _, xml = saved_layer(tmp_path, weights="abc")
    read_graph(xml, weights="abc")
    read_graph(xml)
    with pytest.raises(InputError, match="exported from other weights"):
        read_graph(xml, weights="def")
    foreign = convert(nn.ReLU(), nn.ReLU(), (torch.zeros(1, 3),))
    ov.save_model(foreign, xml)
    seal(tmp_path, xml.name, xml.with_suffix(".bin").name)
    with pytest.raises(InputError, match="not a readable OpenVINO graph"):
        read_graph(xml, weights="abc")


def test_a_damaged_graph_whose_error_is_no_text_is_refused_all_the_same(tmp_path: Path):
    _, xml = saved_layer(tmp_path)
    xml.write_bytes(xml.read_bytes().replace(b'type="Parameter"', b'type="\x80"'))
    (tmp_path / CHECKSUMS).unlink(missing_ok=True)
    with pytest.raises(InputError, match="not a readable OpenVINO graph"):
        read_graph(xml)


def test_outputs_stay_when_the_graph_is_called_again(tmp_path: Path):
    layer, path = saved_layer(tmp_path)
    graph = Graph(read_graph(path))
    first = graph(torch.ones(1, 3))[0]
    kept = first.clone()
    graph(torch.zeros(1, 3))
    torch.testing.assert_close(first, kept)
    torch.testing.assert_close(first, layer(torch.ones(1, 3)).detach())


def test_an_output_that_is_none_is_left_out():
    layer = nn.Linear(3, 2)
    assert len(convert(layer, lambda x: (layer(x), None), (torch.zeros(1, 3),)).outputs) == 1


def _sums() -> ov.CompiledModel:
    numbers = ov.opset13.parameter([1, 4], np.float32)
    model = ov.Model([ov.opset13.reduce_sum(numbers, [1])], [numbers])
    return core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})


def test_a_queue_answers_in_order_in_the_thread_that_asks() -> None:
    """Python that OpenVINO's threads call was what a process could hang on when the graph went away."""
    answers, threads = [], set()

    def store(request: ov.InferRequest, number: int) -> None:
        answers.append((number, float(request.get_output_tensor(0).data[0])))
        threads.add(threading.get_ident())

    with request_queue(_sums(), store) as queue:
        for number in range(50):
            queue.start_async([np.full((1, 4), number, np.float32)], number)
    assert answers == [(number, 4.0 * number) for number in range(50)]
    assert threads == {threading.get_ident()}


def test_what_goes_wrong_beside_a_queue_is_told_once_its_requests_are_done() -> None:
    stored = []
    with (
        pytest.raises(ZeroDivisionError),
        request_queue(_sums(), lambda request, number: stored.append(number)) as queue,
    ):
        queue.start_async([np.zeros((1, 4), np.float32)], 1)
        1 / 0  # noqa: B018
    assert not stored and not queue._busy
