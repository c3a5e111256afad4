"""What an album looks through: an encoder of photos and words, and a captioner: those of a finished run, or of the hub.

Any object with the attributes of `Encoder` or `Describer` serves an album. Both take photos as squares of bytes and say
how a photo becomes one. Two that have the same function for it get the same squares: those of a run that look through
one backbone, which then runs once a photo.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import openvino as ov
from PIL import Image
from torch import Tensor

from helpers.captioning.blip import load_blip
from helpers.captioning.captioner import LOOKS_AT, Captioner
from helpers.captioning.captioner import WEIGHTS as CAPTIONER_WEIGHTS
from helpers.data.images import resize_photo
from helpers.deploy.clip import openvino_clip
from helpers.encoders.clip import ClipPair
from helpers.encoders.pretrained import PretrainedPair
from helpers.features.backbones import graph_file
from helpers.files import InputError, fingerprint_files
from helpers.graphs import PRECISIONS, compile_graph, graph_path, read_graph, request_queue
from helpers.profiles import way_to_the_end
from helpers.search.engine import CAPTIONERS, Pair, PhotoSearch

PUBLIC = "public"  # below the outputs of a run: models of others, converted
NO_CAPTIONS = "none"  # in the place of a captioner's name
_TOGETHER = 32  # photos whose captions are decoded together: 64 are a tenth faster, and take 300 MB more


class Encoder(Protocol):
    """Turns photos and texts into unit vectors of one space.

    Attributes:
        name: what a user calls it.
        fingerprint: names its weights; vectors of another fingerprint are not compared with its own.
        photo_size: S, pixels a side of the photos that it takes.
        precisions: in which it reads queries.
        known: unit vectors (M, D) of texts by which hubs are known, see `reranking.crowding`; may be (0, D).
    """

    name: str
    fingerprint: str
    photo_size: int
    precisions: list[str]
    known: np.ndarray

    def square(self, photo: Image.Image) -> np.ndarray:
        """A photo as it wants to see it, uint8 (S, S, 3)."""

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3) -> float32 unit vectors (N, D)."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, D)."""

    def reader(self, precision: str) -> Pair:
        """What turns queries into vectors in that precision, as `index.query_vector` takes it."""


class Describer(Protocol):
    """Says in a sentence what is on a photo.

    Attributes:
        name: what a user calls it.
        fingerprint: names its weights.
        photo_size: S, pixels a side of the photos that it takes.
    """

    name: str
    fingerprint: str
    photo_size: int

    def square(self, photo: Image.Image) -> np.ndarray:
        """A photo as it wants to see it, uint8 (S, S, 3)."""

    def caption_photos(self, pixels: np.ndarray) -> list[str]:
        """uint8 (N, S, S, 3) -> a sentence each."""


class Eye:
    """A run's backbone for many photos at once: one a request, a request a core.

    It keeps what it saw last: encoder and captioner look at the same photos, one after the other.
    """

    def __init__(self, outputs: Path, name: str, precision: str) -> None:
        self._graph = graph_path(graph_file(outputs, name), precision)
        self._photos: np.ndarray | None = None
        self._seen: tuple[np.ndarray, np.ndarray] | None = None

    @cached_property
    def _model(self) -> ov.Model:
        return read_graph(self._graph)

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that it takes."""
        return self._model.input(0).partial_shape[1].get_length()

    def square(self, photo: Image.Image) -> np.ndarray:
        """The whole photo, uint8 (S, S, 3)."""
        return resize_photo(photo, self.photo_size)

    @cached_property
    def _compiled(self) -> ov.CompiledModel:
        self._model.reshape([1, self.photo_size, self.photo_size, 3])
        return compile_graph(self._model, hint="THROUGHPUT")

    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Photos uint8 (N, S, S, 3) -> float32 vectors (N, D) and grid (N, R, C)."""
        if self._photos is not pixels:
            arrays = [np.empty((len(pixels), *list(port.shape)[1:]), np.float32) for port in self._compiled.outputs]

            def store(request: ov.InferRequest, row: int) -> None:
                for place, array in enumerate(arrays):
                    array[row] = request.get_output_tensor(place).data[0]

            with request_queue(self._compiled, store) as queue:
                for row in range(len(pixels)):
                    queue.start_async({0: pixels[row : row + 1]}, row)  # waits while all requests are busy
            self._photos, self._seen = pixels, (arrays[0], arrays[1])
        return self._seen


Eyes = Callable[[str], Eye]  # by the name of a backbone; the same one whoever asks, so that it looks once


class OneLook(PretrainedPair):
    """Pretrained towers that see each photo, not its mirror image as well, which would take twice as long."""

    def encode_photo(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> unit vectors (B, E)."""
        return self.model.encode_image(self.look(pixels)[:, None])  # (B, 1, D) or (B, 1, R, C)


class RunEncoder:
    """A search model of a finished run, as an `Encoder`."""

    def __init__(self, run: PhotoSearch, model: str, precision: str, eyes: Eyes) -> None:
        self._run, self._precision = run, precision
        self.name = model
        weights = run.weights(model)
        if not weights.exists():
            raise InputError(f"There is no trained model {model!r} in {run.outputs}; run the chain up to 05_openvino.")
        self.fingerprint = f"{fingerprint_files([weights])}-{precision}"
        self._eye = None if model == "scratch" else eyes(run.backbone_of(model))
        self._sees_grid = run.looks_at_grid(model)

    @property
    def precisions(self) -> list[str]:
        return self._run.precisions(self.name)

    @property
    def photo_size(self) -> int:
        return self._eye.photo_size if self._eye else self.reader(self._precision).photo_size

    @property
    def square(self) -> Callable[[Image.Image], np.ndarray]:
        return self._eye.square if self._eye else lambda photo: resize_photo(photo, self.photo_size)

    @cached_property
    def known(self) -> np.ndarray:
        return self._run.training_texts(self.name)

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3) -> float32 unit vectors (N, D)."""
        if self._eye is None:
            return self.reader(self._precision).embed_photos(pixels)
        vectors, grid = self._eye.look(pixels)
        seen = grid if self._sees_grid else vectors
        return self._run.embed_views(self.name, seen[:, None], self._precision)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, D)."""
        return self.reader(self._precision).embed_texts(texts)

    def reader(self, precision: str) -> Pair:
        """The model itself; it looks at a photo that asks as the album looked at its own."""
        pair = self._run.pair(self.name, precision)
        return OneLook(*pair) if isinstance(pair, PretrainedPair) else pair


class RunCaptioner:
    """A captioner of a finished run, as a `Describer`."""

    def __init__(self, run: PhotoSearch, kind: str, precision: str, eyes: Eyes) -> None:
        if kind not in run.captioners:
            raise InputError(
                f"There is no captioner {kind!r} in {run.outputs}; choose of: {', '.join(run.captioners)}."
            )
        self._run = run
        self.name = kind
        self.fingerprint = f"{fingerprint_files([run.outputs / CAPTIONERS / kind / CAPTIONER_WEIGHTS])}-{precision}"
        self._eyes = eyes

    @cached_property
    def _captioner(self) -> Captioner:
        return self._run.captioner(self.name)

    @cached_property
    def _eye(self) -> Eye:
        return self._eyes(self._captioner.backbone)

    @property
    def photo_size(self) -> int:
        return self._eye.photo_size

    @property
    def square(self) -> Callable[[Image.Image], np.ndarray]:
        return self._eye.square

    def caption_photos(self, pixels: np.ndarray) -> list[str]:
        """uint8 (N, S, S, 3) -> a sentence each."""
        vectors, grid = self._eye.look(pixels)
        seen = vectors if LOOKS_AT[self.name] == "vectors" else grid
        return self._captioner.texts(self._captioner.decode(seen, batch=_TOGETHER))


class PublicEncoder:
    """A dual encoder that others trained, such as CLIP, as an `Encoder`; its hubs are not known."""

    def __init__(self, run: PhotoSearch, name: str, precision: str) -> None:
        self._open = lambda precision: openvino_clip(name, run.outputs / PUBLIC, photos, precision)
        photos = [photo.path for photo in run.manifest.split("train")]
        pair = self._open(precision)
        self._pairs = {precision: pair}
        self.name, self.photo_size, self.square = name, pair.photo_size, pair.square
        self.fingerprint = f"{pair.fingerprint}-{precision}"
        self.precisions = list(PRECISIONS)
        self.embed_photos, self.embed_texts = pair.embed_photos, pair.embed_texts
        self.known = np.empty((0, 0), np.float32)

    def reader(self, precision: str) -> ClipPair:
        """The model itself."""
        if precision not in self._pairs:
            self._pairs[precision] = self._open(precision)
        return self._pairs[precision]


def is_public(name: str) -> bool:
    """Whether `name` is one of the Hugging Face hub, `somebody/model`, or a folder with such a model, `./model`."""
    return "/" in name or "\\" in name


def models_of(run: PhotoSearch, model: str, captioner: str, precision: str) -> tuple[Encoder, Describer | None]:
    """The encoder and the captioner of these names, which look through one eye where they can; NO_CAPTIONS: None.

    Raises:
        InputError: there is none, or not in this precision.
    """
    eyes = cache(lambda name: Eye(run.outputs, name, precision))
    encoder = encoder_of(run, model, precision, eyes)
    if not encoder.precisions:
        raise InputError(
            f"The run in {run.outputs} is not finished (no {encoder.name} model on OpenVINO): "
            f"{way_to_the_end(run.outputs.resolve())}."
        )
    if precision not in encoder.precisions:
        raise InputError(
            f"There is no precision {precision!r} of the model {encoder.name} in {run.outputs}; "
            f"choose one of: {', '.join(encoder.precisions)}."
        )
    return encoder, None if captioner == NO_CAPTIONS else describer_of(run, captioner, precision, eyes)


def encoder_of(run: PhotoSearch, name: str, precision: str, eyes: Eyes) -> Encoder:
    """The encoder that is called `name`: a model of the run, or one of the Hugging Face hub.

    Raises:
        InputError: there is none, it was not saved, or it cannot be had.
    """
    return PublicEncoder(run, name, precision) if is_public(name) else RunEncoder(run, name, precision, eyes)


def describer_of(run: PhotoSearch, name: str, precision: str, eyes: Eyes) -> Describer:
    """The captioner that is called `name`: one of the run's, or one of the Hugging Face hub, which runs in PyTorch.

    Raises:
        InputError: there is none, or it cannot be had.
    """
    return load_blip(name) if is_public(name) else RunCaptioner(run, name, precision, eyes)
