"""BLIP and its kin: captioners that others trained on millions of photos and texts of the web.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training" (2022). Any model of the Hugging Face hub that transformers
loads as `AutoModelForImageTextToText` and that needs nothing but the photo will do: BLIP, GIT, a ViT with GPT-2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from helpers.files import InputError, of_the_machine
from helpers.hugging_face import Preparation, TakesSquares, load_pretrained
from helpers.training.checkpoints import fingerprint_run

NAME = "Salesforce/blip-image-captioning-base"
BATCH = 8
WORDS = 40  # tokens of a caption at most


@dataclass(frozen=True)
class BlipCaptioner(TakesSquares):
    """A captioning model of transformers with what prepares photos for it and reads its tokens.

    Attributes:
        name: on the Hugging Face hub, or the folder it came from.
        fingerprint: twelve hex digits that name the weights.
    """

    name: str
    model: Any
    preparation: Preparation
    tokenizer: Any
    fingerprint: str

    @torch.inference_mode()
    def caption_photos(self, pixels: np.ndarray) -> list[str]:
        """What the model says of squares uint8 (N, S, S, 3): as its own settings say, but nothing drawn at random."""
        captions = []
        for start in range(0, len(pixels), BATCH):
            photos = self.preparation(torch.from_numpy(pixels[start : start + BATCH]))  # (B, 3, S, S)
            tokens = self.model.generate(pixel_values=photos, max_new_tokens=WORDS, do_sample=False)  # (B, T)
            captions += [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        return captions


def load_blip(name: str = NAME) -> BlipCaptioner:
    """A captioner by its name on the Hugging Face hub, or from a folder.

    Raises:
        InputError: its weights cannot be had, or it does not caption a photo that comes without words.
    """
    instead = "use a captioner of your own run, such as --captioner attention"
    classes = ("AutoTokenizer", "AutoImageProcessor", "AutoModelForImageTextToText")
    tokenizer, image_processor, model = load_pretrained(name, classes, "The captioner", instead)
    preparation = Preparation(image_processor, name)
    captioner = BlipCaptioner(name, model, preparation, tokenizer, fingerprint_run(**model.state_dict()))
    try:
        captioner.caption_photos(captioner.square(Image.new("RGB", (512, 512)))[None])
    except Exception as error:  # each kind of model fails in its own way
        wrong = InputError(
            f"{name} ({type(model).__name__}) does not caption a photo that comes without words "
            f"({type(error).__name__}); take one such as {NAME}, or {instead}."
        )
        raise (of_the_machine(error, name) or wrong) from error
    return captioner
