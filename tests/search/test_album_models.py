"""An album with models that others trained: its vectors and captions are those that transformers would give."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from tiny_models import TEXTS, save_tiny_model
from tiny_run import draw_photo, export_floats

from helpers.captioning.blip import load_blip
from helpers.data.images import load_photo
from helpers.encoders.clip import load_clip
from helpers.files import InputError
from helpers.search.album import Album, main
from helpers.search.engine import PhotoSearch


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        draw_photo(folder / f"{number}.jpg", 300 + number)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: str(save_tiny_model(kind, tmp_path_factory.mktemp(kind))) for kind in ("clip", "siglip", "blip")}


def test_an_album_looks_and_speaks_as_transformers_does(
    tiny_run: Path, photos: Path, models: dict[str, str], tmp_path: Path
) -> None:
    with patch("helpers.deploy.clip.export", export_floats):
        album = Album(photos, tiny_run, tmp_path / "album", model=models["clip"], captioner=models["blip"])
    assert album.update().new == 6
    pair, captioner = load_clip(models["clip"]), load_blip(models["blip"])
    images = [load_photo(photos / f"{number}.jpg", 32) for number in range(6)]
    vectors = pair.embed_photos(np.stack([pair.square(image) for image in images]))
    said = captioner.caption_photos(np.stack([captioner.square(image) for image in images]))
    assert [album.photos[f"{number}.jpg"].captions[0] for number in range(6)] == said
    # The middle of a wide photo, not all of it squeezed: with another square, other scores.
    for text, image in zip(TEXTS, images, strict=False):
        for asked, query in (((text,), pair.embed_texts([text])[0]), ((None, image), vectors[images.index(image)])):
            hits = album.search(*asked, k=6)
            scores = {f"{number}.jpg": vectors[number] @ query for number in range(6)}
            for hit in hits:
                assert hit.score == pytest.approx(scores[hit.photo.id], abs=1e-4)
    again = Album(photos, tiny_run, tmp_path / "album")  # made with them, so it goes on with them
    assert again.update().new == 0 and again.encoder.name == models["clip"]
    assert again.precisions(models["clip"]) == ["fp32", "fp16", "int8"]
    with patch("helpers.deploy.clip.export", export_floats), pytest.raises(InputError, match="made by another model"):
        Album(photos, tiny_run, tmp_path / "album", model=models["siglip"])


def test_a_model_that_cannot_be_had_is_one_sentence(
    tiny_run: Path, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for option, way_out in (("--model", "--model pretrained"), ("--captioner", "--captioner attention")):
        arguments = [str(photos), "--run", str(tiny_run), "--album", str(tmp_path / "a"), option, "./nowhere/model"]
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert "nowhere/model could not be loaded" in said and way_out in said and said.count("\n") == 1


def test_names_without_a_slash_are_those_of_the_run(tiny_run: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no captioner 'blip' in .*; choose of: attention"):
        Album(photos, PhotoSearch(tiny_run), tmp_path / "album", captioner="blip")
