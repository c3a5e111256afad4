"""From the content of a scene to its picture: where everybody stands, how large, and in which order it is painted."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from helpers.sample.animals import DRAW_ANIMAL
from helpers.sample.captions import ANIMALS, PEOPLE, Scene
from helpers.sample.pen import CANVAS, Drawing, Pen
from helpers.sample.people import DRAW_THING, draw_person
from helpers.sample.places import DRAW_PLACE, snowflakes

# Pixels of the canvas for 1 in the coordinates of the figure, and how wide the figure is in those coordinates.
_SIZES = {
    "dog": (180, 0.95),
    "cat": (172, 0.95),
    "horse": (212, 1.1),
    "elephant": (212, 1.36),
    "cow": (200, 1.25),
    "sheep": (195, 1.05),
    "chicken": (155, 0.9),
    "squirrel": (160, 1.22),
    "spider": (105, 1.9),
    "butterfly": (125, 1.5),
    "man": (250, 0.45),
    "woman": (240, 0.45),
    "boy": (190, 0.55),
    "girl": (186, 0.6),
    "car": (235, 1.0),
    "bicycle": (205, 1.0),
    "boat": (220, 1.05),
    "ball": (68, 1.0),
    "umbrella": (200, 1.0),
    "bench": (215, 1.0),
    "table": (250, 1.0),
    "tree": (330, 0.8),
    "house": (270, 1.0),
    "flower": (150, 0.6),
}
# Poses that need more or less room than standing.
_WIDER = {"grazing": 1.12, "running": 1.22, "jumping": 1.22, "sitting": 0.9, "lying": 1.08}
_ROOM_FOR_FIGURES = 0.93 * CANVAS


@dataclass
class Figure:
    """Somebody or something to paint: (x, y) is where its (0, 0) lies, in pixels from the upper left."""

    kind: str
    colour: str | None
    action: str | None
    x: float
    y: float
    size: float
    flip: bool = False
    options: dict[str, Any] = field(default_factory=dict)  # further arguments of its drawing function
    shadow: float | None = None  # height of the ground below it, if it casts a shadow there

    @property
    def width(self) -> float:
        wider = 1.35 if self.kind in PEOPLE and self.action == "sitting" else _WIDER.get(self.action, 1.0)
        return self.size * _SIZES[self.kind][1] * wider


def draw_scene(scene: Scene, rng: Random) -> Image.Image:
    """The picture of `scene`, 224 pixels a side; `rng` decides everything the captions leave open."""
    image = Image.new("RGB", (CANVAS, CANVAS))
    DRAW_PLACE[scene.place](image, rng)
    figures = _arrange(scene, rng)
    _shadows(image, figures)
    for figure in figures:
        _draw(figure, rng).paint(image)
        if figure.kind == "boat" and scene.place == "sea":
            _water_line(image, figure)
    if scene.place == "snow":
        snowflakes(image, rng)
    return _light(image.reduce(2), rng)


def _draw(figure: Figure, rng: Random) -> Drawing:
    drawing = Drawing()
    turn = 0.0
    if figure.action == "jumping" and figure.kind in ANIMALS:
        turn = 12.0
    elif figure.action == "flying":
        turn = rng.uniform(-35, 35)
    pen = Pen(drawing, figure.x, figure.y, figure.size, turn, figure.flip)
    if figure.kind in ANIMALS:
        DRAW_ANIMAL[figure.kind](pen, figure.colour, figure.action, rng)
    elif figure.kind in PEOPLE:
        draw_person(pen, figure.kind, figure.colour, figure.action, rng, **figure.options)
    else:
        DRAW_THING[figure.kind](pen, figure.colour, rng, **figure.options)
    return drawing


def _arrange(scene: Scene, rng: Random) -> list[Figure]:
    """Figures in the order of painting, from the back to the front."""
    ground = CANVAS * rng.uniform(0.82, 0.88)
    if scene.place == "sea":
        ground = CANVAS * rng.uniform(0.76, 0.82)
    growth = {None: 1.0, "small": 0.58, "big": 1.34}[scene.size] * (1.12, 0.86, 0.7)[scene.count - 1]
    size = _SIZES[scene.subject][0] * growth * rng.uniform(0.95, 1.05)
    group = [_actor(scene, rng, ground, size) for _ in range(scene.count)]
    thing = _companion(scene, rng, ground)
    if thing is None:
        _spread_out(group, CANVAS * rng.uniform(0.44, 0.56), rng)
        return _back_to_front(group)
    place = _PLACINGS.get((scene.relation, scene.thing)) or _PLACINGS[scene.relation]
    return place(group, thing, rng, ground)


def _actor(scene: Scene, rng: Random, ground: float, size: float) -> Figure:
    depth = (0, 9, 16)[scene.count - 1]
    y = ground + rng.uniform(-depth, depth)
    figure = Figure(scene.subject, scene.colour, scene.action, 0, y, size, rng.random() < 0.5, shadow=y)
    if scene.action == "jumping":
        figure.size *= 0.88 if scene.subject in PEOPLE else 1.0
        figure.y -= size * rng.uniform(0.2, 0.32)
    elif scene.action == "flying":
        figure.y, figure.shadow = CANVAS * rng.uniform(0.5, 0.68), None
    elif scene.action == "hanging":
        figure.y, figure.shadow = CANVAS * rng.uniform(0.55, 0.75), None
    if scene.subject == "boat":
        figure.shadow = None
    return figure


def _companion(scene: Scene, rng: Random, ground: float) -> Figure | None:
    if scene.thing is None:
        return None
    colour = scene.thing_colour
    if scene.thing == "tree":
        colour = {"beach": "palm", "snow": "snow"}.get(scene.place)
    action = rng.choice(("standing", "sitting")) if scene.thing in ("dog", "cat") else "standing"
    size = _SIZES[scene.thing][0] * rng.uniform(0.95, 1.05)
    return Figure(scene.thing, colour, action, 0, ground, size, rng.random() < 0.5, shadow=ground)


def _shrink(figures: list[Figure], factor: float) -> None:
    for figure in figures:
        figure.size *= factor
        if figure.action == "jumping" and figure.shadow is not None:
            figure.y = figure.shadow - (figure.shadow - figure.y) * factor


def _spread_out(group: list[Figure], centre: float, rng: Random, room: float = _ROOM_FOR_FIGURES) -> None:
    """Side by side around `centre`, smaller if they would not fit into `room`, and inside the picture."""
    total = sum(figure.width for figure in group) * (1.04 if len(group) < 3 else 0.9)
    if total > room:
        _shrink(group, room / total)
        total = room
    margin = 0.03 * CANVAS
    x = min(max(centre - total / 2, margin), max(margin, CANVAS - margin - total))
    for figure in group:
        share = total / len(group)
        figure.x = x + share / 2 + rng.uniform(-0.02, 0.02) * share
        x += share


def _back_to_front(figures: list[Figure]) -> list[Figure]:
    return sorted(figures, key=lambda figure: figure.shadow if figure.shadow is not None else figure.y)


def _beside(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    total = sum(figure.width for figure in group) * 1.04 + thing.width + 0.04 * CANVAS
    if total > _ROOM_FOR_FIGURES:
        _shrink([*group, thing], _ROOM_FOR_FIGURES / total)
        total = _ROOM_FOR_FIGURES
    left = (CANVAS - total) / 2
    if rng.random() < 0.5:
        thing.x = left + thing.width / 2
        _spread_out(group, left + total - (total - thing.width) / 2, rng)
    else:
        thing.x = left + total - thing.width / 2
        _spread_out(group, left + (total - thing.width) / 2, rng)
    thing.y = thing.shadow = ground - rng.uniform(2, 12)
    return _back_to_front([thing, *group])


def _before(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    thing.size *= 1.25 if thing.kind == "car" else 1.15
    thing.x = CANVAS * rng.uniform(0.46, 0.54)
    thing.y = thing.shadow = ground - 0.1 * CANVAS
    _shrink(group, 0.8)
    _spread_out(group, thing.x + rng.choice((-0.14, 0.14)) * CANVAS, rng, room=0.62 * CANVAS)
    return [thing, *_back_to_front(group)]


def _under_tree(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    thing.size = 0.86 * CANVAS
    thing.x = CANVAS * rng.uniform(0.42, 0.58)
    thing.y = thing.shadow = ground - 0.05 * CANVAS
    _shrink(group, 0.82)
    _spread_out(group, thing.x + rng.choice((-1, 1)) * 0.1 * CANVAS, rng, room=0.7 * CANVAS)
    return [thing, *_back_to_front(group)]


def _under_table(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    thing.size, thing.x = 0.8 * CANVAS, CANVAS * rng.uniform(0.47, 0.53)
    group[0].size = min(group[0].size, 0.145 * CANVAS / 0.45)
    group[0].x, group[0].y = thing.x + rng.uniform(-0.06, 0.06) * CANVAS, ground - 0.02 * CANVAS
    group[0].shadow = group[0].y
    return [thing, *group]


def _under_umbrella(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    figure = group[0]
    figure.x = CANVAS * rng.uniform(0.4, 0.6)
    side = -1 if figure.flip else 1
    if figure.kind in PEOPLE:  # held in the far hand
        child = figure.kind in ("boy", "girl")
        figure.size = min(figure.size, 0.55 * CANVAS)
        figure.options["holding"] = True
        thing.x = figure.x + side * 0.2 * figure.size
        thing.y = figure.y - figure.size * 1.06
        thing.size, thing.shadow = max(0.46 * CANVAS, figure.size * 0.8), None
        thing.options["pole"] = figure.size * (0.37 if not child else 0.42) / thing.size
    else:
        figure.size = min(figure.size, 0.42 * CANVAS)
        thing.size = max(0.55 * CANVAS, figure.width * 1.35)
        thing.x, thing.y = figure.x - side * 0.12 * figure.size, ground - 0.02 * CANVAS - figure.size * 1.12
        thing.options["pole"] = figure.size * 1.12 / thing.size
        thing.shadow = None
    return [thing, figure]


def _on(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    height = {"bench": 0.2, "table": 0.5, "ball": 0.97}[thing.kind]
    figure = group[0]
    thing.x = figure.x = CANVAS * rng.uniform(0.42, 0.58)
    if thing.kind == "ball":
        thing.size = figure.size * 0.55
    else:
        thing.size = max(thing.size, figure.width * 1.25)
        figure.x += rng.uniform(-0.15, 0.15) * thing.size
    figure.y, figure.shadow = ground - height * thing.size, None
    if figure.kind in PEOPLE and figure.action == "sitting":
        figure.action, thing.size = "seated", figure.size * 1.25
        figure.y = ground - height * thing.size
    return [thing, figure]


def _on_flower(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    thing.size = 0.56 * CANVAS
    thing.x = CANVAS * rng.uniform(0.38, 0.62)
    group[0].size *= 0.86
    side = rng.choice((-1, 1))
    group[0].x, group[0].y = thing.x + side * 0.13 * thing.size, ground - 0.86 * thing.size + 0.25 * group[0].size
    group[0].shadow = None
    return [thing, *group]


def _riding(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    rider = group[0]
    thing.flip = rider.flip
    thing.x = CANVAS * rng.uniform(0.45, 0.55)
    if thing.kind == "horse":
        thing.size, rider.size = 235, rider.size * 0.62
        thing.action = rng.choice(("standing", "running"))
        rider.x, rider.y = thing.x, ground - 0.68 * thing.size
    else:
        rider.size *= 0.8
        thing.size = rider.size * 1.25
        rider.x, rider.y = thing.x + (0.12 if rider.flip else -0.12) * thing.size, ground - 0.49 * thing.size
    rider.shadow = None
    return [thing, rider]


def _above(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    thing.x = CANVAS * rng.uniform(0.4, 0.6)
    if thing.kind == "boat":
        thing.size *= 0.9
        thing.shadow = None
    _shrink(group, 0.85)
    _spread_out(group, thing.x, rng)
    top = {"flower": 0.98, "bench": 0.45, "table": 0.56, "boat": 1.06}[thing.kind] * thing.size
    for figure in group:
        figure.y = max(ground - top - rng.uniform(0.05, 0.16) * CANVAS, figure.size * 1.15)
    return [thing, *group]


def _in_boat(group: list[Figure], thing: Figure, rng: Random, ground: float) -> list[Figure]:
    figure = group[0]
    figure.size = min(figure.size, 0.5 * CANVAS, 0.37 * CANVAS / _SIZES[figure.kind][1])
    thing.size, thing.shadow, thing.x = 0.72 * CANVAS, None, CANVAS / 2
    thing.options["mast"] = -0.24
    side = -1 if thing.flip else 1
    figure.x = thing.x + side * 0.15 * thing.size
    figure.y, figure.shadow = ground - 0.1 * thing.size, None
    if figure.kind in PEOPLE and figure.action == "sitting":
        figure.y -= 0.03 * thing.size
    return [figure, thing]


# Each takes the group, the thing, a generator and the height of the ground, and returns all, back to front.
_PLACINGS = {
    "next to": _beside,
    "in front of": _before,
    ("under", "tree"): _under_tree,
    ("under", "table"): _under_table,
    ("under", "umbrella"): _under_umbrella,
    "on": _on,
    ("on", "flower"): _on_flower,
    ("on", "bicycle"): _riding,
    ("on", "horse"): _riding,
    "above": _above,
    "in": _in_boat,
}


def _shadows(image: Image.Image, figures: list[Figure]) -> None:
    """Soft shadows on the ground, drawn at a quarter of the size, where a blur is cheap."""
    quarter = CANVAS // 4
    mask = Image.new("L", (quarter, quarter))
    draw = ImageDraw.Draw(mask)
    for figure in figures:
        if figure.shadow is not None:
            width = figure.size * {"tree": 0.45}.get(figure.kind, _SIZES[figure.kind][1] * 0.92)
            height = min(width * 0.16, 26)
            x, y = figure.x + width * 0.05, figure.shadow
            box = (x - width / 2, y - height / 2, x + width / 2, y + height * 0.6)
            draw.ellipse([value / 4 for value in box], fill=105)
    mask = mask.filter(ImageFilter.GaussianBlur(1.8)).resize(image.size, Image.Resampling.BILINEAR)
    image.paste((24, 22, 46), mask=mask)


def _water_line(image: Image.Image, boat: Figure) -> None:
    """Waves over the lower edge of the hull, in the colour of the water beside it."""
    drawing = Drawing()
    pen = Pen(drawing, boat.x, boat.y, boat.size)
    beside = (max(boat.x - 0.62 * boat.size, 0), min(boat.y + 12, CANVAS - 1))
    water = image.getpixel((int(beside[0]), int(beside[1])))
    crest = [(-0.6, -0.02), (-0.4, 0.03), (-0.2, 0.0), (0, 0.035), (0.2, 0.0), (0.4, 0.035), (0.6, -0.02)]
    pen.shape([*crest, (0.3, -0.08), (-0.3, -0.08)], water)
    pen.limb(crest, (0.002, 0.009, 0.006, 0.009, 0.006, 0.009, 0.002), (236, 246, 250))
    drawing.paint_flat(image)


def _light(image: Image.Image, rng: Random) -> Image.Image:
    """A little uneven light and paper grain, different in every picture."""
    noise = np.random.default_rng(rng.getrandbits(32))
    patches = Image.fromarray(noise.integers(0, 255, (6, 6), dtype=np.uint8))
    patches = np.asarray(patches.resize(image.size, Image.Resampling.BICUBIC), dtype=np.int16)[..., None]
    grain = noise.integers(-3, 4, (image.height, image.width, 1), dtype=np.int16)
    warmth = np.array([rng.uniform(-4, 5), 0, rng.uniform(-5, 4)]) + rng.uniform(-6, 6)
    lit = np.asarray(image, dtype=np.int16) + (patches - 128) // 14 + grain + warmth.astype(np.int16)
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))
