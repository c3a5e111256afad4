"""The places of the sample: backgrounds with depth, lit and textured a little differently each time.

Pens here see the whole canvas as 1 wide and 1 high, with (0, 0) at the lower left.
"""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from helpers.sample.pen import CANVAS, WHITE, Colour, Drawing, Pen, blend, shade


def _fade(image: Image.Image, top: float, bottom: float, first: Colour, last: Colour) -> None:
    """Fill from height `top` down to `bottom` with a gradient."""
    upper, lower = round((1 - top) * CANVAS), round((1 - bottom) * CANVAS)
    share = np.linspace(0, 1, max(2, lower - upper))[:, None, None]
    strip = (np.array(first) * (1 - share) + np.array(last) * share).astype(np.uint8)
    image.paste(Image.fromarray(strip).resize((CANVAS, len(strip)), Image.Resampling.NEAREST), (0, upper))


def _pen() -> tuple[Drawing, Pen]:
    drawing = Drawing()
    return drawing, Pen(drawing, 0, CANVAS, CANVAS)


_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((120, 190, 240), (214, 238, 250)),
    ((96, 172, 232), (226, 240, 240)),
    ((150, 200, 232), (250, 232, 206)),
    ((236, 176, 150), (252, 228, 176)),  # evening
)


def _sky(image: Image.Image, horizon: float, rng: Random, skies: tuple = _SKIES) -> Colour:
    """Sky with sun and clouds; returns its colour at the horizon, into which distant things fade."""
    top, bottom = rng.choice(skies)
    _fade(image, 1.0, horizon - 0.02, top, bottom)
    drawing, pen = _pen()
    if rng.random() < 0.5:
        x, y = rng.uniform(0.08, 0.92), rng.uniform(0.84, 0.92)
        pen.ellipse(x, y, 0.075, 0.075, blend(bottom, (255, 244, 190), 0.55))
        pen.ellipse(x, y, 0.052, 0.052, (255, 238, 150))
    for _ in range(rng.randint(1, 3)):
        x, y, size = rng.uniform(0, 1), rng.uniform(horizon + 0.22, 0.95), rng.uniform(0.6, 1.2)
        cloud = blend(bottom, WHITE, 0.75)
        for dx, dy, r in ((-0.09, 0, 0.045), (-0.03, 0.028, 0.06), (0.05, 0.02, 0.05), (0.1, 0, 0.035)):
            pen.ellipse(x + dx * size, y + dy * size, r * size, r * size * 0.75, cloud)
    drawing.paint_flat(image)
    return bottom


def _ridge(pen: Pen, base: float, height: float, colour: Colour, rng: Random, steps: int = 6) -> None:
    """A smooth line of hills from edge to edge."""
    top = [(k / (steps - 1) * 1.2 - 0.1, base + rng.uniform(0.2, 1.0) * height) for k in range(steps)]
    pen.shape([(-0.3, base - 0.1), *top, (1.3, base - 0.1)], colour)


def _tufts(pen: Pen, count: int, top: float, colour: Colour, rng: Random) -> None:
    for _ in range(count):
        y = rng.uniform(0.0, top)
        x, size = rng.uniform(0, 1), 0.034 * (1.15 - y / top * 0.7)
        for lean in (-0.5, 0, 0.5):
            pen.polygon([(x - size * 0.14, y), (x + size * 0.14, y), (x + lean * size, y + size)], colour)


def grass(image: Image.Image, rng: Random) -> None:
    horizon = rng.uniform(0.46, 0.54)
    haze = _sky(image, horizon, rng)
    green = rng.choice(((126, 190, 84), (112, 180, 88), (146, 196, 86)))
    drawing, pen = _pen()
    _ridge(pen, horizon, 0.13, blend((96, 160, 120), haze, 0.45), rng)
    _ridge(pen, horizon - 0.02, 0.08, blend(shade(green, 0.85), haze, 0.2), rng)
    drawing.paint_flat(image)
    _fade(image, horizon, 0, blend(green, haze, 0.12), shade(green, 0.78))
    drawing, pen = _pen()
    _tufts(pen, 26, horizon - 0.03, shade(green, 0.68), rng)
    for _ in range(rng.randint(5, 14)):
        x, y = rng.uniform(0, 1), rng.uniform(0.01, horizon - 0.08)
        pen.ellipse(x, y, 0.008, 0.007, rng.choice((WHITE, (252, 232, 120), (244, 190, 210))))
    drawing.paint_flat(image)


def beach(image: Image.Image, rng: Random) -> None:
    horizon, shore = rng.uniform(0.52, 0.58), rng.uniform(0.3, 0.37)
    _sky(image, horizon, rng)
    sea = rng.choice(((42, 138, 190), (54, 160, 190), (40, 120, 176)))
    sand = rng.choice(((244, 220, 166), (238, 208, 150), (246, 228, 186)))
    _fade(image, horizon, 0.2, sea, shade(sea, 1.5))
    drawing, pen = _pen()
    _wavelets(pen, shore + 0.06, horizon - 0.02, 14, shade(sea, 1.45), rng)
    for lift, colour in ((0.035, WHITE), (0.0, shade(sand, 0.86)), (-0.025, sand)):
        edge = [(k / 7 * 1.2 - 0.1, shore + lift + rng.uniform(-0.012, 0.016)) for k in range(8)]
        pen.shape([(-0.4, -0.1), (-0.2, shore), *edge, (1.2, shore), (1.4, -0.1)], colour)
    drawing.paint_flat(image)
    _fade(image, shore - 0.06, 0, sand, shade(sand, 0.9))
    drawing, pen = _pen()
    for _ in range(46):
        x, y = rng.uniform(0, 1), rng.uniform(0, shore - 0.05)
        pen.ellipse(x, y, 0.005, 0.003, shade(sand, rng.choice((0.8, 1.4))))
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.1)
        pen.ellipse(x, y, 0.017, 0.014, (250, 236, 226))
        for lean in (-0.007, 0, 0.007):
            pen.limb([(x + lean, y + 0.01), (x + lean * 0.3, y - 0.01)], 0.0015, (216, 160, 140))
    drawing.paint_flat(image)


def _wavelets(pen: Pen, bottom: float, top: float, count: int, colour: Colour, rng: Random) -> None:
    for _ in range(count):
        y = rng.uniform(bottom, top)
        x, half = rng.uniform(0, 1), 0.05 * (1.2 - (y - bottom) / max(top - bottom, 0.01) * 0.8)
        pen.limb([(x - half, y), (x, y + half * 0.18), (x + half, y)], (0.001, 0.004, 0.001), colour)


def sea(image: Image.Image, rng: Random) -> None:
    horizon = rng.uniform(0.5, 0.58)
    haze = _sky(image, horizon, rng)
    water = rng.choice(((34, 116, 176), (40, 134, 180), (46, 104, 168)))
    _fade(image, horizon, 0, blend(water, haze, 0.35), shade(water, 0.8))
    drawing, pen = _pen()
    if rng.random() < 0.4:
        x = rng.uniform(0.1, 0.9)
        island = [(x - 0.2, horizon), (x - 0.08, horizon + 0.05), (x + 0.05, horizon + 0.035), (x + 0.2, horizon)]
        pen.shape(island, blend((90, 140, 110), haze, 0.4))
        pen.box(x - 0.3, horizon - 0.03, x + 0.3, horizon, blend(water, haze, 0.33))
    _wavelets(pen, 0.0, horizon - 0.03, 40, shade(water, 1.4), rng)
    drawing.paint_flat(image)


def snow(image: Image.Image, rng: Random) -> None:
    horizon = rng.uniform(0.44, 0.52)
    haze = _sky(image, horizon, rng, (((150, 180, 214), (226, 234, 244)), ((172, 190, 214), (236, 232, 240))))
    drawing, pen = _pen()
    _ridge(pen, horizon, 0.14, blend((206, 220, 238), haze, 0.3), rng)
    for _ in range(rng.randint(4, 8)):
        x, y, size = rng.uniform(0, 1), horizon + rng.uniform(-0.01, 0.05), rng.uniform(0.05, 0.09)
        for step in range(3):
            half, base = size * (0.55 - step * 0.13), y + size * step * 0.45
            pen.polygon([(x - half, base), (x + half, base), (x, base + size * 0.8)], (96, 134, 130))
            tip, brim = base + size * 0.8, base + size * 0.42
            pen.polygon([(x - half * 0.45, brim), (x + half * 0.45, brim), (x, tip)], (242, 246, 252))
    drawing.paint_flat(image)
    _fade(image, horizon, 0, (240, 245, 252), (212, 224, 242))
    drawing, pen = _pen()
    for level in (0.36, 0.24, 0.1):
        _ridge(pen, level - 0.06, 0.06, blend((250, 252, 255), (222, 232, 246), (0.36 - level) * 2.5), rng)
    drawing.paint_flat(image)


def snowflakes(image: Image.Image, rng: Random) -> None:
    """Falling snow, in front of everything."""
    drawing, pen = _pen()
    for _ in range(55):
        size = rng.choice((0.004, 0.006, 0.009))
        pen.ellipse(rng.uniform(0, 1), rng.uniform(0, 1), size, size, (255, 255, 255))
    drawing.paint_flat(image)


def street(image: Image.Image, rng: Random) -> None:
    kerb = rng.uniform(0.36, 0.41)
    haze = _sky(image, 0.5, rng)
    drawing, pen = _pen()
    x = -0.05
    while x < 1:
        width, top = rng.uniform(0.16, 0.26), rng.uniform(0.68, 0.92)
        wall = rng.choice(((206, 150, 120), (222, 196, 158), (176, 152, 150), (186, 190, 178), (214, 170, 150)))
        wall = blend(wall, haze, 0.25)
        pen.box(x, kerb, x + width, top, wall)
        pen.box(x - 0.006, top, x + width + 0.006, top + 0.02, shade(wall, 0.75))
        columns = 2 if width < 0.21 else 3
        rows = int((top - kerb - 0.16) / 0.12) + 1
        for row in range(rows):
            for column in range(columns):
                cx, cy = x + width * (column + 0.5) / columns, top - 0.07 - row * 0.12
                glass = rng.choice(((120, 150, 172), (150, 184, 204), (250, 226, 150)))
                pen.box(cx - 0.024, cy - 0.035, cx + 0.024, cy + 0.035, shade(wall, 0.7))
                pen.box(cx - 0.018, cy - 0.03, cx + 0.018, cy + 0.03, glass)
        x += width
    drawing.paint_flat(image)
    _fade(image, kerb, kerb - 0.07, (206, 202, 196), (190, 186, 182))
    road = rng.choice(((112, 114, 122), (100, 102, 112), (124, 122, 124)))
    _fade(image, kerb - 0.07, kerb - 0.085, (150, 146, 144), (134, 130, 130))
    _fade(image, kerb - 0.085, 0, shade(road, 1.1), shade(road, 0.88))
    drawing, pen = _pen()
    start = rng.uniform(-0.2, 0.0)
    for k in range(5):
        left = start + k * 0.28
        pen.polygon(
            [(left, 0.045), (left + 0.16, 0.045), (left + 0.145, 0.085), (left - 0.005, 0.085)], (240, 236, 220)
        )
    drawing.paint_flat(image)


def room(image: Image.Image, rng: Random) -> None:
    floor = rng.uniform(0.34, 0.4)
    wall = rng.choice(((236, 214, 190), (206, 220, 224), (224, 208, 222), (214, 224, 196), (244, 226, 180)))
    wood = rng.choice(((190, 138, 92), (172, 120, 80), (206, 160, 112)))
    _fade(image, 1, floor, shade(wall, 1.15), shade(wall, 0.95))
    drawing, pen = _pen()
    for k in range(12):
        x = (k + 0.5) / 12
        pen.limb([(x, floor), (x, 1)], 0.006, shade(wall, 0.965))
    wx, width = rng.choice((0.2, 0.78)) + rng.uniform(-0.03, 0.03), 0.15
    pen.box(wx - width - 0.02, 0.56, wx + width + 0.02, 0.94, WHITE)
    pen.box(wx - width, 0.58, wx + width, 0.92, (164, 214, 242))
    pen.polygon([(wx - width, 0.58), (wx + width, 0.58), (wx + width, 0.64), (wx - width, 0.66)], (140, 190, 110))
    pen.limb([(wx, 0.57), (wx, 0.93)], 0.008, WHITE)
    pen.limb([(wx - width, 0.75), (wx + width, 0.75)], 0.008, WHITE)
    cloth = rng.choice(((200, 120, 110), (110, 140, 170), (130, 160, 120), (210, 170, 100)))
    for side in (-1, 1):
        x = wx + side * (width + 0.02)
        pen.shape(
            [
                (x - 0.045, 0.96),
                (x + 0.045, 0.96),
                (x + 0.03 + side * 0.02, 0.7),
                (x + 0.05 * side, 0.5),
                (x - 0.02 + side * 0.02, 0.5),
            ],
            cloth,
        )
    px = 1 - wx
    pen.box(px - 0.1, 0.68, px + 0.1, 0.86, shade(wood, 0.7))
    pen.box(px - 0.08, 0.7, px + 0.08, 0.84, (236, 230, 210))
    pen.shape(
        [(px - 0.08, 0.7), (px - 0.02, 0.78), (px + 0.03, 0.74), (px + 0.08, 0.77), (px + 0.08, 0.7)],
        blend(cloth, (120, 160, 120), 0.5),
    )
    drawing.paint_flat(image)
    _fade(image, floor, 0, shade(wood, 0.92), shade(wood, 1.08))
    drawing, pen = _pen()
    for k in range(-6, 17):
        aside = k / 10 - 0.5  # the joints of the boards run to a vanishing point
        pen.limb([(0.5 + aside * 0.8, floor), (0.5 + aside * 2, 0)], 0.002, shade(wood, 0.78))
    pen.box(0, floor, 1, floor + 0.025, WHITE)
    rug = rng.choice(((188, 96, 90), (96, 120, 160), (110, 144, 120), (150, 110, 150)))
    pen.ellipse(0.5, 0.15, 0.44, 0.13, shade(rug, 0.85))
    pen.ellipse(0.5, 0.155, 0.43, 0.125, rug)
    pen.ellipse(0.5, 0.155, 0.37, 0.1, shade(rug, 1.25))
    pen.ellipse(0.5, 0.155, 0.35, 0.09, rug)
    drawing.paint_flat(image)


def forest(image: Image.Image, rng: Random) -> None:
    ground = rng.uniform(0.38, 0.44)
    light = rng.choice(((176, 208, 140), (150, 196, 150), (196, 208, 132)))
    dark = (44, 84, 56)
    _fade(image, 1, ground - 0.02, blend(dark, light, 0.35), light)
    drawing, pen = _pen()
    for layer, share in enumerate((0.62, 0.4, 0.12)):
        bark = blend((84, 62, 48), light, share)
        for k in range(6 - layer):
            x = (k + rng.uniform(0.1, 0.9)) / (6 - layer)
            width = 0.014 + 0.011 * layer
            foot = ground - 0.015 * layer
            pen.limb([(x, foot), (x + rng.uniform(-0.02, 0.02), 1.05)], (width * 1.3, width), bark)
        leaf = blend(dark, light, share * 0.8)
        for k in range(9):
            x, y = k / 8 + rng.uniform(-0.06, 0.06), 1.0 - 0.015 * (2 - layer) + rng.uniform(-0.05, 0.07)
            pen.ellipse(x, y + 0.03 * layer, 0.1, 0.1 - 0.012 * layer, leaf)
        for k in range(7):
            x = k / 6 + rng.uniform(-0.07, 0.07)
            pen.ellipse(x, ground + 0.0 - 0.01 * layer, 0.09, 0.035 + 0.008 * (2 - layer), leaf)
    drawing.paint_flat(image)
    moss = rng.choice(((86, 126, 66), (98, 120, 62), (78, 116, 72)))
    _fade(image, ground - 0.02, 0, shade(moss, 1.12), shade(moss, 0.72))
    drawing, pen = _pen()
    _tufts(pen, 30, ground - 0.04, shade(moss, 0.66), rng)
    for _ in range(20):
        x, y = rng.uniform(0, 1), rng.uniform(0, ground - 0.05)
        pen.ellipse(x, y, 0.011, 0.005, rng.choice(((170, 120, 60), (150, 100, 50), (120, 140, 60))))
    for _ in range(rng.randint(1, 3)):
        x, y = rng.choice((rng.uniform(0.02, 0.15), rng.uniform(0.85, 0.98))), rng.uniform(0.02, 0.25)
        pen.limb([(x, y), (x, y + 0.02)], 0.007, (240, 230, 210))
        pen.ellipse(x, y + 0.026, 0.02, 0.012, (200, 70, 56))
    drawing.paint_flat(image)


def mountains(image: Image.Image, rng: Random) -> None:
    horizon = rng.uniform(0.4, 0.46)
    haze = _sky(image, horizon, rng)
    drawing, pen = _pen()
    for layer, (count, base) in enumerate(((4, 0.42), (3, 0.3))):
        rock = blend((104, 108, 134), haze, 0.5 - 0.32 * layer)
        for k in range(count):
            x = (k + rng.uniform(0.2, 0.8)) / count
            half, top = rng.uniform(0.24, 0.34), horizon + base * rng.uniform(0.75, 1.1)
            foot = horizon - 0.03
            snow_line = top - 0.34 * (top - foot)
            edge = half * 0.34
            pen.polygon([(x - half, foot), (x, top), (x + half, foot)], rock)
            dark_side = [(x, top), (x + half, foot), (x + half * 0.12, foot), (x - half * 0.05, top - 0.15)]
            pen.polygon(dark_side, shade(rock, 0.86))
            zigzag = [(edge, 0), (half * 0.14, 0.035), (0, -0.02), (-half * 0.16, 0.03), (-edge, 0)]
            cap = [(x, top), *((x + dx, snow_line + dy) for dx, dy in zigzag)]
            pen.polygon(cap, blend((250, 252, 255), haze, 0.15))
    drawing.paint_flat(image)
    ground = rng.choice(((150, 156, 112), (164, 156, 120), (138, 152, 116)))
    _fade(image, horizon, 0, blend(ground, haze, 0.25), shade(ground, 0.78))
    drawing, pen = _pen()
    _ridge(pen, horizon - 0.06, 0.06, blend(ground, haze, 0.2), rng)
    for _ in range(rng.randint(6, 10)):
        x, y, size = rng.uniform(0, 1), rng.uniform(0.01, horizon - 0.08), rng.uniform(0.012, 0.03)
        rock = shade((150, 148, 150), rng.uniform(0.8, 1.1))
        ridge = (x + size * 0.2, y + size)
        pen.polygon([(x - size, y), (x - size * 0.6, y + size * 0.8), ridge, (x + size, y)], rock)
        pen.polygon([ridge, (x + size, y), (x + size * 0.1, y)], shade(rock, 0.82))
    _tufts(pen, 12, horizon - 0.08, shade(ground, 0.68), rng)
    drawing.paint_flat(image)


DRAW_PLACE: dict[str, Callable[[Image.Image, Random], None]] = {
    "grass": grass,
    "beach": beach,
    "sea": sea,
    "snow": snow,
    "street": street,
    "room": room,
    "forest": forest,
    "mountains": mountains,
}
