"""OpenVINO graphs: from a function of a PyTorch model, to and from a file, and as a function again.

A graph is the model's arithmetic alone: which operation feeds which, with the weights as constants. It needs no
Python class and no PyTorch to run, and a compiler that sees all of it can fuse operations and choose the fastest
kernels for the processor at hand. A model becomes one graph for each of its functions (`encode_image`, `step`, ...),
saved as `name.xml` (operations) with `name.bin` (weights); `name_fp16.xml` stores the weights in 16 bits, and
`name_int8.xml` multiplies 8-bit integers. `deploy/export.py` writes them.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from helpers.artefacts import check
from helpers.files import InputError, of_the_machine

PRECISIONS = ("fp32", "fp16", "int8")


def graph_path(path: Path, precision: str) -> Path:
    """The file of one precision: `encode.xml`, `encode_fp16.xml`, `encode_int8.xml`."""
    return path if precision == "fp32" else path.with_stem(f"{path.stem}_{precision}")


class _Traced(nn.Module):
    """One function of a module as a module of its own, which is what the converter takes."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module  # registered, so that its weights become constants of the graph
        self.function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return as_tensors(self.function(*inputs))


def as_tensors(outputs: Any) -> tuple[Tensor, ...]:
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
        # Without PyTorch's own check of the recording, which runs it twice more; the tests compare with the model.
        recording = TorchScriptPythonDecoder(
            traced, example_input=tuple(examples[-1]), trace_kwargs={"check_trace": False}
        )
        model = ov.convert_model(recording, example_input=tuple(examples[-1]))
    shapes = {}
    for port, *tensors in zip(model.inputs, *examples, strict=True):
        sizes = zip(*(tensor.shape for tensor in tensors), strict=True)  # of each axis, in all examples
        shape = [found[0] if len(set(found)) == 1 else -1 for found in sizes]
        tokens = len(shape) == 2 and not tensors[0].is_floating_point()
        shapes[port] = ov.PartialShape([-1, -1] if tokens else [-1, *shape[1:]])
    model.reshape(shapes)
    return model


@cache
def core() -> ov.Core:
    """OpenVINO's runtime, one a process."""
    return ov.Core()


def processor() -> str:
    """The processor's name, to state beside every measured time."""
    return core().get_property("CPU", "FULL_DEVICE_NAME")


def read_graph(path: Path, weights: str = "", again: str = "run notebook 05_openvino again") -> ov.Model:
    """A saved graph.

    Args:
        path: of its .xml.
        weights: fingerprint of those that it was made from.
        again: what makes it anew, for the message.

    Raises:
        InputError: the file is missing or damaged, or was made from other weights than `weights` names; or memory, a
            disk or a right to read failed.
    """
    if not path.exists() or not path.with_suffix(".bin").exists():
        raise InputError(f"{path} does not exist with its .bin file; run notebook 05_openvino to export the model.")
    check("notebook 05_openvino", path, path.with_suffix(".bin"))
    try:
        model = core().read_model(path)
        made_from = model.get_rt_info(["helpers", "weights"]).astype(str) if weights else ""
    except (RuntimeError, UnicodeDecodeError) as error:  # or a graph that this course has not written
        reason = str(error).strip().splitlines()[-1]
        wrong = InputError(f"{path} is not a readable OpenVINO graph ({reason}); {again}.")
        raise (of_the_machine(error, path) or wrong) from None
    if made_from != weights:
        raise InputError(
            f"{path} was exported from other weights than the saved model's, or by an earlier version of this course; "
            f"{again}."
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


class RequestQueue:
    """Parallel requests to a graph, answered in the order in which they were begun.

    OpenVINO's own `AsyncInferQueue` calls Python from its threads. Such a callback belongs to its request, and where
    the last to let go of the request is one of these threads, it wants Python's lock, while the main thread, which
    holds that lock, takes the graph down and waits for the thread: both wait for ever, one time in many. Here nothing
    of Python is in a request.

    Args:
        compiled: the graph; compiled for throughput it answers several requests at a time.
        store: gets each request that is done, in the thread that asks, with what was handed to `start_async`.
    """

    def __init__(self, compiled: ov.CompiledModel, store: Callable[[ov.InferRequest, Any], None]) -> None:
        # Twice as many as are answered at a time, so that the next ones wait where they are needed.
        count = 2 * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle = deque(compiled.create_infer_request() for _ in range(count))
        self._busy: deque[tuple[ov.InferRequest, Any]] = deque()
        self._store = store

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def start_async(self, inputs: Any, userdata: Any = None, share_inputs: bool = False) -> None:
        """Begin a request, once there is one that has nothing to do; `userdata` goes to `store` with the answer."""
        if not self._idle:
            self._finish_oldest()
        request = self._idle.popleft()
        request.start_async(inputs, share_inputs=share_inputs)
        self._busy.append((request, userdata))

    def wait_all(self) -> None:
        """Wait until all requests are done and stored."""
        while self._busy:
            self._finish_oldest()

    def give_up(self) -> None:
        """Wait for requests that still run, and store no more: one that goes away while it runs ends the process."""
        while self._busy:
            with suppress(RuntimeError):  # that it failed says another error already
                self._busy.popleft()[0].wait()

    def _finish_oldest(self) -> None:
        request, userdata = self._busy.popleft()
        request.wait()
        self._idle.append(request)
        self._store(request, userdata)


@contextmanager
def request_queue(
    compiled: ov.CompiledModel, store: Callable[[ov.InferRequest, Any], None] = lambda request, userdata: None
) -> Iterator[RequestQueue]:
    """A queue of parallel requests; all are done when the block ends, and where it ends well, stored."""
    queue = RequestQueue(compiled, store)
    try:
        yield queue
        queue.wait_all()
    finally:
        queue.give_up()
