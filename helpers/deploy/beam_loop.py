"""A whole beam search as one graph: `encode`, `initial_state`, and `step` inside a Loop until every caption is certain.

Called from Python, a small step waits about as long for its call, its copies and the choice of beams as for its
arithmetic. Here nothing leaves OpenVINO between the photo's features and the finished search: the choice of beams is
`Search.advance`, recorded from PyTorch, and the state goes from step to step inside the graph.

    features -> encode -> memory -> initial_state -> begin ->  Loop( step -> advance -> gather the state )  -> trail
"""

import numpy as np
import openvino as ov
import torch
from openvino import opset15 as op
from torch import Tensor, nn

from helpers.captioning.decoding import Beams, Search
from helpers.graphs import convert


def beam_graph(encode: ov.Model, initial_state: ov.Model, step: ov.Model, search: Search) -> ov.Model:
    """One graph of the three graphs of a captioner: features (1, ...) of a photo -> what `Trail` needs.

    Results, for T steps of K beginnings: the row from which each one of the next step comes (T, K), each one's last
    token (T, K), `won_score`, `won_length` and `won_row`, each (1,); attention (T, K, R), if the captioner has any.
    """
    (features,) = _parameters(encode)
    (memory,) = _joined(encode, features)
    begin, advance = _recorded(initial_state, step, search)
    tokens, *first = _joined(begin, memory, *_joined(initial_state, memory))  # <SOS>, the state, the beams

    # The body. All that it takes, but the memory, is what the step before has made of it.
    last, seen, *state = _parameters(step)
    _, *beams = _parameters(advance)
    log_probs, *rest = _joined(step, last, seen, *state)
    grown, attention = rest[: len(state)], rest[len(state) :]
    rows, going_on, following, *chosen = _joined(advance, log_probs, *beams)
    state_of_rows = [op.gather(part, rows, _number(0)).output(0) for part in grown]
    carried = [following, *state_of_rows, *chosen]
    written = [op.unsqueeze(part, _number(0)).output(0) for part in (rows, last, *attention)]  # a slice of each step
    results = [op.result(part) for part in (going_on, *carried, *written)]
    body = ov.Model(results, [last, seen, *state, *beams], "step")

    loop = op.loop(_number(search.rules.max_length - 1), op.constant(np.bool_(True)))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 0])  # it needs no count of the steps; the first result says whether to go on
    loop.set_invariant_input(seen, memory)
    for parameter, start, after in zip([last, *state, *beams], [tokens, *first], carried, strict=True):
        loop.set_merged_input(parameter, start, after)
    rows, tokens, *attention = (loop.get_concatenated_slices(part, 0, 1, 1, -1, 0) for part in written)
    final = Beams(*(loop.get_iter_value(part, -1) for part in chosen))
    outputs = (rows, tokens, final.won_score, final.won_length, final.won_row, *attention)
    model = ov.Model([op.result(part) for part in outputs], [features], "search")
    model.reshape([1, *features.partial_shape[1:]])  # sizes that are known beforehand save a tenth of the time
    return model


def _recorded(initial_state: ov.Model, step: ov.Model, search: Search) -> tuple[ov.Model, ov.Model]:
    """`begin` and `advance` of `search` as graphs, for the shapes of a captioner's graphs."""
    vocabulary = step.outputs[0].partial_shape[1].get_length()
    masks = search.rules.masks(vocabulary)

    def begin(memory: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        tokens, state, beams = search.begin(memory, *state)
        return tokens, *state, *beams

    def advance(log_probs: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        beams = Beams(*parts)
        at_end = (beams.length == search.rules.max_length - 1).long()
        allowed = log_probs.view(-1, search.beam, vocabulary) + masks[at_end][:, None]  # (P, K, V)
        rows, following, beams = search.advance(allowed.flatten(0, 1), beams)
        return rows, ~beams.done.all(), following, *beams

    example = [
        torch.zeros([2 if size.is_dynamic else size.get_length() for size in port.partial_shape])
        for port in (*initial_state.inputs, *initial_state.outputs)
    ]
    beams = search.begin(*example)[2]
    log_probs = torch.randn(2 * search.beam, vocabulary)
    return convert(nn.Module(), begin, example), convert(nn.Module(), advance, (log_probs, *beams))


def _parameters(model: ov.Model) -> list[ov.op.Parameter]:
    """New inputs like those of `model`."""
    return [op.parameter(port.partial_shape, port.element_type) for port in model.inputs]


def _joined(model: ov.Model, *inputs: ov.Output | ov.Node) -> list[ov.Output]:
    """The outputs of a copy of `model` that takes `inputs` in place of its own."""
    model = model.clone()
    for parameter, source in zip(model.get_parameters(), inputs, strict=True):
        parameter.output(0).replace(source if isinstance(source, ov.Output) else source.output(0))
    return [result.input_value(0) for result in model.get_results()]


def _number(value: int) -> ov.Node:
    return op.constant(np.int64(value))
