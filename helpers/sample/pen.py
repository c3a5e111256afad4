"""A pen for illustrations: smooth shapes in a figure's own coordinates, painted with outline, light and shade.

Coordinates are x to the right and y up, with the ground at y = 0 and 1 about the height of the figure. `at` gives
a pen for a part (a head, a wheel) with a place, size and turn of its own, so a part is drawn once and serves every
pose. Pictures are painted at twice their size and halved at the end, which smooths every edge.
"""

from collections.abc import Sequence
from functools import cache
from math import cos, radians, sin

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

PHOTO_SIZE = 224
CANVAS = 2 * PHOTO_SIZE

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

INK: Colour = (52, 38, 36)
WHITE: Colour = (250, 250, 246)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1; above 1, so much nearer to white (1.3: 30 % of the way)."""
    if factor <= 1:
        return tuple(round(part * factor) for part in colour)
    return tuple(round(part + (255 - part) * (factor - 1)) for part in colour)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with a `share` of `second` mixed in."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


@cache
def _spline_basis(steps: int) -> np.ndarray:
    t = np.linspace(0, 1, steps, endpoint=False)
    return 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)


@cache
def _circle(steps: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _through(points: np.ndarray, closed: bool, steps: int = 6) -> np.ndarray:
    """Points on the Catmull-Rom spline (Catmull & Rom, 1974) through `points` (K, D)."""
    if closed:
        before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
        return np.einsum("sk,kpd->psd", _spline_basis(steps), np.stack([before, points, after, beyond])).reshape(
            -1, points.shape[1]
        )
    padded = np.concatenate([points[:1], points, points[-1:]])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]])  # (4, K - 1, D)
    curve = np.einsum("sk,kpd->psd", _spline_basis(steps), windows).reshape(-1, points.shape[1])
    return np.concatenate([curve, points[-1:]])


class Drawing:
    """Shapes collected by pens, in pixels of the canvas, to be painted together as one figure."""

    def __init__(self) -> None:
        self.shapes: list[tuple[list[float], Colour, bool]] = []  # flat x, y list; colour; has an outline

    def paint_flat(self, image: Image.Image) -> None:
        """Paint onto `image`, shape after shape: scenery."""
        draw = ImageDraw.Draw(image)
        for points, colour, _ in self.shapes:
            draw.polygon(points, fill=colour)

    def paint(self, image: Image.Image, outline: int = 4) -> None:
        """Paint onto `image`: first one dark outline around all, then the shapes, then light and shade: a figure."""
        xs = np.concatenate([points[0::2] for points, _, _ in self.shapes])
        ys = np.concatenate([points[1::2] for points, _, _ in self.shapes])
        left, top = (int(max(0, values.min() - outline - 1)) for values in (xs, ys))
        right = int(min(image.width, xs.max() + outline + 2))
        bottom = int(min(image.height, ys.max() + outline + 2))
        if right <= left or bottom <= top:
            return
        layer = Image.new("RGB", (right - left, bottom - top), INK)
        mask = Image.new("L", layer.size)
        draw, cover = ImageDraw.Draw(layer), ImageDraw.Draw(mask)
        offset = np.array([left, top])
        shifted = [((np.reshape(points, (-1, 2)) - offset).ravel().tolist(), *rest) for points, *rest in self.shapes]
        for points, _, outlined in shifted:
            cover.polygon(points, fill=255)
            if outlined:
                cover.line([*points, *points[:4]], fill=255, width=outline)
        for points, colour, _ in shifted:
            draw.polygon(points, fill=colour)
        _round_off(layer, mask)
        image.paste(layer, (left, top), mask)


def _round_off(layer: Image.Image, mask: Image.Image) -> None:
    """Make flat colour look round: light along the upper left edge, shade along the lower right."""
    reach = max(4, min(layer.size) // 14)
    half = mask.reduce(2)
    step = reach // 2
    lit = ImageChops.subtract(half, ImageChops.offset(half, step, step))
    dark = ImageChops.subtract(half, ImageChops.offset(half, -step, -step))
    for edge, colour, share in ((lit, (255, 250, 225), 0.30), (dark, (30, 16, 50), 0.34)):
        soft = edge.filter(ImageFilter.BoxBlur(step)).resize(layer.size, Image.Resampling.BILINEAR)
        layer.paste(colour, mask=soft.point([round(value * share) for value in range(256)]))


class Pen:
    """Draws in the coordinates of one figure or part; shapes go to a shared `Drawing`."""

    def __init__(self, drawing: Drawing, x: float, y: float, scale: float, turn: float = 0.0, flip: bool = False):
        """`x`, `y`: where (0, 0) lies on the canvas, in pixels; `scale`: pixels for 1; `turn`: degrees."""
        self.drawing = drawing
        mirror = -1.0 if flip else 1.0
        c, s = cos(radians(turn)), sin(radians(turn))
        # Pixels grow downwards, so the second row changes sign.
        self.matrix = np.array([[c * mirror, -s * mirror], [-s, -c]]) * scale
        self.origin = np.array([x, y])
        self.scale = scale

    def at(self, x: float, y: float, scale: float = 1.0, turn: float = 0.0, stretch: float = 1.0) -> "Pen":
        """A pen whose (0, 0) is this pen's (x, y); `stretch` widens it along its own x; below 0 mirrors."""
        pen = Pen.__new__(Pen)
        c, s = cos(radians(turn)), sin(radians(turn))
        pen.drawing = self.drawing
        pen.origin = self.origin + self.matrix @ (x, y)
        pen.matrix = self.matrix @ np.array([[c * stretch, -s], [s * stretch, c]]) * scale
        pen.scale = self.scale * scale
        return pen

    def _add(self, points: np.ndarray, colour: Colour, outline: bool) -> None:
        self.drawing.shapes.append(((points @ self.matrix.T + self.origin).ravel().tolist(), colour, outline))

    def polygon(self, points: Points, colour: Colour, outline: bool = True) -> None:
        """Straight edges."""
        self._add(np.asarray(points, dtype=float), colour, outline)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour, outline: bool = True) -> None:
        """An upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, outline)

    def shape(self, points: Points, colour: Colour, outline: bool = True) -> None:
        """A closed smooth curve through `points`."""
        self._add(_through(np.asarray(points, dtype=float), closed=True), colour, outline)

    def ellipse(
        self, x: float, y: float, width: float, height: float, colour: Colour, turn: float = 0, outline: bool = True
    ) -> None:
        """Centre and half axes."""
        points = _circle(28 if width * self.scale > 8 else 12) * (width, height)
        if turn:
            c, s = cos(radians(turn)), sin(radians(turn))
            points = points @ np.array([[c, s], [-s, c]])
        self._add(points + np.array([x, y]), colour, outline)

    def limb(self, points: Points, radii: float | Sequence[float], colour: Colour, outline: bool = True) -> None:
        """A smooth stroke through `points` whose half width follows `radii`, with round ends."""
        bones = np.asarray(points, dtype=float)
        thickness = np.broadcast_to(np.asarray(radii, dtype=float), len(bones))
        curve = _through(np.column_stack([bones, thickness]), closed=False)
        spine, radius = curve[:, :2], np.maximum(curve[:, 2:], 1e-3)
        along = np.gradient(spine, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
        caps = []
        for end, direction in ((-1, 1), (0, -1)):
            angles = np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1, None]
            forward, left = direction * along[end], direction * normal[end]
            caps.append(spine[end] + radius[end] * (np.cos(angles) * forward + np.sin(angles) * left))
        sides = (spine + radius * normal, (spine - radius * normal)[::-1])
        self._add(np.concatenate([sides[0], caps[0], sides[1], caps[1]]), colour, outline)

    def eye(self, x: float, y: float, radius: float, closed: bool = False) -> None:
        """A dark eye with a glint, or a closed one."""
        if closed:
            arc = [(x - radius, y + radius * 0.2), (x, y - radius * 0.5), (x + radius, y + radius * 0.2)]
            self.limb(arc, radius * 0.25, INK, outline=False)
            return
        self.ellipse(x, y, radius, radius * 1.15, (28, 22, 24), outline=False)
        self.ellipse(x + radius * 0.3, y + radius * 0.4, radius * 0.36, radius * 0.36, WHITE, outline=False)
