"""A finished run in miniature: the files that a search needs, made in seconds, with random weights.

Models with random weights know nothing, so that tests look at agreement, never at how good a result is.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from helpers.captioning.captioner import new_captioner, save_captioner
from helpers.data.images import load_pixels
from helpers.data.manifest import SPLITS, Manifest, Photo
from helpers.data.text import build_tokenizer
from helpers.deploy.export import save_floats
from helpers.deploy.models import export_captioner, export_dual_encoder, export_fusion, export_pretrained_pair
from helpers.encoders.dual_encoder import DualEncoderConfig, new_pair
from helpers.encoders.fusion import FusionConfig, new_fusion, save_fusion
from helpers.encoders.pretrained import new_pretrained_pair, photo_views
from helpers.encoders.sentence_encoder import embed_sentences
from helpers.features.backbones import load_backbone
from helpers.features.store import Features
from helpers.graphs import convert
from helpers.search.engine import CAPTIONER, MODELS, PhotoSearch

COUNT = 12
BACKBONE = "efficientnet_lite0"
NASTY = 'a <b>bold</b> & "quoted" dog <script>window.hacked = 1</script> .'  # the first caption of the first photo


def draw_photo(path: Path, seed: int) -> Path:
    """A photo of coarse coloured blocks, twice as wide as high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((320, 160), Image.Resampling.NEAREST).save(path, quality=95)
    return path


def export_floats(
    module: nn.Module, function: Callable[..., Any], path: Path, samples: Sequence[Sequence[Tensor]], **options: Any
) -> None:
    """As `helpers.deploy.export.export`, without the graph in 8 bits, which takes longer than all else here."""
    save_floats(convert(module, function, *samples), path, options.get("weights", ""))


def make_tiny_run(outputs: Path) -> None:
    """Fill `outputs` with a run over COUNT photos, with all that a search needs."""
    places = ("snow", "grass", "sea")
    photos = []
    for number in range(COUNT):
        path = draw_photo(outputs / "photos" / f"photo_{number:02d}.jpg", number)
        first = NASTY if number == 0 else f"dog {number} runs in the {places[number % 3]} ."
        photos.append(Photo(path.name, path, (first, f"a dog , number {number}"), SPLITS[number % 3]))
    Manifest("tiny", photos, []).save(outputs)
    texts = [photo.captions[0] for photo in photos]
    backbone = load_backbone(BACKBONE)
    with torch.no_grad():
        vectors, grid = backbone(torch.from_numpy(load_pixels([photo.path for photo in photos], backbone.photo_size)))
    looks = [Features([photo.id for photo in photos], vectors.numpy(), grid.numpy().astype(np.float16))]

    tokenizer = build_tokenizer("word", [*texts, "two cats and a red boat"])
    small = {"channels": (8, 16, 16, 32), "word_width": 16, "lstm_width": 24, "embedding": 20}
    pair = new_pair(DualEncoderConfig(tokenizer.vocab_size, photo_size=32, **small), tokenizer, seed=0)
    pixels = load_pixels([photo.path for photo in photos], 32)
    with torch.no_grad():  # settles its batch normalisation
        pair.model.train().encode_image(torch.from_numpy(pixels))
    pair.model.eval()
    pair.save(outputs / MODELS["scratch"])

    towers = new_pretrained_pair(backbone, "use", 512, seed=0)
    towers.model.eval()
    towers.save(outputs / MODELS["pretrained"])
    views = np.repeat(photo_views(looks, looks[0].ids), 2, axis=1)  # the photo, and as if its mirror image
    fusion = new_fusion(FusionConfig(BACKBONE, photo_width=1280, side=32, embedding=16), vectors.numpy(), seed=0)
    save_fusion(outputs / MODELS["fusion"], fusion)
    sizes = {"embedding": 16, "hidden": 24, "attention": 8}
    captioner = new_captioner("attention", tokenizer, 1280, BACKBONE, 12, beam=2, **sizes)
    captioner.model.eval()
    save_captioner(outputs / CAPTIONER, captioner, [])
    with patch("helpers.deploy.models.export", export_floats):
        export_dual_encoder(pair, outputs / MODELS["scratch"], pixels, texts)
        export_pretrained_pair(towers, outputs / MODELS["pretrained"], views, texts)
        export_fusion(fusion, outputs / MODELS["fusion"], vectors.numpy(), embed_sentences(texts))
        export_captioner(captioner, outputs / CAPTIONER, grid.numpy(), texts)
    example = [(torch.zeros(1, backbone.photo_size, backbone.photo_size, 3, dtype=torch.uint8),)]
    export_floats(backbone, backbone, outputs / "openvino" / f"{BACKBONE}.xml", example)

    engine = PhotoSearch(outputs)
    for model in MODELS:
        engine.build_index(model, looks)
