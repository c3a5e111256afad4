"""Search over a finished run: its models, their indexes and its captioner behind one object.

    engine = PhotoSearch(Path("outputs/sample"))
    engine.search(text="two dogs in the snow", k=3)               # three hits, the best first
    engine.search(text="in the snow", photo=image, text_weight=0.5)
    engine.search(text="a dog", without="people")
    engine.like("1000268201.jpg", k=3)                            # what looks most like one of its own photos
    engine.caption(image)                                         # "a dog is running in the snow"

Everything runs on OpenVINO, and is loaded when it is first asked for, once. Indexes hold vectors made in FP32, and a
query may come from a graph of any precision: its vector is nearly the same, and that is why it may.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from helpers.captioning.captioner import Captioner
from helpers.data.images import load_pixels
from helpers.data.manifest import Photo, load_manifest
from helpers.deploy.models import (
    OpenVINOBackbone,
    load_openvino_captioner,
    load_openvino_fusion,
    load_openvino_pair,
    load_openvino_pretrained_pair,
)
from helpers.encoder_names import SEPARATOR
from helpers.encoders.clip import ClipPair
from helpers.encoders.dual_encoder import WEIGHTS, EncoderPair, in_batches
from helpers.encoders.fusion import WEIGHTS as FUSION_WEIGHTS
from helpers.encoders.fusion import FusionEncoder
from helpers.encoders.pretrained import PretrainedPair, photo_views
from helpers.encoders.sentence_encoder import beside, saved_sentences
from helpers.features.backbones import graph_file, load_backbone
from helpers.features.rows import Views
from helpers.features.store import Features
from helpers.files import InputError, fingerprint_files, read_json
from helpers.graphs import PRECISIONS, Graph, graph_path, read_graph
from helpers.search.index import SearchIndex, query_vector
from helpers.search.reranking import crowding

Pair = EncoderPair | PretrainedPair | FusionEncoder | ClipPair

MODELS = {"scratch": "dual_encoder", "pretrained": "pretrained_encoder", "fusion": "fusion"}  # name -> its folder
CAPTIONERS = "captioners"  # the folder of their folders
CAPTIONER = f"{CAPTIONERS}/attention"
GRAPHS = {"scratch": ("image_encoder", "text_encoder"), "pretrained": ("image_encoder", "text_encoder")}
GRAPHS |= {"fusion": ("fusion",)}


class RememberingBackbone(nn.Module):
    """A backbone that keeps what it saw last: a photo goes to a model, to the captioner, and often to another model."""

    def __init__(self, backbone: OpenVINOBackbone, keep: int = 4) -> None:
        super().__init__()
        self.name, self.photo_size, self.grid_shape = backbone.name, backbone.photo_size, backbone.grid_shape
        self._backbone, self._keep = backbone, keep
        self._seen: dict[bytes, tuple[Tensor, Tensor]] = {}

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Photos uint8 (B, S, S, 3) -> vectors (B, D) and grid (B, R, C)."""
        key = hashlib.sha256(photos.contiguous().numpy()).digest()
        if key not in self._seen:
            if len(self._seen) == self._keep:
                self._seen.pop(next(iter(self._seen)))  # the oldest
            self._seen[key] = self._backbone(photos)
        return self._seen[key]


@dataclass(frozen=True)
class Hit:
    """A photo that was found, and how well: the cosine of the angle between its vector and the query's.

    Where words alone asked, half of how crowded it is around the photo is taken off, see `reranking.py`. What is taken
    off where something was unwanted, says `SearchIndex.search`.

    Attributes:
        photo: what was found.
        score: how well it fits.
        twins: further copies of the photo (another size, another format), which an album shows as one with it.
    """

    photo: Photo
    score: float
    twins: tuple[Photo, ...] = ()


class PhotoSearch:
    """Search and captions over the run in `outputs`, such as `outputs/sample`.

    Raises:
        InputError: the run has no manifest. What else is missing shows when it is first asked for.
    """

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.manifest = load_manifest(outputs)
        self.photos = {photo.id: photo for photo in self.manifest.photos}
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._indexes: dict[str, SearchIndex] = {}
        self._backbones: dict[tuple[str, str], RememberingBackbone] = {}
        self._captioners: dict[tuple[str, str], Captioner] = {}

    # --- What there is ---

    @property
    def title(self) -> str:
        """The name of what is searched."""
        return self.manifest.name

    @cached_property
    def models(self) -> list[str]:
        """The models of this run that have an index, the pretrained towers first: they find most.

        Raises:
            InputError: no model has one.
        """
        names = [name for name in ("pretrained", *MODELS) if (self.home(name) / "vector_db/metadata.json").exists()]
        if not names:
            raise InputError(f"No model in {self.outputs} has an index yet; run the chain up to notebook 06_search.")
        return list(dict.fromkeys(names))

    def precisions(self, model: str) -> list[str]:
        """The precisions in which the graphs of `model` are there."""
        graphs = [self.home(model) / f"{name}.xml" for name in GRAPHS[model]]
        if model != "scratch":  # it looks through a backbone, which has a graph of its own
            graphs.append(graph_file(self.outputs, self.backbone_of(model)))
        return [one for one in PRECISIONS if all(graph_path(graph, one).exists() for graph in graphs)]

    def backbone_of(self, model: str) -> str:
        """The name of the backbone that `model` looks through; all but "scratch" have one."""
        return self._config(model)["backbone"]

    def looks_at_grid(self, model: str) -> bool:
        """Whether `model` takes the grid of its backbone and not its vector: it has the last layers as its own."""
        return bool(self._config(model).get("tail"))

    def _config(self, model: str) -> dict[str, Any]:
        return read_json(self.home(model) / "config.json", made_by="the notebook that trains it")

    @cached_property
    def captioners(self) -> list[str]:
        """The captioners that are on OpenVINO; the one whose captions of the validation photos had most CIDEr-D first.

        Raises:
            InputError: there is none.
        """
        scores = {}
        for graph in sorted((self.outputs / CAPTIONERS).glob("*/encode.xml")):
            metrics = graph.with_name("metrics.json")
            found = read_json(metrics) if metrics.exists() else {}
            scores[graph.parent.name] = found.get("validation", {}).get("cider_d", -1.0)
        if not scores:
            raise InputError(f"No captioner in {self.outputs} is on OpenVINO yet; run the chain up to 05_openvino.")
        return sorted(scores, key=scores.get, reverse=True)

    def home(self, model: str) -> Path:
        """The folder of `model`.

        Raises:
            InputError: there is no such model.
        """
        if model not in MODELS:
            raise InputError(f"There is no model {model!r} to search with; choose one of: {', '.join(MODELS)}.")
        return self.outputs / MODELS[model]

    def fingerprint(self, model: str) -> str:
        """Twelve hex digits that name the weights of `model`, and with them the space that its vectors live in."""
        return fingerprint_files([self.weights(model)])

    def weights(self, model: str) -> Path:
        """The file of the weights of `model`."""
        return self.home(model) / (FUSION_WEIGHTS if model == "fusion" else WEIGHTS)

    # --- What it takes ---

    def pair(self, model: str, precision: str = "fp32") -> Pair:
        """`model` on OpenVINO, in one of PRECISIONS.

        Raises:
            InputError: it, or its graphs, are missing or damaged, or there is no such precision.
        """
        if precision not in PRECISIONS:
            raise InputError(f"There is no precision {precision!r}; choose one of: {', '.join(PRECISIONS)}.")
        home = self.home(model)
        if (model, precision) not in self._pairs:
            if model == "scratch":
                pair = load_openvino_pair(home, precision)
            elif model == "pretrained":
                pair = load_openvino_pretrained_pair(home, self.outputs, precision)
                self._backbones.setdefault((pair.backbone.name, precision), RememberingBackbone(pair.backbone))
                pair = pair._replace(backbone=self._backbones[pair.backbone.name, precision])
            else:
                encoder = load_openvino_fusion(home, precision)
                pair = encoder._replace(backbone=self._backbone(encoder.config.backbone, precision))
            self._pairs[model, precision] = pair
        return self._pairs[model, precision]

    def _backbone(self, name: str, precision: str) -> RememberingBackbone:
        if (name, precision) not in self._backbones:
            graph = Graph(read_graph(graph_path(graph_file(self.outputs, name), precision)))
            self._backbones[name, precision] = RememberingBackbone(OpenVINOBackbone(load_backbone(name), graph))
        return self._backbones[name, precision]

    def index(self, model: str) -> SearchIndex:
        """All photos in the space of `model`, as saved by notebook 06.

        Raises:
            InputError: there is none, or it belongs to other weights.
        """
        if model not in self._indexes:
            self._indexes[model] = SearchIndex.load(self.home(model) / "vector_db", self.fingerprint(model))
        return self._indexes[model]

    def build_index(self, model: str, looks: Sequence[Features]) -> SearchIndex:
        """Make the index of `model` over all photos, save it, and use it from now on.

        Args:
            model: one of MODELS.
            looks: what notebook 02 saw in the photos, and in their mirror images, if it looked at them, by
                `backbone_of(model)`; nothing for "scratch", which looks itself.
        """
        index = SearchIndex(self.pair(model).model.config.embedding, self.fingerprint(model))
        photos, known = list(self.photos.values()), self.training_texts(model)
        for first in range(0, len(photos), 8192):  # some at a time: decoded, 100,000 photos take 3 GB
            part = photos[first : first + 8192]
            vectors = self._photo_vectors(model, part, looks)
            index.add([photo.id for photo in part], vectors, crowding(vectors, known))
        index.save(self.home(model) / "vector_db")
        self._indexes[model] = index
        return index

    def _photo_vectors(self, model: str, photos: Sequence[Photo], looks: Sequence[Features]) -> np.ndarray:
        """(N, D), from the photos' bytes, or, faster, from what notebook 02 keeps of them."""
        ids, pair = [photo.id for photo in photos], self.pair(model)
        if model == "scratch":
            return pair.embed_photos(load_pixels([photo.path for photo in photos], pair.photo_size))
        return self.embed_views(model, pair.views(looks, ids) if model == "pretrained" else photo_views(looks[:1], ids))

    def embed_views(self, model: str, views: np.ndarray | Views, precision: str = "fp32") -> np.ndarray:
        """What `model` sees of photos, or of them and their mirror images, by its backbone -> (N, D).

        `views` are vectors (N, V, W), or, where it has layers of the backbone as its own, grids (N, V, R, C).
        """
        pair = self.pair(model, precision)
        if model == "pretrained":
            return in_batches(pair.model, pair.model.encode_image, views)
        return pair.embed(views[:, 0])

    def training_texts(self, model: str) -> np.ndarray:
        """The captions of all training photos, (M, D), by which hubs are known."""
        texts, pair = [text for photo in self.manifest.split("train") for text in photo.captions], self.pair(model)
        if model == "scratch":
            return pair.embed_texts(texts)
        file = {"pretrained": "sentences/train_{}.npy", "fusion": "sentences_train_{}.npy"}[model]
        names = pair.model.config.sentence_encoders.split(SEPARATOR)
        sentences = beside(
            [saved_sentences(texts, self.home(model) / file.format(place), name) for place, name in enumerate(names)]
        )
        return pair.embed(texts=sentences) if model == "fusion" else pair.embed_sentences(sentences)

    # --- What it answers ---

    def search(
        self,
        text: str | None = None,
        photo: Image.Image | None = None,
        *,
        without: str | None = None,
        model: str = "pretrained",
        precision: str = "fp32",
        k: int = 5,
        text_weight: float | None = None,
        leave_out: str | None = None,
    ) -> list[Hit]:
        """The `k` photos of all splits that fit a text, a photo or both best, the best first.

        For words alone, hubs are put in their place; notebook 06 measures what that is worth.

        Args:
            text: a few words; None: ask with the photo alone.
            photo: as from `load_photo`; None: ask with the text alone.
            without: words for what should not be on the photos. For 33 queries over drawn ones, such as "in the snow"
                without "people", it was on 14 of 100 first hits, and is now on 1 (pretrained).
            model: one of MODELS.
            precision: of the graphs that turn the query into a vector, one of PRECISIONS.
            k: how many.
            text_weight: where both are given, see `query_vector`.
            leave_out: the id of a photo that shall not be among them, since it asks.

        Raises:
            InputError: there is nothing to ask with, or something of the model is missing.
        """
        pair = self.pair(model, precision)
        query = query_vector(pair, text, photo, text_weight)
        unwanted = None if without is None else query_vector(pair, without)
        count = k + (leave_out is not None)
        answer = self.index(model).search(query, count, fair=photo is None, without=unwanted)
        return self._hits(model, *answer, leave_out)[:k]

    def like(self, photo_id: str, k: int = 5, model: str = "pretrained") -> list[Hit]:
        """The `k` nearest neighbours of one of its photos, the nearest first; the photo itself is left out.

        Raises:
            InputError: there is no such photo, or something of the model is missing.
        """
        index = self.index(model)
        return self._hits(model, *index.search(index.vectors([photo_id]), k + 1), photo_id)[:k]

    def most_hits(self, like: str | None = None) -> int:
        """How many hits there are at most, where one of its photos asks or none does."""
        return len(self.photos) - (like is not None)

    def _hits(self, model: str, scores: np.ndarray, ids: list[list[str]], leave_out: str | None) -> list[Hit]:
        """One answer of an index, scores (1, k) and ids, as photos, without one."""
        gone = [id_ for id_ in ids[0] if id_ not in self.photos]
        if gone:
            raise InputError(f"The index of {model} names {gone[0]}, which is no photo; run notebook 06_search again.")
        answer = zip(ids[0], scores[0], strict=True)
        return [Hit(self.photos[id_], float(score)) for id_, score in answer if id_ != leave_out]

    def captioner(self, kind: str = "attention", precision: str = "fp32") -> Captioner:
        """One of `captioners`, on OpenVINO.

        Raises:
            InputError: it, or its graphs, are missing or damaged.
        """
        if (kind, precision) not in self._captioners:
            folder = self.outputs / CAPTIONERS / kind
            self._captioners[kind, precision] = load_openvino_captioner(folder, precision)
        return self._captioners[kind, precision]

    def caption(self, photo: Image.Image, precision: str = "fp32", kind: str = "attention") -> str:
        """What a captioner says of a photo, all of it on OpenVINO.

        Raises:
            InputError: the captioner, or its graphs, are missing or damaged.
        """
        captioner = self.captioner(kind, precision)
        return captioner.caption(photo, self._backbone(captioner.backbone, precision))
