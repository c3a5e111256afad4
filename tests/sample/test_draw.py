"""The embedded sample: it repeats, it is laid out like the real sets, and its captions are English and true."""

import csv
import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from helpers.data.descriptions import ENGLISH
from helpers.files import InputError
from helpers.sample import draw
from helpers.sample.captions import ANIMALS, KINDS, PLACES, choose_portrait, choose_scene, write_captions
from helpers.sample.draw import draw_sample
from helpers.sample.drawing import draw_scene


def read_captions(folder: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    with (folder / "captions" / "captions.txt").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            captions.setdefault(row["image"], []).append(row["caption"])
    return captions


def read_pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    draw_sample(folder, scenes=20, pictures_per_class=1, seed=3, classes=ENGLISH)
    return folder


@pytest.fixture(scope="module")
def described() -> list:
    generators = [Random(number) for number in range(400)]
    scenes = [choose_scene(rng) for rng in generators]
    return [(scene, write_captions(scene, rng)) for scene, rng in zip(scenes, generators, strict=True)]


def test_same_pictures_whatever_the_number_and_the_processes(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "cores", lambda: 1)
    draw_sample(tmp_path, scenes=10, pictures_per_class=1, seed=3, classes=ENGLISH)
    many, few = read_pictures(drawn), read_pictures(tmp_path)
    assert len(few) == 20
    assert all(many[name] == content for name, content in few.items())
    assert read_captions(tmp_path) == {name: read_captions(drawn)[name] for name in read_captions(tmp_path)}


def test_another_seed_gives_other_pictures_and_captions() -> None:
    contents = [choose_scene(Random(f"{seed} scene_00000")) for seed in range(20)]
    assert len(set(contents)) > 15
    pictures = [np.asarray(draw_scene(contents[0], Random(seed))) for seed in (1, 1, 2)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_layout(drawn: Path) -> None:
    captions = read_captions(drawn)
    photos = sorted((drawn / "captions" / "Images").glob("*.jpg"))
    assert [photo.name for photo in photos] == sorted(captions)
    assert all(len(set(sentences)) == 5 for sentences in captions.values())
    folders = sorted((drawn / "animals" / "raw-img").iterdir())
    assert [folder.name for folder in folders] == sorted(ENGLISH)
    assert sorted(ENGLISH.values()) == sorted(ANIMALS)
    for path in [*photos, *(picture for folder in folders for picture in folder.iterdir())]:
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (224, 224))
            assert np.asarray(picture).std() > 15


def test_split_file_agrees_with_the_captions_file(drawn: Path) -> None:
    content = json.loads((drawn / "captions" / "dataset_sample.json").read_text(encoding="utf-8"))
    captions = read_captions(drawn)
    assert content["dataset"] == "sample"
    assert [image["filename"] for image in content["images"]] == list(captions)
    assert Counter(image["split"] for image in content["images"]) == {"train": 14, "val": 3, "test": 3}
    sentence_ids = [number for image in content["images"] for number in image["sentids"]]
    assert sentence_ids == list(range(100))
    for image in content["images"]:
        assert [sentence["raw"] for sentence in image["sentences"]] == captions[image["filename"]]
        assert [sentence["sentid"] for sentence in image["sentences"]] == image["sentids"]
        for sentence in image["sentences"]:
            assert sentence["imgid"] == image["imgid"]
            assert sentence["tokens"] == sentence["raw"].lower().replace(",", "").removesuffix(" .").split()


def test_captions_with_commas_survive_the_csv(drawn: Path) -> None:
    lines = (drawn / "captions" / "captions.txt").read_text(encoding="utf-8").splitlines()
    with_comma = [caption for sentences in read_captions(drawn).values() for caption in sentences if "," in caption]
    assert with_comma
    assert sum(line.endswith('"') for line in lines) == len(with_comma)
    for name, sentences in read_captions(drawn).items():
        rng = Random(f"3 {Path(name).stem}")
        assert sentences == write_captions(choose_scene(rng), rng)


def test_complete_sample_is_left_alone_and_a_torn_one_is_completed(tmp_path: Path) -> None:
    draw_sample(tmp_path, scenes=12, pictures_per_class=1, seed=5, classes=ENGLISH)
    before = read_pictures(tmp_path)
    photo = tmp_path / "captions" / "Images" / "scene_00004.jpg"
    drawn_at = photo.stat().st_mtime_ns
    draw_sample(tmp_path, scenes=12, pictures_per_class=1, seed=5, classes=ENGLISH)
    assert photo.stat().st_mtime_ns == drawn_at

    (tmp_path / "sample.json").unlink()
    photo.unlink()
    draw_sample(tmp_path, scenes=12, pictures_per_class=1, seed=5, classes=ENGLISH)
    assert read_pictures(tmp_path) == before

    photo.unlink()  # although sample.json says it is all there
    somebodys = [photo.with_name("scene_of_mine.jpg"), tmp_path / "animals" / "raw-img" / "cane" / "my_dog.jpg"]
    for path in somebodys:
        path.touch()
    draw_sample(tmp_path, scenes=10, pictures_per_class=1, seed=5, classes=ENGLISH)
    assert all(path.exists() for path in somebodys)
    for path in somebodys:
        path.unlink()
    assert read_pictures(tmp_path) == {
        name: content for name, content in before.items() if not name.endswith(("scene_00010.jpg", "scene_00011.jpg"))
    }


@pytest.mark.parametrize(("scenes", "pictures"), [(9, 5), (0, 5), (-1, 5), (20, 0)])
def test_nonsense_arguments(tmp_path: Path, scenes: int, pictures: int) -> None:
    with pytest.raises(InputError, match="use 1"):
        draw_sample(tmp_path / "new", scenes, pictures, seed=1, classes=ENGLISH)
    assert not (tmp_path / "new").exists()


def test_every_caption_is_well_formed(described: list) -> None:
    captions = [caption for _, sentences in described for caption in sentences]
    for caption in captions:
        assert re.fullmatch(r"[A-Z][a-z]*,?( [a-z]+,?)*( \.)?", caption), caption
        assert 4 <= len(re.findall(r"[a-z]+", caption.lower())) <= 17
    assert 0.1 < sum("," in caption for caption in captions) / len(captions) < 0.25
    assert 0.85 < sum(caption.endswith(" .") for caption in captions) / len(captions) < 0.98


def test_articles_and_numbers_agree(described: list) -> None:
    plurals = {"dogs", "puppies", "men", "women", "ladies", "children", "butterflies", "ponies", "elephants", "guys"}
    singulars = {"dog", "puppy", "man", "woman", "lady", "child", "butterfly", "pony", "elephant", "guy"}
    seen = set()
    for scene, sentences in described:
        for caption in sentences:
            words = re.findall(r"[a-z]+", caption.lower())
            for article, following in itertools.pairwise(words):
                if article in ("a", "an"):
                    assert (article == "an") == (following[0] in "aeiou"), caption
            plural = scene.count > 1
            assert set(words) & {"two", "three"} == ({("two", "three")[scene.count - 2]} if plural else set()), caption
            assert not {"is", "runs", "sits", "stands"} & set(words) if plural else "are" not in words, caption
            if scene.thing is None:
                seen |= (plurals if plural else singulars) & set(words)
                assert not (singulars if plural else plurals) & set(words), caption
    assert len(seen) > 12


def test_captions_say_only_what_the_picture_shows(described: list) -> None:
    words_of = {kind: set(content.nouns) for kind, content in KINDS.items()}
    colours = {colour for content in KINDS.values() for colour in content.colours if "-" not in colour}
    for scene, sentences in described:
        shown = words_of[scene.subject] | words_of.get(scene.thing, set())
        elsewhere = {noun for nouns in words_of.values() for noun in nouns} - shown
        allowed = set(f"{scene.colour} {scene.thing_colour}".replace("-and-", " ").split())
        wrong_places = [phrase for place, phrases in PLACES.items() if place != scene.place for phrase in phrases]
        for caption in sentences:
            words = set(re.findall(r"[a-z]+", caption.lower()))
            assert not elsewhere & words, (scene, caption)
            assert (colours & words) <= allowed, (scene, caption)
            assert not any(phrase in caption.lower() for phrase in wrong_places), (scene, caption)


@pytest.mark.parametrize(("scenes", "held_out"), [(10, 3), (26, 3), (60, 6)])
def test_of_few_drawn_scenes_three_validate_and_three_test(scenes: int, held_out: int) -> None:
    captions = [["a dog"] for _ in range(scenes)]
    images = draw._karpathy_split([Path(f"{number}.jpg") for number in range(scenes)], captions, 1)["images"]
    assert Counter(image["split"] for image in images) == {
        "train": scenes - 2 * held_out,
        "val": held_out,
        "test": held_out,
    }


@pytest.mark.parametrize("animal", [animal for animal, kind in ANIMALS.items() if len(kind.colours) > 1])
def test_colour_of_an_animal_shows_in_its_picture(animal: str) -> None:
    scene = choose_portrait(animal, Random(1))
    first, second = (
        np.asarray(draw_scene(replace(scene, colour=colour), Random(2)), dtype=int)
        for colour in ANIMALS[animal].colours[:2]
    )
    changed = np.abs(first - second).max(axis=2) > 30
    assert 200 < changed.sum() < changed.size * 0.6
