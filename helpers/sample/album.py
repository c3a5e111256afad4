"""A drawn album: pictures without captions, as a folder of photos that somebody has, to use a finished run on.

    photos/screen/       scenes like those of the sample, larger, cut to 4 : 3
    photos/prints/       the same kind of scenes as old prints: faded brown, grainy, askew in a white frame
    photos/sketches/     as pencil sketches: no colours, little more than outlines
    classes/<name>/      pictures of single things that are no class of the sample
    descriptions.txt     what is said of those classes, a line each
    album.json           what is on each picture, and which picture is a copy of which

Some pictures lie there twice, smaller, recompressed or with an edge cut off, and a few files are broken, as happens.
None of the scenes is in the sample.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from helpers.files import InputError, atomic_path, fingerprint_files, read_json, write_json
from helpers.profiles import Profile, of_drawing
from helpers.sample.captions import Scene, choose_portrait, choose_scene, write_captions
from helpers.sample.draw import spread
from helpers.sample.drawing import draw_scene

NEW_CLASSES = {  # and what is said of them
    "bicycle": (
        "a bicycle with two large wheels and thin spokes",
        "a thin frame of tubes with a saddle and a handlebar",
        "a bike that stands on two wheels without a rider",
        "two black tyres joined by a bright frame",
        "something to ride on, with pedals and a chain",
    ),
    "car": (
        "a car with four wheels and large windows",
        "a round metal body with a roof, doors and headlights",
        "a parked car seen from the side",
        "a small bright car with black tyres",
        "something to drive in, on a road or a field",
    ),
}
PICTURES = 48  # of each kind, usually
_BROKEN = {  # what is in the file
    "photos/screen/cut_off.jpg": lambda photo: photo[: len(photo) // 3],
    "photos/prints/empty.jpg": lambda _: b"",
    "photos/sketches/notes.png": lambda _: b"buy bread, call mother\n",
}


@dataclass(frozen=True)
class Drawn:
    """What is known of one picture of the album.

    Attributes:
        path: below the folder `photos`, with "/" on every system.
        kind: how it looks, a key of `STYLES`.
        captions: five true sentences.
        scene: what it shows.
        copy_of: path of the picture that it is a copy of, or None.
    """

    path: str
    kind: str
    captions: tuple[str, ...]
    scene: Scene
    copy_of: str | None = None


def album_home(settings: Profile, pictures: int) -> Path:
    """Where the album of so many pictures of each kind is drawn."""
    made, usual = {"pictures": pictures, "seed": settings.seed}, {"pictures": PICTURES, "seed": Profile.seed}
    return of_drawing(settings.data / "album", made, usual)


def draw_album(folder: Path, pictures: int, seed: int) -> list[Drawn]:
    """Draw the album into `folder`, `pictures` of each kind, unless it is already there for exactly these arguments.

    Raises:
        InputError: fewer than 5 pictures a kind.
    """
    if pictures < 5:
        raise InputError(f"{pictures} pictures a kind are too few for an album; draw 5 or more.")
    marker, root = folder / "album.json", folder / "photos"
    record = {
        "pictures": pictures,
        "seed": seed,
        "drawn_by": fingerprint_files(sorted(Path(__file__).parent.glob("*.py"))),
    }
    if marker.exists() and (known := read_json(marker)).get("record") == record:
        drawn = [
            Drawn(**row | {"captions": tuple(row["captions"]), "scene": Scene(**row["scene"])})
            for row in known["pictures_drawn"]
        ]
        if all((root / picture.path).exists() for picture in drawn):
            return drawn
    marker.unlink(missing_ok=True)
    for path in (*root.glob("*/*"), *folder.glob("classes/*/*")):  # left from another album, and not put there
        if re.fullmatch(rf"{re.escape(path.parent.name)}_\d{{3,}}(_[a-z]+)?\.(jpg|png)", path.name):
            path.unlink()
    paths = [root / kind / f"{kind}_{number:03d}.jpg" for kind in STYLES for number in range(pictures)]
    things = [
        folder / "classes" / name / f"{name}_{number:03d}.jpg" for name in NEW_CLASSES for number in range(pictures)
    ]
    for path in (*paths, *things):
        path.parent.mkdir(parents=True, exist_ok=True)
    drawn = spread(partial(_draw, root, seed), paths, "Drawing the album")
    spread(partial(_draw_thing, seed), things, "Drawing new classes")
    drawn += [_copy(root, picture, number) for number, picture in enumerate(drawn[:: max(1, pictures // 5)])]
    for name, damage in _BROKEN.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(damage(paths[0].read_bytes()))
    lines = [f"{name}: {text}\n" for name, texts in NEW_CLASSES.items() for text in texts]
    with atomic_path(folder / "descriptions.txt") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    write_json(marker, {"record": record, "pictures_drawn": [asdict(picture) for picture in drawn]})
    return drawn


def _draw(root: Path, seed: int, path: Path) -> Drawn:
    rng = Random(f"album {seed} {path.stem}")
    scene = choose_scene(rng)
    captions = write_captions(scene, rng)
    _save(STYLES[path.parent.name](draw_scene(scene, rng), rng), path)
    return Drawn(path.relative_to(root).as_posix(), path.parent.name, tuple(captions), scene)


def _draw_thing(seed: int, path: Path) -> None:
    rng = Random(f"album {seed} {path.stem}")
    _save(draw_scene(choose_portrait(path.parent.name, rng), rng), path)


def _save(picture: Image.Image, path: Path, **options: int) -> None:
    with atomic_path(path) as temporary:
        picture.save(temporary, **({"quality": 88} | options))


def _copy(root: Path, picture: Drawn, number: int) -> Drawn:
    """The picture once more: smaller, recompressed, with an edge cut off, or in another format, in turns."""
    original = root / picture.path
    image = Image.open(original)
    width, height = image.size
    copies: list[tuple[str, Callable[[], Image.Image], dict[str, int]]] = [
        ("small.jpg", lambda: image.resize((width // 2, height // 2), Image.Resampling.LANCZOS), {}),
        ("sent.jpg", lambda: image, {"quality": 35}),
        ("cut.jpg", lambda: image.crop((width // 20, height // 25, width, height)), {}),
        ("copy.png", lambda: image, {}),
    ]
    suffix, change, options = copies[number % len(copies)]
    path = original.with_name(f"{original.stem}_{suffix}")
    _save(change(), path, **options)
    return Drawn(path.relative_to(root).as_posix(), picture.kind, picture.captions, picture.scene, picture.path)


# --- Styles ---


def _screen(image: Image.Image, rng: Random) -> Image.Image:
    """As the sample draws it, enlarged and cut to 4 : 3 at the top."""
    large = image.resize((512, 512), Image.Resampling.BICUBIC)
    top = rng.randint(40, 90)
    return large.crop((0, top, 512, top + 384))


def _print(image: Image.Image, rng: Random) -> Image.Image:
    """An old print: brown, faded, grainy, a little askew in its white frame."""
    noise = np.random.default_rng(rng.randrange(2**32))
    grey = np.asarray(image.convert("L"), np.float32)  # (H, W)
    grain = grey + noise.normal(0, 9, grey.shape)
    faded = 60 + 0.68 * grain[:, :, None] * np.array([1.0, 0.88, 0.68]) + np.array([18.0, 8.0, -10.0])  # (H, W, 3)
    photo = Image.fromarray(faded.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    page = Image.new("RGB", (photo.width + 36, photo.height + 36), (240, 236, 226))
    page.paste(photo, (18, 18))
    return page.rotate(rng.uniform(-5, 5), Image.Resampling.BICUBIC, fillcolor=(112, 104, 96))


def _sketch(image: Image.Image, rng: Random) -> Image.Image:
    """Pencil on paper: dark where brightness changes, by dividing the picture by a blurred one ("colour dodge")."""
    noise = np.random.default_rng(rng.randrange(2**32))
    grey = image.convert("L")
    around = np.asarray(grey.filter(ImageFilter.GaussianBlur(3)), np.float32)
    lines = np.asarray(grey, np.float32) / (around + 1)  # (H, W), 1 where nothing changes
    shade = (255 * lines.clip(0, 1) ** 2.5 + noise.normal(0, 5, lines.shape)).clip(0, 255)
    paper = shade[:, :, None] * np.array([0.96, 0.95, 0.9])  # (H, W, 3)
    return Image.fromarray(paper.astype(np.uint8))


STYLES: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "screen": _screen,
    "prints": _print,
    "sketches": _sketch,
}
