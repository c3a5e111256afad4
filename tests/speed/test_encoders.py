"""The ladder from the slow loop of the towers to the fast one: every rung trains the same towers on the same photos."""

from pathlib import Path

import numpy as np
import torch
from small_data import write_photo

from helpers.data.manifest import Photo
from helpers.data.text import build_tokenizer
from helpers.encoders.dual_encoder import DualEncoderConfig, new_pair
from helpers.encoders.training import EncoderSettings, caption_pairs
from helpers.speed import encoders
from helpers.speed.encoders import photos_ladder


def test_every_rung_trains_a_fresh_copy_on_photos_of_the_same_shape(tmp_path: Path, monkeypatch) -> None:
    texts = ["a red dog", "two cats sit", "a blue bird", "one horse"]
    paths = [write_photo(tmp_path / f"{n}.png", (60 * n, 30, 90)) for n in range(4)]
    photos = [Photo(path.name, path, (text, text), "train") for path, text in zip(paths, texts, strict=True)]
    tokenizer = build_tokenizer("word", texts)
    pair = new_pair(DualEncoderConfig(tokenizer.vocab_size, 32, channels=(4, 8, 8, 8)), tokenizer, 0)
    before = {name: weight.clone() for name, weight in pair.model.state_dict().items()}
    data = caption_pairs(photos, pair)
    settings = EncoderSettings(epochs=1, batch=4, turn=0, zoom=0, colour=0)

    seen, models = [], []
    measure = encoders.photos_per_second

    def watched(model, data, look, *rest):
        seen.append(look(np.arange(4)))
        models.append(model)
        return measure(model, data, look, *rest)

    monkeypatch.setattr(encoders, "photos_per_second", watched)
    for words in (False, True):
        ladder = photos_ladder(pair, paths, data, settings, 1, words)
        assert len(ladder) == 5 and all(speed > 0 for speed in ladder.values())
    for look in seen:  # only mirrored, or not: the sum of a photo's pixels stays
        torch.testing.assert_close(
            look.sum((1, 2, 3)), torch.from_numpy(data.photos).float().sum((1, 2, 3)), rtol=1e-4, atol=1
        )
    for name, weight in pair.model.state_dict().items():
        assert torch.equal(weight, before[name])  # copies learned, not the pair
    moved = [
        "text.project.weight"
        for model in models
        if not torch.equal(model.text.project.weight, before["text.project.weight"])
    ]
    assert len(moved) == 5  # the text tower rests in the first ladder
    assert all(not torch.equal(model.image.project.weight, before["image.project.weight"]) for model in models)
