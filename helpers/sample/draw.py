"""The embedded sample: a captioned picture set drawn at run time, laid out on disk like the Kaggle sets.

    captions/Images/<id>.jpg, captions/captions.txt      as in Flickr8k: CSV with the columns image,caption
    captions/dataset_sample.json                         the split, in the format of Karpathy & Fei-Fei (2015)
    animals/raw-img/<class>/<id>.jpg                     as in Animals-10: one folder a class, Italian names

Each picture has a random generator of its own, seeded by its name, so it does not depend on how many others are
drawn, in which order, or by how many processes. `captions` decides what a picture shows and says,
`drawing` composes it.
"""

import csv
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from helpers.environment import cores, end_with_parent, progress
from helpers.files import InputError, atomic_path, fingerprint_files, read_json, write_json
from helpers.sample.captions import Scene, choose_portrait, choose_scene, write_captions
from helpers.sample.drawing import draw_scene

HELD_OUT = 3  # photos at least to validate with, and to test with: of fewer there is no triplet
_MARKER = "sample.json"


def draw_sample(folder: Path, scenes: int, pictures_per_class: int, seed: int, classes: Mapping[str, str]) -> None:
    """Draw the sample into `folder`, unless it is already there, complete, for exactly these arguments.

    `classes` names the folder of each class and the animal that is drawn in it, a key of `ANIMALS`.

    `<folder>/sample.json` is written last and says what was drawn; a folder without it is drawn afresh.

    Raises:
        InputError: fewer than 10 scenes, which leaves a split empty, or no pictures a class.
    """
    if scenes < 10:
        raise InputError(f"scenes={scenes} is too few for a train, a val and a test split; use 10 or more.")
    if pictures_per_class < 1:
        raise InputError(f"pictures_per_class={pictures_per_class} leaves the classes empty; use 1 or more.")
    photos = [folder / "captions" / "Images" / f"scene_{number:05d}.jpg" for number in range(scenes)]
    portraits = [
        folder / "animals" / "raw-img" / name / f"{name}_{number:04d}.jpg"
        for name in classes
        for number in range(pictures_per_class)
    ]
    captions_file = folder / "captions" / "captions.txt"
    split_file = folder / "captions" / "dataset_sample.json"
    marker = folder / _MARKER
    record = {
        "scenes": scenes,
        "pictures_per_class": pictures_per_class,
        "seed": seed,
        "drawn_by": _drawn_by(),
    }
    expected = {*photos, *portraits, captions_file, split_file}
    if marker.exists() and read_json(marker) == record and all(path.exists() for path in expected):
        return

    marker.unlink(missing_ok=True)
    for path in (*folder.glob("captions/Images/*.jpg"), *folder.glob("animals/raw-img/*/*.jpg")):
        # Left from a larger sample, and not put there by somebody.
        if path not in expected and re.fullmatch(rf"scene_\d{{5,}}|{re.escape(path.parent.name)}_\d{{4,}}", path.stem):
            path.unlink()
    for path in expected:
        path.parent.mkdir(parents=True, exist_ok=True)
    captions = spread(partial(_draw_photo, seed), photos, "Drawing captioned scenes")
    spread(partial(_draw_portrait, seed, classes), portraits, "Drawing single animals")
    _write_captions_file(captions_file, photos, captions)
    write_json(split_file, _karpathy_split(photos, captions, seed))
    write_json(marker, record)


def drawn_scenes(paths: Mapping[str, Path]) -> dict[str, Scene]:
    """What each of the captioned pictures at `paths` shows; empty where they were not drawn by `draw_sample`.

    Nothing but the name of a picture and the seed decides what it shows, so it need not be written anywhere.

    Raises:
        InputError: they were drawn by another version of this wing, which may have decided otherwise.
    """
    markers = {path.parents[2] / _MARKER for path in paths.values() if len(path.parents) > 2}
    if len(markers) != 1 or not (marker := markers.pop()).is_file():
        return {}
    record = read_json(marker)
    if record["drawn_by"] != _drawn_by():
        raise InputError(
            f"The pictures in {marker.parent} were drawn by another version of this course, and may show something "
            "else than this one knows of them; run notebook 01_download again, and then those after it."
        )
    return {name: choose_scene(_generator(record["seed"], path)) for name, path in paths.items()}


def _drawn_by() -> str:
    """Which version of this wing it is."""
    return fingerprint_files(sorted(Path(__file__).parent.glob("*.py")))


def _generator(seed: int, path: Path) -> Random:
    return Random(f"{seed} {path.stem}")


def spread(draw: Callable[[Path], Any], paths: list[Path], description: str) -> list[Any]:
    """`draw` for each path, by as many processes as there are cores, in the order of `paths`."""
    workers = cores()
    if workers == 1:
        return [draw(path) for path in progress(paths, description, unit="picture")]
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        results = pool.map(draw, paths, chunksize=8)
        return list(progress(results, description, total=len(paths), unit="picture"))


def _draw_photo(seed: int, path: Path) -> list[str]:
    """Draw one captioned scene and return its captions."""
    rng = _generator(seed, path)
    scene = choose_scene(rng)
    captions = write_captions(scene, rng)
    _save(draw_scene(scene, rng), path)
    return captions


def _draw_portrait(seed: int, classes: Mapping[str, str], path: Path) -> None:
    rng = _generator(seed, path)
    _save(draw_scene(choose_portrait(classes[path.parent.name], rng), rng), path)


def _save(picture: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        picture.save(temporary, quality=90)


def _write_captions_file(path: Path, photos: list[Path], captions: list[list[str]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "caption"])
        for photo, sentences in zip(photos, captions, strict=True):
            writer.writerows([photo.name, sentence] for sentence in sentences)


def _karpathy_split(photos: list[Path], captions: list[list[str]], seed: int) -> dict:
    """About 80 % train, 10 % val, 10 % test (see `HELD_OUT`), with the sentences and their tokens."""
    tenth = max(HELD_OUT, round(len(photos) / 10))
    splits = ["val"] * tenth + ["test"] * tenth + ["train"] * (len(photos) - 2 * tenth)
    Random(f"{seed} split").shuffle(splits)
    images = []
    for number, (photo, sentences) in enumerate(zip(photos, captions, strict=True)):
        first = number * len(sentences)
        images.append(
            {
                "filename": photo.name,
                "split": splits[number],
                "imgid": number,
                "sentids": list(range(first, first + len(sentences))),
                "sentences": [
                    {
                        "raw": sentence,
                        "tokens": re.findall(r"[a-z]+", sentence.lower()),
                        "imgid": number,
                        "sentid": first + position,
                    }
                    for position, sentence in enumerate(sentences)
                ],
            }
        )
    return {"images": images, "dataset": "sample"}
