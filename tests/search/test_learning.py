"""Learning from corrections: which photos a lesson is made of; a model learns from it and keeps what it knew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_captioners import SMALL, photo_set

from helpers.captioning.captioner import load_captioner, new_captioner
from helpers.captioning.training import CaptionTraining, caption_data, train_captioner, validate
from helpers.data.manifest import ClassPhoto, Manifest, Photo
from helpers.data.text import build_tokenizer
from helpers.encoders.pretrained import PretrainedConfig, PretrainedEncoder, PretrainedPair
from helpers.features.store import Features
from helpers.files import InputError
from helpers.search.learning import a_few_of_each, prepare_lesson, sentence_views, teach_captioner, teach_towers


def world(count: int, seed: int, turned: bool = False) -> tuple[list[Photo], Features]:
    """Photos whose vector tells animal and place; `turned`: another kind, which tells them in other numbers."""
    photos, features = photo_set(count, seed)
    if turned:
        order = np.roll(np.arange(10), 3)
        features = Features(features.ids, features.vectors[:, order], features.grid[:, :, order])
    return photos, features


@pytest.fixture(scope="module")
def old() -> tuple[Manifest, Features]:
    photos, features = world(200, seed=1)
    splits = [replace(photo, split="val" if row % 5 == 0 else "train") for row, photo in enumerate(photos)]
    return Manifest("old", splits, []), features


def test_a_lesson_is_new_photos_and_as_many_old_ones_each_with_its_own_features(
    old: tuple[Manifest, Features],
) -> None:
    manifest, features = old
    corrected, looks = world(25, seed=2)
    mirrored = [Features(one.ids, -one.vectors, one.grid) for one in (looks, features)]
    lesson = prepare_lesson(corrected, [looks, mirrored[0]], manifest, [features, mirrored[1]], seed=3)
    assert lesson.new == 20 and {name: len(part) for name, part in lesson.photos.items()} == {"val": 10, "train": 40}
    for name, part in lesson.photos.items():
        ours = [photo for photo in part if photo in corrected]
        assert len(ours) == len(part) / 2 and all(photo.split == name for photo in part if photo not in ours)
    assert len({photo.id for part in lesson.photos.values() for photo in part}) == 50
    for photo in (photo for part in lesson.photos.values() for photo in part):
        source = looks if photo in corrected else features
        expected = source.vectors[source.rows([photo.id])[0]]
        for look, sign in zip(lesson.looks, (1, -1), strict=True):
            np.testing.assert_array_equal(look.vectors[look.rows([photo.id])[0]], sign * expected)
    alone = prepare_lesson(corrected, [looks], manifest, [features], seed=3, rehearse=False)
    assert [len(alone.photos[name]) for name in ("val", "train")] == [5, 20]


def test_what_cannot_be_a_lesson_is_said(old: tuple[Manifest, Features]) -> None:
    manifest, features = old
    corrected, looks = world(12, seed=2)
    with pytest.raises(InputError, match="9 corrected captions are too few"):
        prepare_lesson(corrected[:9], [looks], manifest, [features], seed=3)
    same, same_looks = world(200, seed=1)
    with pytest.raises(InputError, match="both have a photo 1-"):
        prepare_lesson(same, [same_looks], manifest, [features], seed=3)


def test_a_captioner_learns_another_kind_and_forgets_less_with_rehearsal(
    old: tuple[Manifest, Features], tmp_path: Path
) -> None:
    manifest, features = old
    corrected, looks = world(60, seed=2, turned=True)
    unseen, unseen_looks = world(40, seed=4, turned=True)
    tokenizer = build_tokenizer("word", [text for photo in manifest.photos for text in photo.captions])
    first = new_captioner("lstm", tokenizer, 10, "vgg16", 12, **SMALL["lstm"])
    splits = {name: caption_data("lstm", manifest.split(name), [features], tokenizer, 12) for name in ("train", "val")}
    train_captioner(
        first, splits["train"], splits["val"], CaptionTraining(epochs=8, learning_rate=1e-2), tmp_path / "old"
    )
    new = caption_data("lstm", unseen, [unseen_looks], tokenizer, 12)
    before = {"new": validate(first, new)["val_loss"], "old": validate(first, splits["val"])["val_loss"]}
    after = {}
    for rehearse in (True, False):
        pupil = load_captioner(tmp_path / "old")
        lesson = prepare_lesson(corrected, [looks], manifest, [features], seed=3, rehearse=rehearse)
        teach_captioner(pupil, lesson, tmp_path / str(rehearse), epochs=6, rate=5e-3)
        after[rehearse] = {"new": validate(pupil, new)["val_loss"], "old": validate(pupil, splits["val"])["val_loss"]}
    assert after[True]["new"] < before["new"] - 0.1 and after[False]["new"] < before["new"] - 0.1
    assert after[True]["old"] < after[False]["old"] - 0.1
    assert load_captioner(tmp_path / "True").kind == "lstm"


def test_towers_learn_another_kind(old: tuple[Manifest, Features], tmp_path: Path) -> None:
    manifest, features = old
    corrected, looks = world(40, seed=2, turned=True)
    config = PretrainedConfig("efficientnet_lite0", 10, "use", 512, embedding=16)
    pair = PretrainedPair(PretrainedEncoder(config).eval(), None)
    lesson = prepare_lesson(corrected, [looks], manifest, [features], seed=3)
    data = sentence_views(pair, lesson.photos["train"], lesson.looks)
    assert data.photos.shape == (64, 1, 10) and len(data.texts) == sum(len(p.captions) for p in lesson.photos["train"])
    taught, history = teach_towers(pair, lesson, tmp_path, epochs=3, rate=1e-2)
    assert history["epochs"][-1]["train_loss"] < history["epochs"][0]["train_loss"]
    assert taught.model is not pair.model and (tmp_path / "history.json").exists()


def test_a_few_of_each_class_and_split() -> None:
    photos = [
        ClassPhoto(f"{label}{row}", Path("x"), label, split)
        for label, count in (("cat", 9), ("dog", 2))
        for split in ("train", "test")
        for row in range(count)
    ]
    some = a_few_of_each(photos, 4, seed=0)
    counts = {(p.label, p.split): sum((q.label, q.split) == (p.label, p.split) for q in some) for p in some}
    assert counts == {("cat", "train"): 4, ("cat", "test"): 4, ("dog", "train"): 2, ("dog", "test"): 2}
    assert len(set(some)) == len(some)
