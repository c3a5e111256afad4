"""OpenVINO: a function of a PyTorch model as a graph file in FP32, FP16 and INT8, and as a function again.

A graph is the model's arithmetic alone: which operation feeds which, with the weights as constants. It needs no
Python class and no PyTorch to run, and a compiler that sees all of it can fuse operations and choose the fastest
kernels for the processor at hand. A model becomes one graph for each of its functions (`encode_image`, `step`, ...),
saved as `name.xml` (operations) with `name.bin` (weights); `name_fp16.xml` stores the weights in 16 bits, and
`name_int8.xml` multiplies 8-bit integers. `models.py` does this for the models of this course.

Integer arithmetic: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018). Tools: OpenVINO and NNCF, whose methods are called here.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from helpers.environment import supports_bf16
from helpers.files import InputError

PRECISIONS = ("fp32", "fp16", "int8")


def graph_path(path: Path, precision: str) -> Path:
    """The file of one precision: `encode.xml`, `encode_fp16.xml`, `encode_int8.xml`."""
    return path if precision == "fp32" else path.with_stem(f"{path.stem}_{precision}")


def size_on_disk(path: Path) -> int:
    """Bytes of a saved graph: operations and weights."""
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


# --- From PyTorch to a graph ------------------------------------------------------------------------------------


class _Traced(nn.Module):
    """One function of a module as a module of its own, which is what the converter takes."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module  # registered, so that its weights become constants of the graph
        self.function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return _tensors(self.function(*inputs))


def _tensors(outputs: Any) -> tuple[Tensor, ...]:
    """One tensor, or several of which some are None, as a tuple of tensors: a graph knows no None."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(part for part in outputs if part is not None)


def convert(module: nn.Module, function: Callable[..., Any], *examples: Sequence[Tensor]) -> ov.Model:
    """The graph of `function`, a method of `module` or a function that calls it, from tensors to tensors.

    PyTorch runs `function` once on the last of `examples` and records each operation. The recording holds for any
    batch (axis 0 of every input), for any length where an input is a matrix of token ids (its axis 1), and for any
    size of an axis that differs between the examples, such as that of a cache that grows. `function` must take sizes
    from `.shape`, which is recorded, and not from `len`, which is not, and must have no `if` on values.
    """
    traced = _Traced(module, function).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, on sizes taken from the example; the tests cover other sizes
        model = ov.convert_model(traced, example_input=tuple(examples[-1]))
    shapes = {}
    for port, *tensors in zip(model.inputs, *examples, strict=True):
        sizes = zip(*(tensor.shape for tensor in tensors), strict=True)  # of each axis, in all examples
        shape = [found[0] if len(set(found)) == 1 else -1 for found in sizes]
        tokens = len(shape) == 2 and not tensors[0].is_floating_point()
        shapes[port] = ov.PartialShape([-1, -1] if tokens else [-1, *shape[1:]])
    model.reshape(shapes)
    return model


def quantise(
    model: ov.Model,
    samples: Sequence[Sequence[Tensor]],
    weights_only: bool = False,
    fast_bias_correction: bool = False,
) -> ov.Model:
    """The same graph in 8-bit integers.

    Weights are known, so their range is too. The range of what flows between the operations has to be observed:
    the graph runs on `samples`, tuples of inputs as `function` takes them, which must look like real input
    (training data, never the data that later judges the result). This is calibration. With `weights_only`, weights
    are stored in 8 bits and the arithmetic stays in floats: smaller on disk, and nothing to calibrate.
    """
    nncf = _nncf()
    if weights_only:
        return nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_ASYM)
    dataset = nncf.Dataset(samples, lambda inputs: [tensor.numpy() for tensor in inputs])
    # Three choices, each measured. The ranges are the smallest and largest values seen; averages over photos, NNCF's
    # default, cut off bright photos, and 13 of 59 points of recall@1 went with them. The slow correction of biases
    # looks layer by layer at what rounding has shifted: cosine 0.994 instead of 0.989 for a backbone; captioners
    # gain nothing from it. Symmetric ranges stay: with asymmetric ones (the preset MIXED), OpenVINO's 8-bit LSTM was
    # far off.
    ranges = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    )
    return nncf.quantize(
        model,
        dataset,
        subset_size=len(samples),
        fast_bias_correction=fast_bias_correction,
        advanced_parameters=ranges,
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
    path.parent.mkdir(parents=True, exist_ok=True)
    model.set_rt_info(weights, ["helpers", "weights"])
    temporary = path.with_stem(f".{path.stem}.writing")
    try:
        ov.save_model(model, temporary, compress_to_fp16=half)
        # Without its .xml a model does not exist, so that goes first and comes back last.
        path.unlink(missing_ok=True)
        temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        temporary.with_suffix(".bin").unlink(missing_ok=True)


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
    weights: str = "",
) -> None:
    """Write `function` to `path` in all of PRECISIONS; `samples` are the calibration inputs. See `quantise`."""
    model = convert(module, function, *samples)
    save_floats(model, path, weights)
    if weights_only:
        # NNCF leaves some weights in floats (an LSTM's); from the FP16 file, those are stored in 16 bits.
        model = core().read_model(graph_path(path, "fp16"))
    save(quantise(model, samples, weights_only, fast_bias_correction), graph_path(path, "int8"), weights=weights)


# --- From a graph to a model ------------------------------------------------------------------------------------


@cache
def core() -> ov.Core:
    """OpenVINO's runtime, one a process."""
    return ov.Core()


def processor() -> str:
    """The processor's name, to state beside every measured time."""
    return core().get_property("CPU", "FULL_DEVICE_NAME")


def read_graph(path: Path, weights: str = "") -> ov.Model:
    """A saved graph.

    Raises:
        InputError: the file is missing or torn, or was made from other weights than `weights` names.
    """
    if not path.exists() or not path.with_suffix(".bin").exists():
        raise InputError(f"{path} does not exist with its .bin file; run notebook 05_openvino to export the model.")
    try:
        model = core().read_model(path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{path} is not a readable OpenVINO graph ({reason}); run notebook 05_openvino again."
        ) from None
    if weights and model.get_rt_info(["helpers", "weights"]).astype(str) != weights:
        raise InputError(
            f"{path} was exported from other weights than the saved model's; run notebook 05_openvino again."
        )
    return model


def compile_graph(model: ov.Model, arithmetic: str = "f32", hint: str = "LATENCY") -> ov.CompiledModel:
    """`model` made ready for this processor, with as many threads as PyTorch uses.

    `arithmetic` "f32" computes as PyTorch does. "bf16" rounds what goes into a multiplication to 16 bits, which is
    OpenVINO's own default on processors that have the instructions. `hint` "LATENCY" answers one request as soon
    as possible, "THROUGHPUT" as many requests a second as possible.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": arithmetic,
        "PERFORMANCE_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Off: kernels that are generated for chains of operations. For attention over a cache that grows, the one of
        # OpenVINO 2026.4 is wrong from the 16th key on. They make no model of this course faster.
        "SNIPPETS_MODE": "DISABLE",
    }
    return core().compile_model(model, "CPU", settings)


class Graph:
    """A graph as a function from PyTorch tensors to a tuple of PyTorch tensors.

    Inputs are lent to OpenVINO without a copy; outputs are copied out, since the next call overwrites them.
    """

    def __init__(self, model: ov.Model, arithmetic: str = "f32") -> None:
        self._request = compile_graph(model, arithmetic).create_infer_request()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
        outputs = self._request.infer(arrays, share_inputs=True, share_outputs=False)
        return tuple(torch.from_numpy(output) for output in outputs.values())


# --- How good and how fast --------------------------------------------------------------------------------------


def variants() -> dict[str, tuple[str, str]]:
    """What there is to compare on this processor: name -> precision of the file, arithmetic."""
    chosen = {"fp32": ("fp32", "f32"), "bf16": ("fp32", "bf16"), "fp16": ("fp16", "f32"), "int8": ("int8", "f32")}
    return chosen if supports_bf16() else {name: pair for name, pair in chosen.items() if name != "bf16"}


def measure(
    path: Path, function: Callable[..., Any], inputs: Sequence[Tensor], seconds: float = 0.3
) -> dict[str, dict[str, float]]:
    """PyTorch's `function` and the graphs exported to `path` beside each other, by variant.

    Args:
        inputs: a batch of N; accuracy and rows a second are of all N, latency is of the first alone.
        seconds: how long to repeat each timing.

    Returns:
        "pytorch" and each of `variants` -> latency_ms, rows_per_second; the variants also megabytes (the file),
        max_difference and cosine to PyTorch (of the first output).
    """
    one = tuple(tensor[:1] for tensor in inputs)
    with torch.inference_mode():
        reference = _tensors(function(*inputs))[0]
    rows = 1000 * len(reference) / latency(lambda: function(*inputs), seconds)
    table = {"pytorch": {"latency_ms": latency(lambda: function(*one), seconds), "rows_per_second": rows}}
    for name, (precision, arithmetic) in variants().items():
        file = graph_path(path, precision)
        graph = Graph(read_graph(file), arithmetic)
        table[name] = compare(reference, graph(*inputs)[0]) | {
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


@contextmanager
def request_queue(
    compiled: ov.CompiledModel, store: Callable[[ov.InferRequest, Any], None]
) -> Iterator[ov.AsyncInferQueue]:
    """A queue of parallel requests; `store` gets each one that is done, with what was handed to `start_async`.

    All are done when the block ends, however it ends: a queue that goes away while one still runs ends the process.
    """
    queue = ov.AsyncInferQueue(compiled)
    queue.set_callback(store)
    try:
        yield queue
    finally:
        queue.wait_all()


def throughput(path: Path, inputs: Sequence[Tensor], arithmetic: str = "f32", seconds: float = 0.5) -> float:
    """Rows a second when requests may overlap: batches like `inputs` through a queue of parallel requests."""
    queue = ov.AsyncInferQueue(compile_graph(read_graph(path), arithmetic, hint="THROUGHPUT"))
    arrays = [tensor.numpy() for tensor in inputs]
    for _ in range(len(queue)):  # warm-up
        queue.start_async(arrays, share_inputs=True)
    queue.wait_all()
    batches, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        queue.start_async(arrays, share_inputs=True)
        batches += 1
    queue.wait_all()
    return batches * len(arrays[0]) / (time.perf_counter() - start)
