"""A trained captioner as one thing: weights, vocabulary, and how its photos are prepared and its captions decoded.

    captioner = load_captioner(Path("outputs/flickr8k/captioners/lstm"))
    captioner.caption(Path("holiday.jpg"))           # "two children play in the sand"

The folder holds `weights.pt`, `config.json`, `tokenizer.json` and `history.json`, and checksums by which files of two
trainings cannot be mixed up unnoticed.

A captioner that was rewarded for CIDEr-D writes better captions, but its probabilities are no longer those of what
people write: it puts nearly all on a few sentences. Where probabilities matter, the weights from before that stage do
better; they are kept in `likelihood.pt`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from helpers.artefacts import Factor, Few, check, seal
from helpers.captioning.attention import AttentionCaptioner, AttentionConfig
from helpers.captioning.decoding import Caption, Rules, StepModel, beam_search, greedy
from helpers.captioning.lstm import LSTMCaptioner, LSTMConfig
from helpers.captioning.transformer import TransformerCaptioner, TransformerConfig
from helpers.data.images import load_photo, resize_photo
from helpers.data.text import Tokenizer, load_tokenizer
from helpers.features.backbones import Backbone, load_backbone, load_tail
from helpers.features.rows import Rows
from helpers.features.store import Features, photo_features
from helpers.files import InputError, first_line, of_the_machine, read_as, write_json
from helpers.training.checkpoints import CONFIG, load_weights, save_tensors

WEIGHTS = "weights.pt"
LIKELIHOOD = "likelihood.pt"  # there only if there was a self-critical stage
MODELS = {
    "lstm": (LSTMConfig, LSTMCaptioner),
    "attention": (AttentionConfig, AttentionCaptioner),
    "transformer": (TransformerConfig, TransformerCaptioner),
}


Kind, Settings = TypeVar("Kind"), TypeVar("Settings")


@dataclass(frozen=True)
class _Saved(Generic[Kind, Settings]):
    """What config.json says of a captioner."""

    kind: Kind
    model: Settings
    backbone: str
    max_length: Few
    beam: Few
    length_power: Factor
    likelihood: bool | str = False  # whether there are such weights; earlier versions wrote their fingerprint


_ANY = Annotated[
    Union[tuple(_Saved[Literal[kind], settings] for kind, (settings, _) in MODELS.items())],  # noqa: UP007
    Field(discriminator="kind"),
]


# What of a photo each model looks at: one vector, or the grid of regions.
LOOKS_AT = {"lstm": "vectors", "attention": "grid", "transformer": "grid", "ensemble": "grid"}


@dataclass
class Captioner:
    """A captioning model with all it needs to turn a photo into a sentence.

    Attributes:
        kind: a key of `MODELS`.
        model: the network, or its exported form: anything with the functions of `StepModel`.
        tokenizer: its vocabulary.
        backbone: name of the network whose features it was trained on.
        max_length: tokens of a caption at most, `<SOS>` and `<EOS>` included.
        beam: beam width of `caption`; 1 is greedy.
        length_power: see `beam_search`.
    """

    kind: str
    model: StepModel
    tokenizer: Tokenizer
    backbone: str
    max_length: int
    beam: int = 5
    length_power: float = 0.7

    @property
    def rules(self) -> Rules:
        """What its captions may be."""
        return Rules.of(self.tokenizer, self.max_length)

    @property
    def decoding(self) -> str:
        """How `decode` searches, in words for tables and titles."""
        return "greedy" if self.beam == 1 else f"beam {self.beam}, length power {self.length_power:g}"

    def features(self, features: Features, ids: Sequence[str]) -> np.ndarray:
        """What the model sees of these photos: float32 (N, D) or (N, R, C)."""
        return features_of(self.kind, features)[features.rows(ids)].astype(np.float32)

    def decode(self, features: np.ndarray | Tensor, batch: int = 100) -> list[Caption]:
        """Captions of photos given by their features (N, D) or (N, R, C), `batch` photos at a time."""
        if isinstance(self.model, torch.nn.Module):
            self.model.eval()
        captions = []
        for start in range(0, len(features), batch):
            rows = torch.as_tensor(features[start : start + batch])
            if self.beam == 1:
                captions += greedy(self.model, rows, self.rules)
            else:
                captions += beam_search(self.model, rows, self.rules, beam=self.beam, length_power=self.length_power)
        return captions

    def texts(self, captions: Sequence[Caption]) -> list[str]:
        """Decoded captions as sentences."""
        return [self.tokenizer.decode(caption.tokens) for caption in captions]

    def caption(self, photo: Path | str | Image.Image, backbone: Backbone | None = None) -> str:
        """Describe one photo, given as a file or as an image.

        Args:
            photo: path or PIL image.
            backbone: the network to look with, where it is already loaded.

        Raises:
            InputError: the photo cannot be read.
        """
        image = load_photo(photo if isinstance(photo, Image.Image) else Path(photo))
        backbone = backbone or _backbone(self.backbone)
        vector, grid = photo_features(backbone, resize_photo(image, backbone.photo_size))
        seen = vector if LOOKS_AT[self.kind] == "vectors" else grid
        return self.texts(self.decode(seen[None].astype(np.float32)))[0]


@cache
def _backbone(name: str) -> Backbone:
    """Loaded once, however many photos are captioned."""
    return load_backbone(name)


def new_captioner(
    kind: str,
    tokenizer: Tokenizer,
    feature_width: int,
    backbone: str,
    max_length: int,
    *,
    beam: int = 5,
    length_power: float = 0.7,
    seed: int = 42,
    **model: Any,
) -> Captioner:
    """An untrained captioner; `seed` alone decides its weights, `model` are settings of its own configuration.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in MODELS:
        raise InputError(f"There is no captioner {kind!r}; choose one of: {', '.join(MODELS)}.")
    settings, build = MODELS[kind]
    if kind == "transformer":  # it has as many places for words as a caption may have
        model["max_length"] = max_length
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(settings(vocab_size=tokenizer.vocab_size, feature_width=feature_width, **model))
    if model.get("tail"):
        network.tail = load_tail(model["tail"])
    return Captioner(kind, network, tokenizer, backbone, max_length, beam, length_power)


def features_of(kind: str, features: Features) -> np.ndarray | Rows:
    """The array of all photos that captioners of this kind look at: (N, D), or (N, R, C) left on disk."""
    return features.vectors if LOOKS_AT[kind] == "vectors" else features.grid


def save_captioner(
    folder: Path,
    captioner: Captioner,
    history: Sequence[dict[str, float]],
    likelihood: dict[str, Tensor] | None = None,
) -> None:
    """Write `captioner` into `folder` as one artefact, replacing the one that is there.

    `likelihood` are the weights from before the self-critical stage, if there was one. Each file is replaced at once,
    and sealed last, by which `load_captioner` notices a replacement that was interrupted half-way.
    """
    save_tensors(folder / WEIGHTS, captioner.model.state_dict())
    if likelihood is None:
        (folder / LIKELIHOOD).unlink(missing_ok=True)
    else:
        save_tensors(folder / LIKELIHOOD, likelihood)
    captioner.tokenizer.save(folder)
    write_json(folder / "history.json", list(history))
    config = {name: getattr(captioner, name) for name in ("kind", "backbone", "max_length", "beam", "length_power")}
    write_json(
        folder / CONFIG, config | {"model": asdict(captioner.model.config), "likelihood": likelihood is not None}
    )
    seal(folder, CONFIG, WEIGHTS, *([LIKELIHOOD] if likelihood is not None else []))


def load_captioner(folder: Path, likelihood: bool = False) -> Captioner:
    """The captioner that `save_captioner` wrote, ready to use.

    Args:
        folder: where it is.
        likelihood: take the weights from before the self-critical stage, whose probabilities are those of what
            people write; the same weights, if there was no such stage.

    Raises:
        InputError: a file is missing, damaged, or belongs to another model; or memory, a disk or a right to read
            failed.
    """
    made_by = "the notebook that trains this captioner"
    check(made_by, folder / CONFIG)
    saved = read_as(_ANY, folder / CONFIG, made_by)
    weights = folder / (LIKELIHOOD if likelihood and saved.likelihood else WEIGHTS)
    check(made_by, weights)
    tokenizer = load_tokenizer(folder, saved.model.vocab_size)
    try:
        model = load_weights(weights, lambda: MODELS[saved.kind][1](saved.model))
    except Exception as error:  # files that were cut short or edited can fail in any way
        wrong = InputError(f"The captioner in {folder} cannot be loaded ({first_line(error)}); train it again.")
        raise (of_the_machine(error, weights) or wrong) from None
    return Captioner(saved.kind, model, tokenizer, saved.backbone, saved.max_length, saved.beam, saved.length_power)
