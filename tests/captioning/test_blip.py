"""BLIP and its kin: against transformers' own way to caption one photo, with tiny random weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import SIDE, save_tiny_model

from helpers.captioning import blip
from helpers.captioning.blip import load_blip
from helpers.files import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("blip", tmp_path_factory.mktemp("blip"))


def test_captions_are_those_of_the_library_whatever_the_company(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoProcessor, BlipForConditionalGeneration

    monkeypatch.setattr(blip, "BATCH", 2)
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(rng.integers(0, 256, (40, 30 + row, 3), dtype=np.uint8)) for row in range(5)]
    photos.append(Image.new("RGB", (50, 50), "white"))
    model, processor = (
        BlipForConditionalGeneration.from_pretrained(folder).eval(),
        AutoProcessor.from_pretrained(folder),
    )
    with torch.inference_mode():
        own = [
            processor.decode(
                model.generate(**processor(images=photo, return_tensors="pt"), max_new_tokens=blip.WORDS)[0],
                skip_special_tokens=True,
            )
            for photo in photos
        ]
    captioner = load_blip(str(folder))
    assert captioner.caption_photos(np.stack([captioner.square(photo) for photo in photos])) == own
    assert len(set(own)) > 1 and captioner.fingerprint == load_blip(str(folder)).fingerprint
    assert captioner.photo_size == SIDE


def test_weights_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"could not be loaded: .*--captioner attention"):
        load_blip(str(tmp_path / "nothing"))


def test_a_model_that_was_saved_without_a_writer_is_named(folder: Path, tmp_path: Path) -> None:
    """It would pass the trial, with words by chance."""
    from transformers import BlipForImageTextRetrieval

    retrieval = shutil.copytree(folder, tmp_path / "retrieval")
    BlipForImageTextRetrieval.from_pretrained(folder).save_pretrained(retrieval)
    with pytest.raises(
        InputError, match=r"without \d+ of the weights of a BlipForConditionalGeneration, such as text_d"
    ):
        load_blip(str(retrieval))


def test_a_model_that_captions_nothing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BlipForConditionalGeneration

    def wants_words(*_: object, **__: object) -> None:
        raise ValueError("You have to specify input_ids")

    monkeypatch.setattr(BlipForConditionalGeneration, "generate", wants_words)
    with pytest.raises(InputError, match=r"does not caption a photo that comes without words \(ValueError\)"):
        load_blip(str(folder))
