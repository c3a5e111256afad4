"""The animals of the sample: here those with two, six or eight legs, and the table of all ten.

Each function draws one animal in the coordinates of the pen, facing right, about 1 high.
"""

from collections.abc import Callable
from random import Random

from helpers.sample.pen import INK, WHITE, Pen, shade
from helpers.sample.quadrupeds import (
    COATS,
    RED,
    draw_cat,
    draw_cow,
    draw_dog,
    draw_elephant,
    draw_horse,
    draw_sheep,
    draw_squirrel,
)


def draw_chicken(pen: Pen, colour: str, action: str, rng: Random) -> None:
    coat = (244, 240, 230) if colour == "white" else COATS[colour]
    tail = {"white": (214, 206, 190), "brown": (72, 58, 50), "black": (40, 66, 62)}[colour]
    leg = (236, 164, 50)
    low = action == "sitting"
    up = -0.2 if low else 0.0
    if not low:
        spread = 0.16 if action == "running" else 0.07
        for side, colour_leg in ((1, shade(leg, 0.85)), (-1, leg)):
            foot = (0.0 + side * spread, 0.02 + (0.07 if action == "running" and side == -1 else 0))
            pen.limb([(side * 0.05, 0.3), (side * spread * 1.1 + 0.02, 0.16), foot], 0.022, colour_leg)
            for toe in (-0.05, 0.03, 0.09):
                pen.limb([foot, (foot[0] + toe, foot[1] - 0.015)], 0.016, colour_leg)
    for turn, reach in ((0, 0.3), (1, 0.34), (2, 0.3)):
        tip = (-0.3 - 0.16 + turn * 0.07, 0.5 + reach * (0.5 + turn * 0.3) + up)
        pen.limb([(-0.22, 0.45 + up), (tip[0] + 0.02, tip[1] - 0.1), tip], (0.09, 0.075, 0.03), tail)
    body = [(-0.34, 0.52), (-0.28, 0.34), (-0.08, 0.22), (0.16, 0.24), (0.31, 0.4), (0.29, 0.58), (0.27, 0.74)]
    body += [(0.24, 0.86), (0.1, 0.86), (0.07, 0.7), (-0.05, 0.58), (-0.2, 0.56)]
    for cx, cy, r in ((0.1, 0.97, 0.055), (0.17, 1.0, 0.065), (0.24, 0.96, 0.05)):
        pen.ellipse(cx, cy + up, r, r * 1.2, RED)
    pen.shape([(px, py + up) for px, py in body], coat)
    pen.ellipse(0.175, 0.86 + up, 0.105, 0.1, coat)
    pen.polygon([(0.25, 0.9 + up), (0.26, 0.79 + up), (0.4, 0.83 + up)], (244, 170, 44))
    pen.ellipse(0.26, 0.74 + up, 0.04, 0.065, RED)
    pen.eye(0.2, 0.89 + up, 0.028)
    wing = [(-0.2, 0.52), (0.02, 0.54), (0.13, 0.46), (0.08, 0.34), (-0.1, 0.33), (-0.26, 0.43)]
    if action == "running":
        wing = [(0.1, 0.52), (-0.02, 0.4), (-0.2, 0.5), (-0.34, 0.72), (-0.16, 0.66), (-0.02, 0.6)]
    pen.shape([(px, py + up) for px, py in wing], shade(coat, 0.86 if colour != "black" else 1.2), outline=False)
    for k in range(3):
        line = [(-0.16 + 0.09 * k, 0.4 + up), (-0.1 + 0.09 * k, 0.385 + up)]
        pen.limb(line, 0.012, shade(coat, 0.7), outline=False)
    if low:
        pen.limb([(-0.22, 0.05), (0.0, 0.0), (0.22, 0.06)], 0.035, (206, 172, 96))


# Each leg: a thigh through two points from the body to the knee, and a foot; of the right side, from the top.
_CRAWLING = (
    ((0.37, 0.92), (0.62, 0.92), (0.78, 0.42)),
    ((0.4, 0.72), (0.66, 0.72), (0.92, 0.12)),
    ((0.34, 0.5), (0.56, 0.5), (0.78, -0.02)),
    ((0.22, 0.3), (0.36, 0.3), (0.5, -0.06)),
)
_HANGING = (  # the uppermost hold the thread, the others are drawn up, and the last reach for the ground
    ((0.34, 0.78), (0.42, 1.12), (0.03, 1.36)),
    ((0.48, 0.66), (0.76, 0.86), (0.6, 1.2)),
    ((0.46, 0.36), (0.78, 0.3), (0.72, 0.62)),
    ((0.3, 0.22), (0.46, 0.0), (0.22, -0.24)),
)


def draw_spider(pen: Pen, colour: str, action: str, rng: Random) -> None:
    """The middle of the body is at (0, 0.45); hanging, head down, the thread goes far up."""
    skin = COATS[colour]
    leg = shade(skin, 0.75)
    if action == "hanging":
        pen.limb([(0, 0.8), (0, 8)], 0.02, (104, 100, 112), outline=False)  # dark around white: seen on any ground
        pen.limb([(0, 0.8), (0, 8)], 0.009, WHITE, outline=False)
    for side in (-1, 1):
        for bend, knee, foot in _HANGING if action == "hanging" else _CRAWLING:
            wobble = rng.uniform(-0.04, 0.04)
            thigh = [(side * 0.15, 0.4), (side * bend[0], bend[1]), (side * knee[0], knee[1] + wobble)]
            pen.limb(thigh, (0.05, 0.045, 0.04), leg)
            tip = (side * foot[0], foot[1]) if foot[0] < 0.1 else (side * (foot[0] + wobble), foot[1])
            pen.limb([thigh[-1], tip], (0.042, 0.02), leg)
    pen.ellipse(0, 0.56, 0.36, 0.33, skin)
    for px, py, r in ((0, 0.72, 0.07), (-0.14, 0.64, 0.05), (0.14, 0.64, 0.05)):
        pen.ellipse(px, py, r, r, shade(skin, 1.3) if colour == "brown" else (180, 60, 50), outline=False)
    pen.ellipse(0, 0.28, 0.23, 0.2, shade(skin, 1.12))
    for side in (-1, 1):
        pen.ellipse(side * 0.09, 0.32, 0.075, 0.085, WHITE, outline=False)
        pen.ellipse(side * 0.09, 0.31, 0.04, 0.05, (20, 18, 20), outline=False)
        pen.limb([(side * 0.06, 0.14), (side * 0.05, 0.08)], (0.03, 0.012), INK, outline=False)


def draw_butterfly(pen: Pen, colour: str, action: str, rng: Random) -> None:
    """Seen from above with spread wings; sitting, the wings are half folded. The body is at (0, 0.5)."""
    wing = COATS[colour]
    edge = shade(wing, 0.5)
    spot = shade(wing, 1.65) if colour != "yellow" else (250, 140, 40)
    fold = 0.62 if action == "sitting" else rng.uniform(0.82, 1.0)
    upper = [(0.02, 0.52), (0.2, 0.86), (0.56, 1.06), (0.78, 0.92), (0.68, 0.62), (0.34, 0.48)]
    lower = [(0.02, 0.48), (0.34, 0.46), (0.58, 0.28), (0.54, 0.04), (0.34, -0.04), (0.12, 0.2)]
    for side in (-1, 1):
        half = pen.at(0, 0, stretch=side * fold)
        for points in (lower, upper):
            cx, cy = sum(p[0] for p in points) / 6, sum(p[1] for p in points) / 6
            half.shape(points, edge)
            half.shape([(cx + (px - cx) * 0.8, cy + (py - cy) * 0.8) for px, py in points], wing, outline=False)
        half.ellipse(0.5, 0.8, 0.1, 0.1, spot, outline=False)
        half.ellipse(0.5, 0.8, 0.045, 0.045, edge, outline=False)
        half.ellipse(0.36, 0.2, 0.075, 0.075, spot, outline=False)
        for px, py in ((0.68, 0.93), (0.71, 0.76), (0.52, 0.1)):
            half.ellipse(px, py, 0.03, 0.03, WHITE, outline=False)
        half.limb([(0.02, 0.74), (0.1, 0.95), (0.2, 1.06)], 0.014, INK, outline=False)
        half.ellipse(0.2, 1.06, 0.03, 0.03, INK, outline=False)
    pen.limb([(0, 0.74), (0, 0.5), (0, 0.2)], (0.055, 0.06, 0.025), (54, 42, 46))
    pen.ellipse(0, 0.76, 0.065, 0.065, (54, 42, 46))


DRAW_ANIMAL: dict[str, Callable[[Pen, str, str, Random], None]] = {
    "dog": draw_dog,
    "cat": draw_cat,
    "horse": draw_horse,
    "cow": draw_cow,
    "sheep": draw_sheep,
    "elephant": draw_elephant,
    "chicken": draw_chicken,
    "squirrel": draw_squirrel,
    "spider": draw_spider,
    "butterfly": draw_butterfly,
}
