"""Export: the graph of a function of a model in 8-bit integers, all precisions written to files, and measured.

`helpers/graphs.py` converts and runs a graph, `models.py` exports the models of this course.

Integer arithmetic: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018). Tools: OpenVINO and NNCF, whose methods are called here.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import cache, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from helpers.artefacts import seal
from helpers.environment import supports_bf16
from helpers.files import atomic_path, native_write
from helpers.graphs import Graph, as_tensors, compile_graph, convert, core, graph_path, read_graph, request_queue

# --- From a graph to files --------------------------------------------------------------------------------------


def quantise(
    model: ov.Model,
    samples: Sequence[Sequence[Tensor]],
    weights_only: bool = False,
    fast_bias_correction: bool = False,
    attention: bool = False,
) -> ov.Model:
    """The same graph in 8-bit integers.

    Weights are known, so their range is too. The range of what flows between the operations has to be observed:
    the graph runs on `samples`, tuples of inputs as `function` takes them, which must look like real input
    (training data, never the data that later judges the result). This is calibration. With `weights_only`, weights
    are stored in 8 bits and the arithmetic stays in floats: smaller on disk, and nothing to calibrate. `attention` is
    for deep transformers, in which a few channels are far larger than the others.
    """
    nncf = _nncf()
    if weights_only:
        return nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_ASYM)
    dataset = nncf.Dataset(samples, lambda inputs: [tensor.numpy() for tensor in inputs])
    # Integers pay off in products of matrices and in convolutions. What lies between them loses by them and gains no
    # time: a vector divided by a length that has 127 steps is up to 1 % too long or too short, which reorders results
    # of a search, and with sums in integers ten more in 100 captions of a transformer were not those of PyTorch.
    floats = ["Add", "Divide", "MVN", "Maximum", "Multiply", "ReduceL2", "ReduceMean", "Softmax", "Sqrt", "Subtract"]
    # Four choices more, each measured. The ranges are the smallest and largest values seen; averages over photos,
    # NNCF's default, cut off bright photos, and 13 of 59 points of recall@1 went with them. The slow correction of
    # biases looks layer by layer at what rounding has shifted: cosine 0.994 instead of 0.989 for a backbone; captioners
    # gain nothing from it. Symmetric ranges stay: with asymmetric ones (the preset MIXED), OpenVINO's 8-bit LSTM was
    # far off. And weights use half their range: a processor without AVX-512 VNNI adds two products in 16 bits, which
    # would overflow, and a graph may be copied to one. A backbone has a cosine of 0.987 everywhere; with all of the
    # range 0.989 where nothing overflows, and 0.977 with AVX2 alone.
    chosen = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        overflow_fix=nncf.OverflowFix.ENABLE,
    )
    return nncf.quantize(
        model,
        dataset,
        subset_size=len(samples),
        fast_bias_correction=fast_bias_correction,
        ignored_scope=nncf.IgnoredScope(types=floats, validate=False),  # validate: that a graph has all of these
        # Evens out those channels (SmoothQuant, Xiao et al. 2023) and leaves the softmax in floats: MiniLM, a sentence
        # encoder, in 8 bits keeps a cosine of 0.992 to itself in floats, and 0.60 without.
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        advanced_parameters=chosen,
    )


@cache
def _nncf() -> Any:
    """NNCF, imported on first use since that takes seconds, without its log lines and bars."""
    logging.disable(logging.INFO)  # it announces itself while it is imported
    import nncf
    from nncf.common.logging.track_progress import track

    logging.disable(logging.NOTSET)
    nncf.set_log_level(logging.ERROR)
    track.__init__ = partialmethod(track.__init__, disable=True)
    return nncf


def save(model: ov.Model, path: Path, *, half: bool = False, weights: str = "") -> None:
    """Write `path` (.xml) and its .bin so that a reader never sees two halves of different models.

    `half` stores float weights in 16 bits. `weights` is the fingerprint of the trained weights, for `read_graph` to
    compare.
    """
    model.set_rt_info(weights, ["helpers", "weights"])
    _number(model)
    with atomic_path(path) as temporary, atomic_path(path.with_suffix(".bin")):
        with native_write():
            ov.save_model(model, temporary, compress_to_fp16=half)  # and the .bin beside it
        # Without its .xml a model does not exist, so that goes first and comes back last.
        path.unlink(missing_ok=True)
    seal(path.parent, path.name, path.with_suffix(".bin").name)


def _number(model: ov.Model) -> None:
    """Number the unnamed operations of `model` from 0, so that the same model gives the same file.

    OpenVINO numbers them through the life of the process: a graph would tell how many were made before it.
    """
    model.set_friendly_name("Model")
    for number, operation in enumerate(model.get_ordered_ops()):
        if re.fullmatch(rf"{operation.get_type_name()}_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")


def save_floats(model: ov.Model, path: Path, weights: str = "") -> None:
    """Write `model` to `path` in FP32 and FP16; `weights` as for `save`."""
    save(model, graph_path(path, "fp32"), weights=weights)
    save(model, graph_path(path, "fp16"), half=True, weights=weights)


def export(
    module: nn.Module,
    function: Callable[..., Any],
    path: Path,
    samples: Sequence[Sequence[Tensor]],
    *,
    weights_only: bool = False,
    fast_bias_correction: bool = False,
    attention: bool = False,
    weights: str = "",
) -> None:
    """Write `function` to `path` in all of PRECISIONS; `samples` are the calibration inputs. See `quantise`."""
    model = convert(module, function, *samples)
    save_floats(model, path, weights)
    if weights_only:
        # NNCF leaves some weights in floats (an LSTM's); from the FP16 file, those are stored in 16 bits.
        model = core().read_model(graph_path(path, "fp16"))
    small = quantise(model, samples, weights_only, fast_bias_correction, attention)
    save(small, graph_path(path, "int8"), weights=weights)


# --- How good and how fast --------------------------------------------------------------------------------------


def variants() -> dict[str, tuple[str, str]]:
    """What there is to compare on this processor: name -> precision of the file, arithmetic."""
    chosen = {"fp32": ("fp32", "f32"), "bf16": ("fp32", "bf16"), "fp16": ("fp16", "f32"), "int8": ("int8", "f32")}
    return chosen if supports_bf16() else {name: pair for name, pair in chosen.items() if name != "bf16"}


def measure(
    path: Path,
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    compared: Callable[[Tensor], Tensor] = lambda output: output,
    seconds: float = 0.3,
) -> dict[str, dict[str, float]]:
    """PyTorch's `function` and the graphs exported to `path` beside each other, by variant.

    Args:
        inputs: a batch of N; accuracy and rows a second are of all N, latency is of the first alone.
        compared: what counts of the first output (N, ...). Log-probabilities are large and negative, so any two rows
            of them point nearly the same way: `torch.exp` compares the probabilities.
        seconds: how long to repeat each timing.

    Returns:
        "pytorch" and each of `variants` -> latency_ms, rows_per_second, max_difference and cosine; the variants also
        megabytes (the file). Variants are compared with PyTorch. PyTorch's own comparison is the yardstick: with its
        outputs for the neighbours in the batch, which is what a graph would score that answers something else.
    """
    one = tuple(tensor[:1] for tensor in inputs)
    with torch.inference_mode():
        reference = compared(as_tensors(function(*inputs))[0])
    table = {
        "pytorch": compare(reference, reference.roll(1, 0))
        | {
            "latency_ms": latency(lambda: function(*one), seconds),
            "rows_per_second": 1000 * len(reference) / latency(lambda: function(*inputs), seconds),
        }
    }
    for name, (precision, arithmetic) in variants().items():
        file = graph_path(path, precision)
        graph = Graph(read_graph(file), arithmetic)
        table[name] = compare(reference, compared(graph(*inputs)[0])) | {
            "megabytes": size_on_disk(file) / 1e6,
            "latency_ms": latency(lambda graph=graph: graph(*one), seconds),
            "rows_per_second": throughput(file, inputs, arithmetic, seconds),
        }
    return table


def compare(reference: Tensor, output: Tensor) -> dict[str, float]:
    """How far `output` is from `reference`, both (N, ...): largest difference of any number, and mean cosine.

    The cosine of two vectors is 1 when they point the same way; search only looks at directions.
    """
    reference, output = reference.flatten(1).double(), output.flatten(1).double()  # (N, D)
    cosine = nn.functional.cosine_similarity(reference, output).mean()
    return {"max_difference": (reference - output).abs().max().item(), "cosine": cosine.item()}


def size_on_disk(path: Path) -> int:
    """Bytes of a saved graph: operations and weights."""
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


def latency(call: Callable[[], Any], seconds: float = 0.5) -> float:
    """Median milliseconds of one `call`, repeated for about `seconds`, at least three times, after a warm-up."""
    times: list[float] = []
    with torch.inference_mode():
        call()
        call()
        while sum(times) < seconds or len(times) < 3:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def throughput(path: Path, inputs: Sequence[Tensor], arithmetic: str = "f32", seconds: float = 0.5) -> float:
    """Rows a second when requests may overlap: batches like `inputs` through a queue of parallel requests."""
    arrays = [tensor.numpy() for tensor in inputs]
    with request_queue(compile_graph(read_graph(path), arithmetic, hint="THROUGHPUT")) as queue:
        for _ in range(len(queue)):  # warm-up
            queue.start_async(arrays, share_inputs=True)
        queue.wait_all()
        batches, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            queue.start_async(arrays, share_inputs=True)
            batches += 1
        queue.wait_all()
        return batches * len(arrays[0]) / (time.perf_counter() - start)
