"""People and things of the sample: who does something, and what it is done beside, on or under.

A person is 1 high. A car, boat, bicycle, bench, table, house, ball or umbrella is 1 wide; a tree or flower 1 high.
"""

from collections.abc import Callable
from math import cos, pi, sin
from random import Random

from helpers.sample.pen import INK, WHITE, Colour, Pen, blend, shade

PAINT: dict[str, Colour] = {
    "red": (216, 56, 50),
    "blue": (50, 104, 206),
    "yellow": (246, 204, 52),
    "green": (56, 156, 82),
}
# Skin and hair together: hair must stand out from the skin, or the head becomes a ball.
_LOOKS: tuple[tuple[Colour, Colour], ...] = (
    ((250, 216, 188), (218, 168, 82)),
    ((250, 214, 184), (186, 92, 44)),
    ((244, 202, 168), (96, 62, 38)),
    ((232, 184, 146), (48, 38, 38)),
    ((198, 142, 102), (44, 32, 30)),
    ((142, 96, 68), (34, 28, 30)),
)
_WOOD: Colour = (166, 112, 66)


def draw_person(pen: Pen, who: str, colour: str, action: str, rng: Random, holding: bool = False) -> None:
    """One person facing right. On a seat (`seated`, `riding`) the seat is at y = 0 and the legs reach below."""
    (skin, hair), cloth = rng.choice(_LOOKS), PAINT[colour]
    trousers = rng.choice(((64, 74, 104), (92, 82, 74), (70, 70, 78)))
    child, skirt = who in ("boy", "girl"), who in ("woman", "girl")
    hip, shoulder, radius = (0.36, 0.64, 0.165) if child else (0.46, 0.75, 0.115)
    girth = 0.1 if child else 0.085
    if action in ("sitting", "seated", "riding"):
        pen = pen.at(0, 0.08 - hip)  # the hip comes down to the seat
    h, s = hip, shoulder
    # Hip, knee, foot and shoulder, elbow, hand; first the far limb.
    legs = {
        "running": [[(0, h), (0.02, h * 0.48), (-0.2, h * 0.3)], [(0, h), (0.17, h * 0.68), (0.13, h * 0.16)]],
        "jumping": [[(0, h), (-0.12, h * 0.55), (-0.26, h * 0.38)], [(0, h), (0.17, h * 0.7), (0.12, h * 0.24)]],
        "sitting": [[(0, h), (0.24, h + 0.13), (0.4, h - 0.05)], [(0, h), (0.2, h + 0.18), (0.32, h - 0.06)]],
        "seated": [[(0, h), (0.22, h + 0.02), (0.26, h - 0.28)], [(0, h), (0.19, h), (0.2, h - 0.3)]],
        "riding": [[(0, h), (0.16, h - 0.1), (0.14, h - 0.3)], [(0, h), (0.13, h - 0.14), (0.05, h - 0.34)]],
    }.get(action, [[(0.05, h), (0.06, h * 0.5), (0.065, 0.02)], [(-0.05, h), (-0.055, h * 0.5), (-0.06, 0.02)]])
    arms = {
        "running": [[(0.06, s), (0.16, s - 0.15), (0.27, s - 0.04)], [(-0.05, s), (-0.2, s - 0.12), (-0.12, s - 0.26)]],
        "jumping": [[(0.07, s), (0.2, s + 0.08), (0.24, s + 0.26)], [(-0.07, s), (-0.2, s + 0.07), (-0.26, s + 0.24)]],
        "sitting": [[(0.07, s), (0.15, s - 0.14), (0.24, h + 0.14)], [(-0.06, s), (0.02, s - 0.2), (0.18, h + 0.17)]],
        "seated": [[(0.07, s), (0.12, s - 0.16), (0.18, h + 0.06)], [(-0.07, s), (-0.06, s - 0.17), (0.08, h + 0.05)]],
        "riding": [[(0.06, s), (0.18, s - 0.14), (0.31, h + 0.1)], [(-0.03, s), (0.08, s - 0.17), (0.28, h + 0.08)]],
    }.get(action, [[(0.08, s), (0.14, s - 0.14), (0.14, s - 0.29)], [(-0.08, s), (-0.15, s - 0.14), (-0.16, s - 0.29)]])
    if holding:
        arms[0] = [(0.08, s), (0.18, s - 0.08), (0.2, s + 0.06)]
    upper = pen.at(0, 0, turn=-8 if action == "running" else 0)

    sleeve = shade(cloth, 0.9)
    _arm(upper, arms[0], shade(sleeve, 0.85), shade(skin, 0.92))
    for leg, dim in zip(legs, (0.82, 1.0), strict=True):
        pen.limb(leg, (girth * 0.62, girth * 0.55, girth * 0.45), shade(skin if skirt else trousers, dim))
        x, y = leg[-1]
        pen.ellipse(x + 0.03, y + 0.005, 0.062, 0.032, (74, 54, 48) if not child else (222, 96, 70))
        if skirt and action in ("sitting", "seated", "riding"):
            pen.limb(leg[:2], (girth * 1.15, girth * 0.95), shade(cloth, dim))
    if who == "woman":
        back = [(-0.6, 0.4), (0.4, 0.6), (0.8, 0.0), (0.75, -1.4), (-0.2, -1.8), (-1.1, -1.5), (-1.05, -0.3)]
        upper.at(0.01, s - 0.06 + radius * 1.55, radius).shape(back, shade(hair, 0.85))
    if skirt:
        hem = h * (0.45 if action in ("standing", "running", "jumping") else 0.88)
        flare = 0.185 if hem < h * 0.5 else 0.125
        flare += 0.03 if child else 0.0
        dress = [(-0.09, s + 0.02), (0.09, s + 0.02), (0.075, (s + h) / 2), (flare, hem), (0, hem - 0.02)]
        upper.polygon([*dress, (-flare, hem), (-0.075, (s + h) / 2)], cloth)
        upper.box(-0.08, h + 0.02, 0.08, h + 0.05, shade(cloth, 0.7), outline=False)
    else:
        upper.limb([(0, h + 0.03), (0, s - 0.05)], (girth * 0.95, girth * 1.25), cloth)
        upper.limb([(-girth * 0.5, h), (girth * 0.5, h)], girth * 0.5, trousers, outline=False)
    upper.limb([(0, s), (0.01, s + 0.06)], 0.036, shade(skin, 0.9))
    head = upper.at(0.015, s + 0.04 + radius * 0.95, radius)
    _head(head, who, skin, hair)
    _arm(upper, arms[1], sleeve, skin)


def _arm(pen: Pen, joints: list, sleeve: Colour, skin: Colour) -> None:
    pen.limb(joints, (0.044, 0.038, 0.03), skin)
    elbow = ((joints[0][0] + joints[1][0] * 2) / 3, (joints[0][1] + joints[1][1] * 2) / 3)
    pen.limb([joints[0], elbow], (0.056, 0.05), sleeve)
    pen.ellipse(*joints[2], 0.035, 0.035, skin)


def _head(head: Pen, who: str, skin: Colour, hair: Colour) -> None:
    if who == "girl":
        for side in (-1, 1):
            head.limb([(side * 0.8, 0.3), (side * 1.5, 0.15), (side * 1.55, -0.75)], (0.2, 0.36, 0.12), hair)
            head.ellipse(side * 0.98, 0.3, 0.17, 0.17, (230, 90, 130))
    head.ellipse(0, 0, 0.95, 1.0, skin)
    top = {
        "man": [(-1.0, -0.1), (-0.95, 0.7), (-0.2, 1.15), (0.65, 0.95), (0.9, 0.4), (0.3, 0.55), (-0.55, 0.4)],
        "woman": [(-1.05, -0.5), (-1.0, 0.7), (-0.1, 1.18), (0.8, 0.85), (0.98, -0.3), (0.65, 0.4), (-0.5, 0.5)],
        "boy": [(-1.0, 0.1), (-0.95, 0.8), (-0.3, 1.3), (0.2, 1.1), (0.8, 1.0), (0.9, 0.35), (0.2, 0.5), (-0.6, 0.35)],
        "girl": [(-0.98, 0.0), (-0.9, 0.75), (0, 1.15), (0.85, 0.75), (0.95, 0.1), (0.5, 0.45), (0, 0.6), (-0.6, 0.35)],
    }[who]
    head.shape(top, hair)
    if who == "man":
        beard = [(-0.9, -0.1), (-0.8, -0.75), (0.1, -1.12), (0.85, -0.7), (0.92, -0.15), (0.7, -0.4), (0.25, -0.32)]
        head.shape([*beard, (-0.4, -0.42)], hair, outline=False)
    for x in (-0.12, 0.52):
        head.eye(x, -0.02, 0.13)
    head.ellipse(0.25, -0.24, 0.1, 0.08, shade(skin, 0.84), outline=False)
    for x in (-0.38, 0.66):
        head.ellipse(x, -0.36, 0.17, 0.11, blend(skin, (236, 110, 100), 0.4), outline=False)
    head.limb([(-0.05, -0.5), (0.22, -0.62), (0.5, -0.5)], 0.055, (150, 60, 56), outline=False)


def _ring(pen: Pen, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
    points = [(x + radius * cos(k * pi / 10), y + radius * sin(k * pi / 10)) for k in range(21)]
    pen.limb(points, width, colour)


def draw_car(pen: Pen, colour: str, rng: Random) -> None:
    paint = PAINT[colour]
    for x in (-0.29, 0.29):
        pen.ellipse(x, 0.1, 0.11, 0.11, (40, 38, 42))
    body = [(-0.49, 0.13), (-0.5, 0.24), (-0.38, 0.29), (-0.25, 0.43), (0.08, 0.44), (0.25, 0.3), (0.44, 0.27)]
    pen.shape([*body, (0.5, 0.2), (0.49, 0.12), (0, 0.1)], paint)
    glass = (196, 226, 240)
    pen.polygon([(-0.29, 0.3), (-0.21, 0.4), (-0.06, 0.41), (-0.06, 0.3)], glass, outline=False)
    pen.polygon([(-0.03, 0.3), (-0.03, 0.41), (0.07, 0.405), (0.18, 0.3)], glass, outline=False)
    pen.limb([(-0.045, 0.28), (-0.045, 0.14)], 0.006, shade(paint, 0.65), outline=False)
    pen.limb([(0.0, 0.25), (0.05, 0.25)], 0.009, shade(paint, 0.55), outline=False)
    pen.limb([(-0.47, 0.145), (0.47, 0.14)], 0.022, shade(paint, 0.7), outline=False)
    pen.ellipse(0.46, 0.22, 0.03, 0.032, (255, 240, 170), outline=False)
    pen.ellipse(-0.48, 0.23, 0.018, 0.03, (150, 30, 30), outline=False)
    for x in (-0.29, 0.29):
        pen.ellipse(x, 0.1, 0.1, 0.1, (44, 42, 46), outline=False)
        pen.ellipse(x, 0.1, 0.055, 0.055, (206, 208, 212), outline=False)


def draw_bicycle(pen: Pen, colour: str, rng: Random) -> None:
    paint = PAINT[colour]
    for x in (-0.29, 0.29):
        for k in range(6):
            dx, dy = 0.19 * cos(k * pi / 6), 0.19 * sin(k * pi / 6)
            pen.limb([(x - dx, 0.21 - dy), (x + dx, 0.21 + dy)], 0.003, (150, 150, 156), outline=False)
        _ring(pen, x, 0.21, 0.19, 0.018, (44, 42, 46))
    crank, saddle, bar = (-0.03, 0.2), (-0.12, 0.46), (0.2, 0.46)
    rear, front, lug = (-0.29, 0.21), (0.29, 0.21), (0.2, 0.42)
    tubes = ((rear, crank), (rear, (-0.1, 0.4)), (crank, saddle), (crank, lug), ((-0.1, 0.42), lug), (front, bar))
    for start, end in tubes:
        pen.limb([start, end], 0.019, paint)
    pen.limb([bar, (0.19, 0.52), (0.11, 0.54)], 0.014, (70, 66, 70))
    pen.limb([(-0.18, 0.475), (-0.06, 0.475)], (0.028, 0.018), INK)
    pen.ellipse(*crank, 0.045, 0.045, (120, 120, 126))


def draw_boat(pen: Pen, colour: str, rng: Random, mast: float = -0.04) -> None:
    """The hull's rim is at y = 0.2; the water line a little above 0."""
    paint = PAINT[colour]
    pen.limb([(mast, 0.15), (mast, 0.98)], 0.014, (122, 84, 54))
    right = mast > -0.1
    if right:
        sail = ((0.03, 0.95), (0.2, 0.6), (0.4, 0.28), (0.2, 0.26), (0.03, 0.3))
        pen.shape([(mast + x, y) for x, y in sail], WHITE)
    pen.polygon([(mast - 0.03, 0.9), (mast - 0.03, 0.29), (mast - (0.34 if right else 0.26), 0.29)], shade(WHITE, 0.93))
    pen.polygon([(mast, 0.98), (mast, 1.06), (mast - 0.12, 1.02)], paint)
    pen.shape([(-0.5, 0.21), (0, 0.19), (0.54, 0.24), (0.42, 0.02), (0.2, -0.05), (-0.2, -0.05), (-0.4, 0.02)], paint)
    pen.limb([(-0.475, 0.19), (0, 0.168), (0.5, 0.205)], 0.015, WHITE, outline=False)
    pen.limb([(-0.36, 0.02), (0, -0.01), (0.38, 0.02)], 0.02, shade(paint, 0.7), outline=False)


def draw_ball(pen: Pen, colour: str, rng: Random) -> None:
    paint = PAINT[colour]
    turned = pen.at(0, 0.5, turn=rng.uniform(-40, 40))
    turned.ellipse(0, 0, 0.5, 0.5, paint)
    turned.shape([(-0.47, 0.1), (0, 0.22), (0.47, 0.1), (0.48, -0.06), (0, 0.04), (-0.48, -0.06)], WHITE, outline=False)
    turned.ellipse(-0.17, 0.33, 0.1, 0.06, shade(paint, 1.5), turn=20, outline=False)


def draw_umbrella(pen: Pen, colour: str, rng: Random, pole: float = 1.0) -> None:
    """The rim of the canopy is at y = 0 and the pole reaches down to -pole."""
    paint = PAINT[colour]
    pen.limb([(0, 0.36), (0, -pole)], 0.013, (120, 92, 70))
    rim = [(-0.5, 0), (-0.375, 0.035), (-0.25, 0), (-0.125, 0.035), (0, 0), (0.125, 0.035), (0.25, 0), (0.375, 0.035)]
    dome = [(0.5 * cos(k * pi / 14), 0.37 * sin(k * pi / 14)) for k in range(15)]
    pen.polygon([*rim, *dome], paint)
    for left, right in ((-0.25, 0), (0.25, 0.5)):
        panel = [(left, 0), ((left + right) / 2, 0.035), (right, 0), (right * 0.75, 0.22), (0, 0.36)]
        pen.polygon([*panel, (left * 0.75, 0.22)], shade(paint, 0.82), outline=False)
    pen.limb([(0, 0.36), (0, 0.43)], 0.016, (120, 92, 70))


def draw_bench(pen: Pen, colour: None, rng: Random) -> None:
    """The seat is at y = 0.2."""
    iron = (70, 72, 78)
    for x in (-0.38, 0.38):
        pen.limb([(x, 0.4), (x, 0)], 0.02, iron)
        pen.limb([(x, 0.17), (x + 0.03, 0)], 0.02, iron)
    for y in (0.4, 0.31):
        pen.limb([(-0.47, y), (0.47, y)], 0.033, _WOOD)
    pen.polygon([(-0.45, 0.24), (0.45, 0.24), (0.49, 0.165), (-0.49, 0.165)], shade(_WOOD, 1.15))
    pen.limb([(-0.47, 0.2), (0.47, 0.2)], 0.004, shade(_WOOD, 0.7), outline=False)


def draw_table(pen: Pen, colour: None, rng: Random) -> None:
    """The top is at y = 0.5."""
    for x in (-0.36, 0.36):
        pen.limb([(x, 0.46), (x, 0.06)], 0.024, shade(_WOOD, 0.7))
    for x in (-0.43, 0.43):
        pen.limb([(x, 0.44), (x, 0)], (0.034, 0.026), _WOOD)
    pen.polygon([(-0.5, 0.46), (0.5, 0.46), (0.43, 0.55), (-0.43, 0.55)], shade(_WOOD, 1.18))
    pen.box(-0.5, 0.415, 0.5, 0.46, shade(_WOOD, 0.88))


def draw_tree(pen: Pen, style: str | None, rng: Random) -> None:
    """A leafy tree, under `palm` a palm and under `snow` one with snow on it."""
    if style == "palm":
        bend = rng.uniform(-0.06, 0.06)
        pen.limb([(0, 0), (bend, 0.35), (bend * 2.4, 0.7)], (0.042, 0.032, 0.026), (168, 124, 80))
        for k in range(7):
            y = 0.06 + 0.09 * k
            x = bend * (y / 0.35) * (1 if y < 0.35 else 1.15)
            pen.limb([(x - 0.03, y), (x + 0.03, y + 0.006)], 0.004, (124, 88, 56), outline=False)
        top = pen.at(bend * 2.4, 0.7)
        for x, y in ((0.46, -0.06), (0.42, 0.16), (0.2, 0.29), (0.24, -0.16)):
            for side in (-1, 1):
                frond = [(0, 0), (side * x * 0.55, y * 0.7 + 0.1), (side * x, y - 0.06)]
                top.limb(frond, (0.028, 0.05, 0.008), (62, 150 - round(x * 60), 74))
        for x in (-0.03, 0.035):
            top.ellipse(x, -0.03, 0.034, 0.036, (122, 82, 50))
        return
    bark, leaf = (120, 82, 56), rng.choice(((74, 154, 72), (96, 164, 66), (58, 138, 80)))
    pen.limb([(0, 0), (0.005, 0.3), (0, 0.55)], (0.07, 0.045, 0.04), bark)
    pen.limb([(0, 0.3), (0.13, 0.47)], (0.03, 0.02), bark)
    crown = ((-0.25, 0.58, 0.17), (0.25, 0.57, 0.17), (-0.13, 0.76, 0.19), (0.14, 0.76, 0.18), (0, 0.6, 0.2))
    for x, y, r in (*crown, (0, 0.87, 0.13)):
        pen.ellipse(x, y, r, r * 0.92, leaf)
    for _ in range(9):
        x, y = rng.uniform(-0.27, 0.24), rng.uniform(0.5, 0.9)
        pen.ellipse(x, y, 0.055, 0.035, shade(leaf, rng.choice((0.86, 1.18))), outline=False)
    if style == "snow":
        caps = ((-0.13, 0.88, 0.11), (0.13, 0.87, 0.11), (0, 0.95, 0.11), (-0.32, 0.67, 0.08), (0.33, 0.66, 0.08))
        for x, y, r in caps:
            pen.ellipse(x, y, r, r * 0.55, (248, 250, 254), outline=False)


def draw_house(pen: Pen, colour: None, rng: Random) -> None:
    wall = rng.choice(((244, 226, 192), (236, 206, 176), (222, 226, 228), (246, 236, 170)))
    roof = rng.choice(((178, 78, 60), (120, 92, 86), (94, 104, 124)))
    pen.box(0.22, 0.7, 0.33, 0.96, (170, 110, 90))
    pen.box(-0.42, 0, 0.42, 0.56, wall)
    pen.polygon([(-0.52, 0.53), (0.52, 0.53), (0.3, 0.88), (-0.3, 0.88)], roof)
    for y, half in ((0.62, 0.46), (0.71, 0.4), (0.8, 0.34)):
        pen.limb([(-half, y), (half, y)], 0.004, shade(roof, 0.75), outline=False)
    pen.box(-0.09, 0, 0.09, 0.3, (132, 82, 54), outline=False)
    pen.ellipse(0.055, 0.15, 0.013, 0.013, (240, 210, 120), outline=False)
    for x in (-0.26, 0.26):
        pen.box(x - 0.1, 0.19, x + 0.1, 0.41, WHITE, outline=False)
        pen.box(x - 0.08, 0.21, x + 0.08, 0.39, (158, 204, 226), outline=False)
        pen.limb([(x, 0.2), (x, 0.4)], 0.008, WHITE, outline=False)
        pen.limb([(x - 0.09, 0.3), (x + 0.09, 0.3)], 0.008, WHITE, outline=False)


def draw_flower(pen: Pen, colour: str, rng: Random) -> None:
    """The middle of the bloom is at y = 0.78."""
    paint = PAINT[colour]
    pen.limb([(0, 0), (0.02, 0.4), (0, 0.75)], 0.026, (70, 140, 66))
    pen.shape([(0.01, 0.15), (0.2, 0.34), (0.34, 0.36), (0.2, 0.2)], (84, 158, 74))
    pen.shape([(0.01, 0.25), (-0.18, 0.44), (-0.32, 0.45), (-0.18, 0.29)], (84, 158, 74))
    for k in range(8):
        angle = k * pi / 4 + 0.2
        pen.ellipse(0.17 * cos(angle), 0.78 + 0.17 * sin(angle), 0.105, 0.075, paint, turn=angle * 180 / pi)
    pen.ellipse(0, 0.78, 0.095, 0.095, (240, 180, 60) if colour != "yellow" else (150, 92, 44))


DRAW_THING: dict[str, Callable[..., None]] = {
    "car": draw_car,
    "bicycle": draw_bicycle,
    "boat": draw_boat,
    "ball": draw_ball,
    "umbrella": draw_umbrella,
    "bench": draw_bench,
    "table": draw_table,
    "tree": draw_tree,
    "house": draw_house,
    "flower": draw_flower,
}
