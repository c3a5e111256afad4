"""The models of this course on OpenVINO: export beside the trained weights, load behind the same interfaces.

    pair = load_openvino_pair(Path("outputs/sample/dual_encoder"), "int8")             # as from load_dual_encoder
    captioner = load_openvino_captioner(Path("outputs/sample/captioners/lstm"))        # as from load_captioner

A graph remembers the fingerprint of the weights it was made from; after a new training it is refused, not used.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from helpers.captioning.captioner import WEIGHTS as CAPTIONER_WEIGHTS
from helpers.captioning.captioner import Captioner, load_captioner
from helpers.captioning.decoding import Search, Trail
from helpers.deploy.beam_loop import beam_graph
from helpers.deploy.export import export
from helpers.encoders.dual_encoder import WEIGHTS, DualEncoderConfig, EncoderPair, load_dual_encoder
from helpers.encoders.fusion import WEIGHTS as FUSION_WEIGHTS
from helpers.encoders.fusion import FusionConfig, FusionEncoder, load_fusion
from helpers.encoders.pretrained import PretrainedConfig, PretrainedPair, load_pretrained_pair
from helpers.encoders.sentence_encoder import sentence_vectors
from helpers.features.backbones import Backbone, graph_file
from helpers.files import fingerprint_files
from helpers.graphs import Graph, graph_path, read_graph


def export_dual_encoder(pair: EncoderPair, folder: Path, pixels: np.ndarray, texts: Sequence[str]) -> None:
    """Write `image_encoder.xml` and `text_encoder.xml`, in all precisions, beside the pair saved in `folder`.

    `pixels`, uint8 training photos (B, S, S, 3), calibrate the photo tower. The text tower keeps its arithmetic in
    floats: an LSTM in 8 bits was no faster when measured, and the CPU cannot run every LSTM so.
    """
    weights = fingerprint_files([folder / WEIGHTS])
    photos = [(torch.from_numpy(photo[None]),) for photo in pixels]
    tokens = [(torch.from_numpy(pair.tokens(texts)),)]
    model = pair.model
    export(model, model.encode_image, folder / "image_encoder.xml", photos, weights=weights)
    export(model, model.encode_text, folder / "text_encoder.xml", tokens, weights_only=True, weights=weights)


def _captioner_version(folder: Path) -> str:
    """What a captioner's graphs must have been made from: these weights, and captions that share a photo's memory."""
    return fingerprint_files([folder / CAPTIONER_WEIGHTS]) + ", one memory a photo"


@torch.no_grad()
def export_captioner(captioner: Captioner, folder: Path, features: np.ndarray, captions: Sequence[str]) -> None:
    """Write the graphs `encode`, `initial_state` and `step`, in all precisions, beside the captioner saved in `folder`.

    `features` of training photos (B, D) or (B, R, C) and a caption of each calibrate: the captioner is walked along
    the captions, and each step's inputs are one sample.
    """
    weights = _captioner_version(folder)
    model = captioner.model.eval()
    features = torch.from_numpy(features)
    tokens = torch.from_numpy(captioner.tokenizer.encode_batch(captions, captioner.max_length))  # (B, T)
    memory = model.encode(features)
    state = model.initial_state(memory)
    steps = []
    for position in range(tokens.shape[1] - 1):
        steps.append((tokens[:, position], memory, *state))
        state = model.step(tokens[:, position], state, memory)[1]

    def step(tokens: Tensor, memory: Tensor, *state: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, state, attention = model.step(tokens, state, memory)
        return log_probs, *state, attention

    functions = {"encode": model.encode, "initial_state": model.initial_state, "step": step}
    samples = {"encode": [(features,)], "initial_state": [(memory,)], "step": steps}
    for name, function in functions.items():
        path = folder / f"{name}.xml"
        export(model, function, path, samples[name], fast_bias_correction=True, weights=weights)


class OpenVINODualEncoder(nn.Module):
    """An exported dual encoder, or pretrained towers, behind the interface of the PyTorch one."""

    def __init__(
        self, folder: Path, config: DualEncoderConfig | PretrainedConfig, precision: str, arithmetic: str
    ) -> None:
        super().__init__()
        self.config = config
        weights = fingerprint_files([folder / WEIGHTS])
        self.image = Graph(read_graph(graph_path(folder / "image_encoder.xml", precision), weights), arithmetic)
        self.text = Graph(read_graph(graph_path(folder / "text_encoder.xml", precision), weights), arithmetic)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3), or what pretrained towers see, (B, V, D) or (B, V, R, C) -> unit vectors (B, D)."""
        return self.image(pixels)[0]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 (B, T), 0 is padding, or sentence vectors (B, W) -> (B, embedding), L2-normalised."""
        return self.text(tokens)[0]


def load_openvino_pair(folder: Path, precision: str = "fp32", arithmetic: str = "f32") -> EncoderPair:
    """The pair saved in `folder`, run by OpenVINO in one of PRECISIONS.

    Raises:
        InputError: the pair or its graphs are missing, damaged, or do not belong together.
    """
    pair = load_dual_encoder(folder)
    return EncoderPair(OpenVINODualEncoder(folder, pair.model.config, precision, arithmetic), pair.tokenizer)


def export_pretrained_pair(pair: PretrainedPair, folder: Path, views: np.ndarray, texts: Sequence[str]) -> None:
    """Write `image_encoder.xml` and `text_encoder.xml`, the trained layers, beside the pair saved in `folder`.

    The backbone before them has a graph of its own, which serves all models that look through it. A layer alone gains
    nothing from 8-bit arithmetic, so only its weights are stored so; the last layers of a backbone do. `views` are what
    the pair sees of photos, (B, V, D) or (B, V, R, C).
    """
    weights = fingerprint_files([folder / WEIGHTS])
    model = pair.model
    # Photos come with one view or with two.
    photos = [(torch.from_numpy(views[:, :count]),) for count in (1, views.shape[1])]
    sentences = [(torch.from_numpy(sentence_vectors(texts, model.config.sentence_encoders)),)]
    light = not model.config.tail
    export(model, model.encode_image, folder / "image_encoder.xml", photos, weights_only=light, weights=weights)
    export(model, model.encode_text, folder / "text_encoder.xml", sentences, weights_only=True, weights=weights)


class OpenVINOBackbone(nn.Module):
    """An exported backbone behind the interface of the PyTorch one."""

    def __init__(self, plain: Backbone, graph: Graph) -> None:
        super().__init__()
        self.name, self.photo_size, self.grid_shape = plain.name, plain.photo_size, plain.grid_shape
        self._graph = graph

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Photos uint8 (B, S, S, 3) -> vectors (B, D) and grid (B, R, C)."""
        return self._graph(photos)


def load_openvino_pretrained_pair(
    folder: Path, outputs: Path, precision: str = "fp32", arithmetic: str = "f32"
) -> PretrainedPair:
    """The pair saved in `folder`, run by OpenVINO in one of PRECISIONS, with the backbone of the run in `outputs`.

    Raises:
        InputError: the pair or its graphs are missing, damaged, or do not belong together.
    """
    pair = load_pretrained_pair(folder)
    graph = Graph(read_graph(graph_path(graph_file(outputs, pair.backbone.name), precision)), arithmetic)
    model = OpenVINODualEncoder(folder, pair.model.config, precision, arithmetic)
    return PretrainedPair(model, OpenVINOBackbone(pair.backbone, graph))


def export_fusion(encoder: FusionEncoder, folder: Path, vectors: np.ndarray, sentences: np.ndarray) -> None:
    """Write `fusion.xml`, in all precisions, beside the encoder saved in `folder`.

    `vectors` (B, D) of training photos from the backbone and `sentences` (B, W) of a caption each from the sentence
    encoder calibrate, as pairs and with either side left out.
    """
    weights = fingerprint_files([folder / FUSION_WEIGHTS])
    pairs = torch.from_numpy(vectors), torch.from_numpy(sentences)
    flags = torch.ones(len(vectors), dtype=torch.bool)
    samples = [
        (*pairs, has_photo, has_text) for has_photo, has_text in ((flags, flags), (flags, ~flags), (~flags, flags))
    ]
    export(encoder.model, encoder.model.forward, folder / "fusion.xml", samples, weights=weights)


class OpenVINOFusion(nn.Module):
    """An exported fusion model behind the interface of the PyTorch one."""

    def __init__(self, folder: Path, config: FusionConfig, precision: str, arithmetic: str) -> None:
        super().__init__()
        self.config = config
        weights = fingerprint_files([folder / FUSION_WEIGHTS])
        self.graph = Graph(read_graph(graph_path(folder / "fusion.xml", precision), weights), arithmetic)

    def forward(self, photos: Tensor, texts: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """Photos (B, D), texts (B, W), bool flags (B,) -> (B, embedding), L2-normalised."""
        return self.graph(photos, texts, has_photo, has_text)[0]


def load_openvino_fusion(folder: Path, precision: str = "fp32", arithmetic: str = "f32") -> FusionEncoder:
    """The encoder saved in `folder`, its fusion model run by OpenVINO in one of PRECISIONS.

    Raises:
        InputError: the encoder or its graph is missing, damaged, or they do not belong together.
    """
    config = load_fusion(folder).config
    return FusionEncoder(OpenVINOFusion(folder, config, precision, arithmetic))


class OpenVINOCaptioner(nn.Module):
    """An exported captioner behind the interface of the PyTorch ones, so that the same decoders serve it.

    For a single photo it also answers a beam search as a whole. A graph is compiled when it is first needed.
    """

    def __init__(self, folder: Path, precision: str, arithmetic: str) -> None:
        super().__init__()
        weights = _captioner_version(folder)
        self._models = {
            name: read_graph(graph_path(folder / f"{name}.xml", precision), weights)
            for name in ("encode", "initial_state", "step")
        }
        self._arithmetic = arithmetic
        self._graphs: dict[str | Search, Graph] = {}

    def _graph(self, task: str | Search) -> Graph:
        """One of the three graphs, or all of them with a search."""
        if task not in self._graphs:
            model = self._models[task] if isinstance(task, str) else beam_graph(*self._models.values(), task)
            self._graphs[task] = Graph(model, self._arithmetic)
        return self._graphs[task]

    def encode(self, features: Tensor) -> Tensor:
        """Photo features (B, D) or (B, R, C) -> memory, batch first."""
        return self._graph("encode")(features)[0]

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """The state before the first token."""
        return self._graph("initial_state")(memory)

    def step(
        self, tokens: Tensor, state: tuple[Tensor, ...], memory: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """Tokens (B,) -> log-probabilities of the next (B, V), the new state, attention (B, R) or None."""
        log_probs, *rest = self._graph("step")(tokens, memory, *state)
        attention = rest[len(state)] if len(rest) > len(state) else None
        return log_probs, tuple(rest[: len(state)]), attention

    def search(self, features: Tensor, search: Search) -> Trail:
        """A whole beam search in one request: features of a photo (1, D) or (1, R, C) -> all beginnings, the winner."""
        outputs = self._graph(search)(features)
        rows, tokens, won_score, won_length, won_row, *attention = (output.numpy() for output in outputs)
        before = [[], *rows[:-1].tolist()]  # a step's rows come from the step before
        looked = list(attention[0]) if attention else [None] * len(tokens)
        return Trail(before, tokens.tolist(), looked, won_score.tolist(), won_length.tolist(), won_row.tolist())


def load_openvino_captioner(folder: Path, precision: str = "fp32", arithmetic: str = "f32") -> Captioner:
    """The captioner saved in `folder`, run by OpenVINO in one of PRECISIONS.

    Raises:
        InputError: the captioner or its graphs are missing, damaged, or do not belong together.
    """
    return replace(load_captioner(folder), model=OpenVINOCaptioner(folder, precision, arithmetic))
