"""CLIP and its kin on OpenVINO: converted once, kept in a folder, and from then on loaded without the hub.

pair = openvino_clip("openai/clip-vit-base-patch32", Path("outputs/sample/public"), photos, "int8")
pair.embed_texts(["two dogs in the snow"])
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.artefacts import intact, seal
from helpers.data.images import in_threads, load_photo
from helpers.deploy.export import export
from helpers.encoders.clip import ClipPair, load_clip
from helpers.files import (
    InputError,
    as_file_name,
    atomic_path,
    fingerprint_folder,
    read_as,
    sweep_temporary,
    there,
    write_json,
)
from helpers.graphs import PRECISIONS, Graph, graph_path, read_graph
from helpers.hugging_face import Preparation, load_pretrained

CALIBRATION_PHOTOS = 32
PROCESSORS = "processors"  # what brings photos and texts to the graphs, as transformers saves it
INSTEAD = "use a model of your own run, such as --model pretrained"
_CONFIG = "config.json"


@dataclass(frozen=True)
class _Kept:
    """What config.json says of a converted model; some is as `ClipPair` has it."""

    name: str  # on the hub, or of the folder it came from, from the root on
    source: str | None  # fingerprint of that folder
    text_length: int
    pads_always: bool
    fingerprint: str


def openvino_clip(name: str, home: Path, photos: Sequence[Path], precision: str = "fp32") -> ClipPair:
    """The dual encoder `name` on OpenVINO; the first call converts it to all of PRECISIONS and keeps it below `home`.

    Args:
        name: of the Hugging Face hub, or a folder; where a folder has changed since, it is converted anew.
        home: where converted models are kept, a folder each; what is damaged there is converted anew.
        photos: some that show the range of what flows through the graph, such as training photos; the first 32 count.
        precision: one of PRECISIONS.

    Raises:
        InputError: the model cannot be had, is no dual encoder, or there is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"There is no precision {precision!r}; choose one of: {', '.join(PRECISIONS)}.")
    whole, state = name, None
    if there(Path(name).is_dir):
        whole, state = str(Path(name).resolve()), fingerprint_folder(Path(name))
    folder = home / as_file_name(whole)
    if not _holds(folder, whole, state, precision):
        pair = load_clip(name, INSTEAD)
        if not _holds(folder, whole, state, precision):  # by another process, which was faster
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _convert(pair, folder, photos[:CALIBRATION_PHOTOS], whole, state)
            except InputError:
                if not _holds(folder, whole, state, precision):
                    raise
    return _load(folder, name, precision)


def _holds(folder: Path, name: str, source: str | None, precision: str) -> bool:
    """Whether `folder` has this model as its source is now, if that is still there; of damage, a line is printed."""
    try:
        kept = read_as(_Kept, folder / _CONFIG, "the conversion")
    except InputError:  # nothing is there yet, or nothing that was made here
        return False
    graphs = [path for tower in ("image", "text") for path in _graph(folder, tower, precision)]
    return kept.name == name and source in (None, kept.source) and intact(folder / _CONFIG, *graphs)


def _graph(folder: Path, tower: str, precision: str) -> tuple[Path, Path]:
    path = graph_path(folder / f"{tower}_encoder.xml", precision)
    return path, path.with_suffix(".bin")


def _convert(pair: ClipPair, folder: Path, photos: Sequence[Path], name: str, source: str | None) -> None:
    """Write graphs, tokenizer and image processor into `folder`, which appears whole or not at all."""
    print(f"{pair.name} is converted to OpenVINO, once, and kept in {folder}.")
    sweep_temporary(folder.parent)  # of a conversion that was killed: hundreds of megabytes
    squares = in_threads(lambda path: pair.square(load_photo(path, pair.photo_size)), photos, "decoding photos")
    samples = [(torch.from_numpy(square[None]),) for square in squares]
    texts = [pair.tokens(["a photo"])]
    with atomic_path(folder) as new:
        shutil.rmtree(new, ignore_errors=True)  # of one that was killed and had this very number
        model, image, text = pair.model, new / "image_encoder.xml", new / "text_encoder.xml"
        options = {"fast_bias_correction": True, "attention": True, "weights": pair.fingerprint}
        export(model, model.encode_image, image, samples, **options)
        export(model, model.encode_text, text, texts, weights_only=True, weights=pair.fingerprint)
        for part in (pair.model.model.config, pair.tokenizer, pair.preparation.image_processor):
            part.save_pretrained(new / PROCESSORS)
        write_json(new / _CONFIG, asdict(_Kept(name, source, pair.text_length, pair.pads_always, pair.fingerprint)))
        seal(new, _CONFIG)


class _OpenVINOTowers(nn.Module):
    """Exported towers behind the interface of `ClipTowers`."""

    def __init__(self, folder: Path, precision: str, weights: str) -> None:
        super().__init__()
        self._image, self._text = (
            Graph(read_graph(_graph(folder, tower, precision)[0], weights, f"delete {folder} and run this again"))
            for tower in ("image", "text")
        )

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> (B, D), L2-normalised."""
        return self._image(pixels)[0]

    def encode_text(self, *tokens: Tensor) -> Tensor:
        """int64 (B, T), and the mask if there is one -> (B, D), L2-normalised."""
        return self._text(*tokens)[0]


def _load(folder: Path, name: str, precision: str) -> ClipPair:
    kept = read_as(_Kept, folder / _CONFIG, "the conversion")
    classes, anew = ("AutoTokenizer", "AutoImageProcessor"), f"delete {folder} and run this again"
    parts = load_pretrained(str(folder / PROCESSORS), classes, "What prepares photos and texts in", anew)
    tokenizer, image_processor = parts
    model = _OpenVINOTowers(folder, precision, kept.fingerprint)
    preparation = Preparation(image_processor, name)
    return ClipPair(name, model, preparation, tokenizer, kept.text_length, kept.pads_always, kept.fingerprint)
