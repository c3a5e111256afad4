"""CLIP and its kin on OpenVINO: converted once, kept in a folder, and from then on loaded without the hub.

pair = openvino_clip("openai/clip-vit-base-patch32", Path("outputs/sample/public"), photos, "int8")
pair.embed_texts(["two dogs in the snow"])
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from helpers.data.images import in_threads, load_photo
from helpers.deploy.export import export
from helpers.encoders.clip import ClipPair, load_clip
from helpers.files import InputError, fingerprint_folder, read_json, write_json
from helpers.graphs import PRECISIONS, Graph, graph_path, read_graph
from helpers.hugging_face import Preparation, load_pretrained

CALIBRATION_PHOTOS = 32
PROCESSORS = "processors"  # what brings photos and texts to the graphs, as transformers saves it
INSTEAD = "use a model of your own run, such as --model pretrained"
_FACTS = ("name", "text_length", "pads_always", "fingerprint")


def openvino_clip(name: str, home: Path, photos: Sequence[Path], precision: str = "fp32") -> ClipPair:
    """The dual encoder `name` on OpenVINO; the first call converts it to all of PRECISIONS and keeps it below `home`.

    Args:
        name: of the Hugging Face hub, or a folder; where a folder has changed since, it is converted anew.
        home: where converted models are kept, a folder each.
        photos: some that show the range of what flows through the graph, such as training photos; the first 32 count.
        precision: one of PRECISIONS.

    Raises:
        InputError: the model cannot be had, is no dual encoder, or there is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"There is no precision {precision!r}; choose one of: {', '.join(PRECISIONS)}.")
    source = Path(name)
    folder = home / re.sub(r"[^\w.]+", "-", str(source.resolve()) if source.is_dir() else name).strip("-")
    state = fingerprint_folder(source) if source.is_dir() else None
    if folder.exists() and state and read_json(folder / "config.json").get("source") != state:
        shutil.rmtree(folder)
    if not folder.exists():
        _convert(load_clip(name, INSTEAD), folder, photos[:CALIBRATION_PHOTOS], state)
    try:
        return _load(folder, precision)
    except InputError as error:
        raise InputError(f"{error} To convert {name} anew, delete the folder {folder}.") from None


def _convert(pair: ClipPair, folder: Path, photos: Sequence[Path], source: str | None) -> None:
    """Write graphs, tokenizer and image processor into `folder`, which appears whole or not at all."""
    print(f"{pair.name} is converted to OpenVINO, once, and kept in {folder}.")
    squares = in_threads(lambda path: pair.square(load_photo(path, pair.photo_size)), photos, "decoding photos")
    samples = [(torch.from_numpy(square[None]),) for square in squares]
    texts = [pair.tokens(["a photo"])]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        new = Path(temporary) / folder.name
        model, image, text = pair.model, new / "image_encoder.xml", new / "text_encoder.xml"
        options = {"fast_bias_correction": True, "attention": True, "weights": pair.fingerprint}
        export(model, model.encode_image, image, samples, **options)
        export(model, model.encode_text, text, texts, weights_only=True, weights=pair.fingerprint)
        for part in (pair.model.model.config, pair.tokenizer, pair.preparation.image_processor):
            part.save_pretrained(new / PROCESSORS)
        write_json(new / "config.json", {fact: getattr(pair, fact) for fact in _FACTS} | {"source": source})
        new.replace(folder)


class _OpenVINOTowers(nn.Module):
    """Exported towers behind the interface of `ClipTowers`."""

    def __init__(self, folder: Path, precision: str, weights: str) -> None:
        super().__init__()
        self._image, self._text = (
            Graph(read_graph(graph_path(folder / f"{name}_encoder.xml", precision), weights))
            for name in ("image", "text")
        )

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> (B, D), L2-normalised."""
        return self._image(pixels)[0]

    def encode_text(self, *tokens: Tensor) -> Tensor:
        """int64 (B, T), and the mask if there is one -> (B, D), L2-normalised."""
        return self._text(*tokens)[0]


def _load(folder: Path, precision: str) -> ClipPair:
    config = read_json(folder / "config.json")
    try:
        facts = {fact: config[fact] for fact in _FACTS}
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'} has no {error}.") from None
    classes = ("AutoTokenizer", "AutoImageProcessor")
    parts = load_pretrained(str(folder / PROCESSORS), classes, "What prepares photos and texts in", INSTEAD)
    tokenizer, image_processor = parts
    model = _OpenVINOTowers(folder, precision, facts["fingerprint"])
    preparation = Preparation(image_processor, facts["name"])
    return ClipPair(model=model, preparation=preparation, tokenizer=tokenizer, **facts)
