"""The four-legged animals of the sample, each in several poses.

They share a skeleton: `_stance` says where hip, shoulder, head and feet are in a pose, from a few proportions
(`Build`), and each animal adds its own head, tail, coat and feet. All face right; the pen can mirror.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from helpers.sample.pen import INK, WHITE, Colour, Pen, blend, shade

COATS: dict[str, Colour] = {
    "brown": (142, 92, 54),
    "black": (62, 60, 68),
    "white": (243, 240, 232),
    "golden": (226, 176, 92),
    "orange": (232, 140, 56),
    "grey": (150, 154, 164),
    "black-and-white": (246, 244, 238),
    "blue": (58, 118, 214),
    "yellow": (246, 206, 52),
    "purple": (150, 84, 190),
}
PINK: Colour = (238, 166, 166)
RED: Colour = (214, 58, 50)


@dataclass(frozen=True)
class Build:
    """Proportions of a four-legged animal, in figure heights."""

    leg: float  # height of hip and shoulder above the ground
    trunk: float  # from hip to shoulder
    girth: tuple[float, float, float]  # half thickness at hip, belly and chest
    limb: tuple[float, float]  # half thickness of a leg, top and bottom
    neck: tuple[float, float]  # from shoulder to head, standing
    stride: float = 1.0  # how far the legs reach in a run, as a share of a dog's


@dataclass(frozen=True)
class Stance:
    """Joints of a pose. Legs are (joint, knee, foot), from the far hind leg to the near front leg."""

    hip: tuple[float, float]
    shoulder: tuple[float, float]
    head: tuple[float, float]
    head_turn: float
    far: list[list[tuple[float, float]]]
    near: list[list[tuple[float, float]]]
    haunch: tuple[float, float] | None = None  # centre of a folded hind leg


def _stance(build: Build, action: str) -> Stance:
    h, t = build.leg, build.trunk / 2
    nx, ny = build.neck
    if action in ("running", "jumping"):
        k = h / 0.42 * build.stride
        hip, shoulder = (-t, h * 0.97), (t, h)
        far = [
            [hip, (-t + 0.13 * k, h * 0.5), (-t - 0.02 * k, h * 0.12)],
            [shoulder, (t + 0.17 * k, h * 0.55), (t + 0.1 * k, h * 0.1)],
        ]
        near = [
            [hip, (-t - 0.13 * k, h * 0.55), (-t - 0.36 * k, h * 0.16)],
            [shoulder, (t + 0.2 * k, h * 0.7), (t + 0.38 * k, h * 0.28)],
        ]
        if action == "jumping":
            far[0] = [hip, (-t - 0.1 * k, h * 0.6), (-t - 0.28 * k, h * 0.08)]
            far[1] = [shoulder, (t + 0.2 * k, h * 0.8), (t + 0.22 * k, h * 0.4)]
            near[1] = [shoulder, (t + 0.24 * k, h * 0.85), (t + 0.36 * k, h * 0.45)]
        return Stance(hip, shoulder, (t + nx * 1.15, h + ny * 0.9), 0, far, near)
    if action == "sitting":
        g = build.girth[0]
        hip = (-0.55 * t, g * 0.95)
        shoulder = (hip[0] + 1.05 * t, hip[1] + 1.5 * t)
        paw = shoulder[0] + 0.04
        far = [[hip, (hip[0] + g, g * 0.7), (hip[0] + g * 1.5, 0)], [shoulder, (paw + 0.05, 0.2), (paw + 0.07, 0.01)]]
        near = [[shoulder, (paw - 0.02, 0.2), (paw, 0)]]
        return Stance(hip, shoulder, (shoulder[0] + nx * 0.7, shoulder[1] + ny), 0, far, near, (hip[0] + g * 0.3, g))
    if action == "lying":
        g, c = build.girth[0], build.girth[2]
        hip, shoulder = (-t, g), (t, c)
        low = build.limb[1]
        far = [[shoulder, (t + 0.1, low * 1.3), (t + 0.33, low * 1.3)]]
        near = [[shoulder, (t + 0.02, low), (t + 0.26, low)]]
        return Stance(hip, shoulder, (t + nx * 1.1, c + ny * 0.75), 0, far, near, (-t + g * 0.3, g * 0.85))
    hip, shoulder = (-t, h), (t, h)
    gap = 0.09
    far = [[hip, (-t + gap * 0.6, h * 0.5), (-t + gap, 0.02)], [shoulder, (t + gap, h * 0.5), (t + gap, 0.02)]]
    near = [[hip, (-t - 0.03, h * 0.5), (-t, 0)], [shoulder, (t, h * 0.5), (t, 0)]]
    if action == "grazing":
        reach = (nx**2 + ny**2) ** 0.5
        return Stance(hip, shoulder, (t + reach * 0.75, max(0.2, h - reach * 0.62)), -50, far, near)
    return Stance(hip, shoulder, (t + nx, h + ny), 0, far, near)


def _legs(pen: Pen, legs: list, build: Build, colour: Colour, foot: Colour, hoof: bool) -> None:
    top, bottom = build.limb
    for joint, knee, end in legs:
        pen.limb([joint, knee, end], (top, (top + bottom) / 2, bottom), colour)
        if hoof:
            pen.limb([(end[0], end[1] + bottom * 0.9), end], (bottom * 1.02, bottom * 1.15), foot)
        else:
            pen.ellipse(end[0] + bottom * 0.5, end[1] + bottom * 0.35, bottom * 1.5, bottom * 0.95, foot)


def _trunk(pen: Pen, stance: Stance, build: Build, colour: Colour) -> None:
    (ax, ay), (bx, by) = stance.hip, stance.shoulder
    pen.limb([stance.hip, ((ax + bx) / 2, (ay + by) / 2), stance.shoulder], build.girth, colour)


def _haunch(pen: Pen, stance: Stance, build: Build, colour: Colour, foot: Colour) -> None:
    if stance.haunch:
        x, y = stance.haunch
        g = build.girth[0]
        pen.ellipse(x, y, g * 0.98, g * 0.92, shade(colour, 0.9), outline=False)
        pen.ellipse(x + 0.01, y + 0.012, g * 0.9, g * 0.86, colour, outline=False)
        pen.ellipse(x + g * 0.75, build.limb[1] * 0.8, build.limb[1] * 2.0, build.limb[1], foot)


DOG = Build(0.40, 0.52, (0.125, 0.115, 0.15), (0.07, 0.042), (0.17, 0.24))


def draw_dog(pen: Pen, colour: str, action: str, rng: Random) -> None:
    coat = COATS[colour]
    dark = shade(coat, 0.72) if colour != "white" else (176, 140, 104)
    light = shade(coat, 1.35)
    stance = _stance(DOG, action)
    _legs(pen, stance.far, DOG, shade(coat, 0.78), shade(coat, 0.74), hoof=False)
    x, y = stance.hip
    tail = {
        "lying": [(x - 0.08, y - 0.02), (x - 0.25, y - 0.06), (x - 0.34, y + 0.02)],
        "sitting": [(x - 0.06, y - 0.04), (x - 0.2, y - 0.02), (x - 0.28, y + 0.1)],
    }.get(action, [(x - 0.08, y + 0.06), (x - 0.2, y + 0.18), (x - 0.2, y + 0.32)])
    pen.limb(tail, (0.045, 0.04, 0.022), coat)
    _trunk(pen, stance, DOG, coat)
    pen.ellipse(stance.shoulder[0] + 0.09, stance.shoulder[1] - 0.04, 0.065, 0.085, light, outline=False)
    if colour in ("white", "golden") and action != "sitting":
        pen.ellipse(x + 0.16, y + 0.03, 0.09, 0.065, dark if colour == "white" else shade(coat, 0.9), outline=False)
    _legs(pen, stance.near, DOG, coat, light, hoof=False)
    _haunch(pen, stance, DOG, coat, light)
    hx, hy = stance.head
    sx, sy = stance.shoulder
    pen.limb([(sx + 0.01, sy + 0.03), (hx - 0.03, hy - 0.02)], (0.12, 0.09), coat)
    pen.limb([(hx - 0.15, hy - 0.06), (hx - 0.03, hy - 0.15), (hx + 0.06, hy - 0.15)], 0.022, RED, outline=False)
    head = pen.at(hx, hy, 0.15, 0)
    head.ellipse(0, 0, 1.0, 0.95, coat)
    if action in ("running", "jumping"):
        head.limb([(1.0, -0.7), (1.05, -1.1)], (0.24, 0.2), (236, 110, 120))
    head.limb([(0.35, -0.25), (1.3, -0.32)], (0.58, 0.4), coat)
    head.limb([(0.75, -0.52), (1.35, -0.48)], (0.25, 0.24), light, outline=False)
    head.ellipse(1.6, -0.1, 0.24, 0.2, INK)
    head.limb([(0.75, -0.6), (1.2, -0.66), (1.5, -0.52)], 0.05, INK, outline=False)
    head.eye(0.45, 0.28, 0.17, closed=action == "lying")
    head.limb([(-0.3, 0.75), (-0.72, 0.1), (-0.66, -0.72)], (0.25, 0.4, 0.3), dark)


CAT = Build(0.33, 0.5, (0.125, 0.12, 0.12), (0.055, 0.042), (0.13, 0.24))


def draw_cat(pen: Pen, colour: str, action: str, rng: Random) -> None:
    coat = COATS[colour]
    stripe, light = shade(coat, 0.74), blend(coat, WHITE, 0.72)
    stance = _stance(CAT, action)
    paw = light if colour != "black" else shade(coat, 1.15)
    _legs(pen, stance.far, CAT, shade(coat, 0.8), shade(coat, 0.78), hoof=False)
    x, y = stance.hip
    tail = {
        "lying": [(x - 0.05, y - 0.03), (x - 0.24, y - 0.07), (x - 0.3, 0.04), (x - 0.12, 0.03)],
        "sitting": [(x - 0.06, 0.05), (x - 0.24, 0.05), (x - 0.32, 0.2), (x - 0.22, 0.3)],
        "running": [(x - 0.08, y + 0.04), (x - 0.26, y + 0.1), (x - 0.42, y + 0.06), (x - 0.52, y + 0.14)],
    }.get(action, [(x - 0.07, y + 0.04), (x - 0.22, y + 0.14), (x - 0.22, y + 0.34), (x - 0.12, y + 0.46)])
    pen.limb(tail, 0.036, coat)
    pen.limb(tail[-2:], 0.037, stripe, outline=False)
    _trunk(pen, stance, CAT, coat)
    if colour in ("orange", "grey"):
        (ax, ay), (bx, by) = stance.hip, stance.shoulder
        for share in (0.12, 0.36, 0.6, 0.84):
            cx, cy = ax + (bx - ax) * share, ay + (by - ay) * share
            dx, dy = (0, 1) if action != "sitting" else (-0.8, 0.55)
            start = (cx + dx * 0.115, cy + dy * 0.115)
            pen.limb([start, (cx + dx * 0.02, cy + dy * 0.02)], (0.024, 0.008), stripe, outline=False)
    _legs(pen, stance.near, CAT, coat, paw, hoof=False)
    _haunch(pen, stance, CAT, coat, paw)
    hx, hy = stance.head
    pen.limb([stance.shoulder, (hx - 0.02, hy - 0.04)], (0.11, 0.1), coat)
    head = pen.at(hx, hy, 0.165, 0)
    for side in (-1, 1):
        head.polygon([(side * 0.22, 0.6), (side * 0.98, 0.25), (side * 0.92, 1.45)], coat)
        head.polygon([(side * 0.45, 0.65), (side * 0.85, 0.45), (side * 0.83, 1.12)], PINK, outline=False)
    head.ellipse(0, 0, 1.15, 0.95, coat)
    if colour in ("orange", "grey"):
        for offset in (-0.28, 0, 0.28):
            head.limb([(offset, 0.88), (offset * 0.8, 0.5)], (0.09, 0.04), stripe, outline=False)
    for side in (-1, 1):
        head.ellipse(side * 0.24, -0.42, 0.36, 0.29, light, outline=False)
        if action == "lying":
            head.eye(side * 0.48, 0.08, 0.22, closed=True)
        else:
            head.ellipse(side * 0.48, 0.1, 0.25, 0.27, (170, 205, 80), outline=False)
            head.ellipse(side * 0.48, 0.1, 0.11, 0.24, (24, 22, 24), outline=False)
            head.ellipse(side * 0.48 + 0.07, 0.22, 0.06, 0.06, WHITE, outline=False)
        whisker = WHITE if colour == "black" else INK
        for rise in (-0.1, 0.12):
            head.limb([(side * 0.5, -0.4), (side * 1.45, -0.42 + rise * 2)], 0.035, whisker, outline=False)
    head.polygon([(-0.14, -0.18), (0.14, -0.18), (0, -0.36)], (224, 110, 120), outline=False)


HORSE = Build(0.54, 0.5, (0.155, 0.14, 0.155), (0.075, 0.032), (0.25, 0.33))


def draw_horse(pen: Pen, colour: str, action: str, rng: Random) -> None:
    if action == "grazing":
        pen = pen.at(-0.15, 0)  # neck and head reach far forward; this brings the whole to the middle
    coat = COATS[colour]
    mane = {"brown": (64, 40, 30), "black": (34, 32, 40), "white": (206, 196, 180)}[colour]
    hoof = (58, 48, 46)
    stance = _stance(HORSE, action)
    _legs(pen, stance.far, HORSE, shade(coat, 0.78), hoof, hoof=True)
    x, y = stance.hip
    sweep = 0.14 if action in ("running", "jumping") else 0
    tail = [(x - 0.1, y + 0.1), (x - 0.22, y + 0.06 + sweep), (x - 0.25 - sweep, y - 0.3 + sweep * 2)]
    pen.limb(tail, (0.035, 0.06, 0.03), mane)
    _trunk(pen, stance, HORSE, coat)
    _legs(pen, stance.near, HORSE, coat, hoof, hoof=True)
    sx, sy = stance.shoulder
    hx, hy = stance.head
    low = action == "grazing"
    # The mane lies behind the neck's crest; drawn first, the neck covers its roots.
    if low:
        neck = [(sx - 0.02, sy + 0.01), ((sx + hx) / 2 + 0.03, (sy + hy) / 2 + 0.03), (hx, hy + 0.02)]
        crest = [(sx + 0.05, sy + 0.12), (neck[1][0] + 0.06, neck[1][1] + 0.07), (hx + 0.04, hy + 0.08)]
        thick, mane_thick = (0.14, 0.095, 0.075), (0.03, 0.045, 0.03)
    else:
        neck = [(sx, sy + 0.01), ((sx + hx) / 2 - 0.02, (sy + hy) / 2 + 0.02), (hx - 0.01, hy + 0.02)]
        crest = [(sx - 0.04, sy + 0.14), (neck[1][0] - 0.07, neck[1][1] + 0.09), (hx - 0.07, hy + 0.1)]
        thick, mane_thick = (0.15, 0.105, 0.085), (0.05, 0.075, 0.05)
    pen.limb(crest, mane_thick, mane)
    pen.limb(neck, thick, coat)
    locks = [radius * 0.6 for radius in mane_thick]
    pen.limb([(px - 0.02, py - 0.01) for px, py in crest], locks, mane, outline=False)
    head = pen.at(hx, hy, 0.14, stance.head_turn * 0.6)
    head.polygon([(-0.3, 0.5), (0.12, 0.55), (-0.05, 1.15)], coat)
    head.limb([(0, 0.12), (0.75, -0.6), (1.3, -1.2)], (0.62, 0.5, 0.4), coat)
    head.limb([(1.15, -1.05), (1.35, -1.25)], (0.38, 0.36), shade(coat, 0.72 if colour != "white" else 0.85), False)
    if colour != "white":
        head.limb([(0.42, 0.32), (1.2, -0.62)], (0.08, 0.13), WHITE, outline=False)
    head.ellipse(1.5, -1.2, 0.08, 0.1, INK, outline=False)
    head.eye(0.3, 0.02, 0.17)
    head.limb([(-0.05, 0.75), (0.3, 0.45), (0.42, 0.1)], (0.2, 0.16, 0.05), mane, outline=False)


COW = Build(0.42, 0.66, (0.19, 0.2, 0.19), (0.08, 0.048), (0.24, 0.2))


def _lying_cow(pen: Pen, coat: Colour, hoof: Colour, tuft: Colour) -> None:
    """A cow's tail, body and folded legs, without its head: broad on the ground, high at the withers."""
    pen.limb([(0.3, 0.12), (0.52, 0.06), (0.66, 0.05)], (0.08, 0.06, 0.045), shade(coat, 0.8))  # the far front leg
    pen.ellipse(0.7, 0.045, 0.06, 0.045, hoof)
    pen.limb([(-0.48, 0.3), (-0.58, 0.16), (-0.52, 0.04)], (0.022, 0.018, 0.016), coat)
    pen.ellipse(-0.5, 0.035, 0.06, 0.035, tuft)
    back = [(-0.52, 0.2), (-0.44, 0.4), (-0.22, 0.46), (0.08, 0.43), (0.32, 0.46), (0.46, 0.3)]
    pen.shape([*back, (0.42, 0.1), (0.2, 0.02), (-0.2, 0.0), (-0.46, 0.05)], coat)
    pen.ellipse(-0.3, 0.19, 0.19, 0.17, shade(coat, 0.86), outline=False)  # the thigh of the folded hind leg
    pen.ellipse(-0.295, 0.2, 0.18, 0.16, coat, outline=False)
    pen.limb([(-0.18, 0.07), (-0.02, 0.05)], (0.06, 0.045), coat)
    pen.ellipse(0.04, 0.045, 0.06, 0.045, hoof)
    pen.limb([(0.3, 0.14), (0.47, 0.1)], (0.09, 0.065), coat)  # the near front leg: knee in front, hoof tucked in
    pen.limb([(0.47, 0.07), (0.26, 0.05)], (0.055, 0.045), coat)
    pen.ellipse(0.2, 0.045, 0.055, 0.042, hoof)


def draw_cow(pen: Pen, colour: str, action: str, rng: Random) -> None:
    if action == "lying":
        pen = pen.at(-0.1, 0)  # head and leg reach forward
    coat = COATS[colour]
    patch = (52, 48, 54) if colour == "black-and-white" else shade(coat, 1.75)
    hoof = (70, 58, 54)
    tuft = (52, 48, 54) if colour == "black-and-white" else shade(coat, 0.55)
    stance = _stance(COW, action)
    x, y = stance.hip
    if action == "lying":
        _lying_cow(pen, coat, hoof, tuft)
        stance = replace(stance, shoulder=(0.3, 0.27), head=(0.52, 0.5))
    else:
        _legs(pen, stance.far, COW, shade(coat, 0.8), hoof, hoof=True)
        pen.ellipse(x + 0.14, y - 0.2, 0.1, 0.075, PINK)
        for offset in (0.09, 0.18):
            pen.limb([(x + offset, y - 0.25), (x + offset, y - 0.29)], 0.018, (226, 140, 145))
        pen.limb([(x - 0.16, y + 0.1), (x - 0.24, y), (x - 0.23, y - 0.2)], (0.022, 0.018, 0.016), coat)
        pen.ellipse(x - 0.23, y - 0.23, 0.035, 0.06, tuft)
        _trunk(pen, stance, COW, coat)
        _legs(pen, stance.near, COW, coat, hoof, hoof=True)
    # Patches stay inside the trunk: their places are shares of the way from hip to shoulder.
    chest = 0.76 if action == "lying" else 0.92
    for share, rise, width, height in ((0.05, 0.05, 0.13, 0.1), (0.5, 0.06, 0.13, 0.1), (chest, 0.02, 0.1, 0.12)):
        cx = x + (stance.shoulder[0] - x) * share + rng.uniform(-0.02, 0.02)
        wobble = [rng.uniform(0.75, 1.1) for _ in range(6)]
        corners = ((1, 0), (0.5, 0.87), (-0.5, 0.87), (-1, 0), (-0.5, -0.87), (0.5, -0.87))
        points = [(cx + a * width * w, y + rise + b * height * w) for (a, b), w in zip(corners, wobble, strict=True)]
        if colour == "black-and-white" or share == 0.5:
            pen.shape(points, patch, outline=False)
    hx, hy = stance.head
    pen.limb([(stance.shoulder[0] - 0.02, stance.shoulder[1] + 0.02), (hx - 0.02, hy - 0.01)], (0.17, 0.12), coat)
    head = pen.at(hx, hy, 0.155, stance.head_turn * 0.3)
    for side in (-1, 1):
        head.limb([(side * 0.5, 0.75), (side * 0.95, 1.05), (side * 0.9, 1.5)], (0.2, 0.17, 0.05), (232, 220, 190))
        head.limb([(side * 0.7, 0.4), (side * 1.45, 0.3)], (0.2, 0.28), coat if colour == "brown" else patch)
        head.limb([(side * 0.9, 0.36), (side * 1.4, 0.28)], (0.1, 0.15), PINK, outline=False)
    head.limb([(0, 0.3), (0, -0.7)], (0.85, 0.62), patch if colour != "brown" else coat)
    head.limb([(0, 0.95), (0, -0.5)], (0.14, 0.26), WHITE, outline=False)
    head.ellipse(0, -0.95, 0.8, 0.52, PINK)
    for side in (-1, 1):
        head.ellipse(side * 0.3, -0.9, 0.12, 0.16, (150, 80, 84), outline=False)
        head.ellipse(side * 0.45, 0.2, 0.22, 0.25, WHITE, outline=False)
        head.eye(side * 0.45, 0.18, 0.17)
    head.limb([(-0.3, -1.22), (0, -1.3), (0.3, -1.22)], 0.05, (150, 80, 84), outline=False)


SHEEP = Build(0.36, 0.4, (0.24, 0.26, 0.24), (0.05, 0.042), (0.22, 0.12))


def draw_sheep(pen: Pen, colour: str, action: str, rng: Random) -> None:
    wool = (246, 242, 230) if colour == "white" else (84, 78, 82)
    skin = (72, 62, 64) if colour == "white" else (44, 40, 44)
    stance = _stance(SHEEP, action)
    _legs(pen, stance.far, SHEEP, shade(skin, 0.85), INK, hoof=True)
    _legs(pen, stance.near, SHEEP, skin, INK, hoof=True)
    x, y = -0.02, stance.hip[1] + (0.06 if action != "lying" else 0.04)
    pen.ellipse(x - 0.42, y + 0.04, 0.08, 0.07, wool)
    bumps = ((-0.34, 0.02), (-0.27, 0.17), (-0.1, 0.25), (0.1, 0.25), (0.27, 0.17), (0.33, 0.0), (0.25, -0.14))
    bumps += ((0.08, -0.19), (-0.1, -0.19), (-0.26, -0.13))
    for bx, by in bumps:
        pen.ellipse(x + bx, y + by, 0.125, 0.115, wool)
    pen.ellipse(x, y + 0.02, 0.36, 0.26, wool, outline=False)
    curl = shade(wool, 0.86) if colour == "white" else shade(wool, 1.18)
    for bx, by in ((-0.22, 0.08), (-0.05, 0.14), (0.13, 0.1), (-0.14, -0.06), (0.05, -0.03), (-0.02, -0.15)):
        arc = [(x + bx - 0.06, y + by + 0.02), (x + bx, y + by - 0.03), (x + bx + 0.06, y + by + 0.02)]
        pen.limb(arc, 0.012, curl, outline=False)
    hx, hy = stance.head
    head = pen.at(hx + 0.03, hy + 0.02, 0.155, stance.head_turn * 0.5)
    for side in (-1, 1):
        head.limb([(side * 0.5, 0.3), (side * 1.3, 0.02)], (0.2, 0.26), skin)
    head.limb([(0, 0.3), (0.08, -0.65)], (0.7, 0.5), skin)
    for bx, by in ((-0.5, 0.65), (0, 0.85), (0.5, 0.65), (0, 0.6)):
        head.ellipse(bx, by, 0.45, 0.4, wool)
    for side in (-1, 1):
        head.ellipse(side * 0.34 + 0.04, 0.02, 0.2, 0.22, WHITE, outline=False)
        head.eye(side * 0.34 + 0.06, 0.0, 0.13, closed=False)
    head.ellipse(0.1, -0.72, 0.25, 0.16, shade(skin, 1.35), outline=False)


ELEPHANT = Build(0.42, 0.46, (0.25, 0.27, 0.24), (0.115, 0.1), (0.27, 0.16), stride=0.6)


def draw_elephant(pen: Pen, colour: str, action: str, rng: Random) -> None:
    pen = pen.at(-0.13, 0)  # the trunk reaches far forward; this brings the whole to the middle
    skin = blend(COATS["grey"], (140, 150, 176), rng.random() * 0.6)
    dark = shade(skin, 0.82)
    stance = _stance(ELEPHANT, action)
    _legs(pen, stance.far, ELEPHANT, dark, shade(dark, 0.95), hoof=True)
    x, y = stance.hip
    pen.limb([(x - 0.2, y + 0.08), (x - 0.3, y - 0.04), (x - 0.28, y - 0.2)], (0.02, 0.016, 0.014), skin)
    pen.ellipse(x - 0.28, y - 0.22, 0.026, 0.04, shade(skin, 0.5))
    _trunk(pen, stance, ELEPHANT, skin)
    _legs(pen, stance.near, ELEPHANT, skin, shade(skin, 0.92), hoof=True)
    _haunch(pen, stance, ELEPHANT, skin, shade(skin, 0.92))
    for _, _, (fx, fy) in stance.near:
        for offset in (-0.05, 0.0, 0.05):
            pen.ellipse(fx + offset + 0.02, fy - 0.08, 0.024, 0.022, (232, 226, 214), outline=False)
    hx, hy = stance.head
    pen.limb([(stance.shoulder[0], stance.shoulder[1] + 0.03), (hx, hy)], (0.2, 0.17), skin)
    head = pen.at(hx, hy, 0.205, 0)
    raised = rng.random() < 0.4
    trunk = [(0.7, -0.15), (1.25, -0.85), (1.2, -1.65), (1.6, -2.0)]
    if raised:
        trunk = [(0.7, -0.15), (1.35, -0.5), (1.85, 0.1), (1.75, 0.85)]
    head.limb(trunk, (0.5, 0.36, 0.26, 0.17), skin)
    for (ax, ay), (bx, by) in pairwise(trunk[1:]):
        mx, my = (ax + bx) / 2, (ay + by) / 2
        head.limb([(mx - 0.2, my), (mx + 0.15, my - 0.06)], 0.03, dark, outline=False)
    head.ellipse(0, 0, 1.0, 0.98, skin)
    head.limb([(0.55, -0.55), (1.0, -0.95), (1.5, -0.85)], (0.17, 0.13, 0.03), (250, 244, 222))
    head.eye(0.5, 0.2, 0.13)
    ear = [(-0.1, 0.75), (-0.75, 1.1), (-1.5, 0.7), (-1.6, -0.2), (-1.1, -1.0), (-0.5, -0.85), (-0.15, -0.2)]
    head.shape([(px * 1.05, py * 1.05) for px, py in ear], shade(skin, 0.7), outline=False)
    head.shape(ear, shade(skin, 0.9))
    head.shape([(px * 0.78 - 0.14, py * 0.74 + 0.02) for px, py in ear], blend(skin, PINK, 0.45), outline=False)


SQUIRREL = Build(0.24, 0.36, (0.15, 0.13, 0.11), (0.06, 0.035), (0.17, 0.12))


def draw_squirrel(pen: Pen, colour: str, action: str, rng: Random) -> None:
    coat = {"orange": (214, 106, 44), "brown": (132, 88, 58), "grey": COATS["grey"]}[colour]
    belly, tail = blend(coat, WHITE, 0.7), shade(coat, 0.88)
    if action == "sitting":
        bush = [(-0.08, 0.07), (-0.36, 0.1), (-0.46, 0.42), (-0.34, 0.72), (-0.46, 0.94), (-0.62, 0.9)]
        pen.limb(bush, (0.08, 0.12, 0.16, 0.17, 0.12, 0.05), tail)
        pen.limb(bush[1:5], (0.04, 0.07, 0.08, 0.04), shade(tail, 1.25), outline=False)
        pen.limb([(0, 0.18), (0.03, 0.4), (0.08, 0.55)], (0.2, 0.17, 0.12), coat)
        pen.limb([(0.1, 0.18), (0.13, 0.45)], (0.1, 0.08), belly, outline=False)
        pen.ellipse(0.0, 0.14, 0.15, 0.14, shade(coat, 0.92), outline=False)
        pen.ellipse(0.12, 0.03, 0.13, 0.045, coat)
        pen.limb([(0.06, 0.42), (0.2, 0.36), (0.26, 0.42)], (0.05, 0.04, 0.035), coat)
        pen.ellipse(0.29, 0.42, 0.055, 0.065, (150, 96, 44))
        pen.limb([(0.24, 0.475), (0.34, 0.475)], 0.028, (92, 58, 34))
        hx, hy = 0.13, 0.7
    else:
        stance = _stance(SQUIRREL, action)
        _legs(pen, stance.far, SQUIRREL, shade(coat, 0.8), shade(coat, 0.8), hoof=False)
        x, y = stance.hip
        bush = [(x - 0.08, y), (x - 0.3, y + 0.04), (x - 0.46, y + 0.25), (x - 0.62, y + 0.4), (x - 0.76, y + 0.34)]
        pen.limb(bush, (0.07, 0.12, 0.16, 0.14, 0.06), tail)
        pen.limb(bush[1:4], (0.04, 0.07, 0.05), shade(tail, 1.25), outline=False)
        _trunk(pen, stance, SQUIRREL, coat)
        pen.limb([(-0.08, 0.15), (0.16, 0.17)], (0.04, 0.05), belly, outline=False)
        _legs(pen, stance.near, SQUIRREL, coat, coat, hoof=False)
        hx, hy = stance.head
        pen.limb([stance.shoulder, (hx, hy)], (0.11, 0.1), coat)
    head = pen.at(hx, hy, 0.14)
    for px in (-0.5, 0.02):
        head.limb([(px, 0.6), (px - 0.08, 1.15), (px - 0.12, 1.5)], (0.3, 0.22, 0.05), coat if px > -0.4 else tail)
    head.ellipse(0, 0, 1.0, 0.9, coat)
    head.limb([(0.5, -0.2), (1.0, -0.3)], (0.5, 0.3), coat)
    head.ellipse(0.5, -0.5, 0.5, 0.3, belly, outline=False)
    head.ellipse(1.28, -0.2, 0.14, 0.13, INK)
    head.eye(0.35, 0.22, 0.21)
