"""Copies of a photo: another size, another format, saved again, a little brighter, without colour.

The vectors of search models do not tell: they change with sharpness and colour, and are close for different photos of
one scene. A thumbnail of 16 x 16 grey pixels does, after its mean is taken off and it is scaled to length 1. The inner
product of two (their normalised cross-correlation) is close to 1 for copies, whatever their brightness and contrast.

Of 24.5 million pairs of photos of Flickr8k one is above ALIKE, one photo under two names, of 1.3 million pairs of
drawn ones none; and above it are all of 150 photos saved again at a third of their size and quality 60. A photo with
a tenth of it cut off counts as another.
"""

from collections.abc import Mapping

import numpy as np

ALIKE = 0.98
SIDE = 16


def thumbnail(square: np.ndarray) -> np.ndarray:
    """A photo as a model takes it, uint8 (S, S, 3) -> uint8 (256,), row by row."""
    size = len(square)
    edges = np.arange(SIDE + 1) * size // SIDE  # of fields of about equal size
    grey = square.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # (S, S)
    sums = np.add.reduceat(np.add.reduceat(grey, edges[:-1], axis=0), edges[:-1], axis=1)  # (16, 16)
    sizes = np.diff(edges)
    return (sums / np.outer(sizes, sizes)).round().astype(np.uint8).ravel()


def normalised(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails (N, 256) -> float32 (N, 256) with mean 0 and length 1; zeros for a photo of one colour.

    >>> first = thumbnail(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    >>> darker, mirrored = first // 2, first[::-1]
    >>> a, b, c = normalised(np.stack([first, darker, mirrored]))
    >>> bool(a @ b > ALIKE), bool(a @ c > ALIKE)
    (True, False)
    """
    levels = thumbnails.astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    return levels / np.maximum(np.linalg.norm(levels, axis=1, keepdims=True), 1e-6)


class Originals:
    """The first photo of each group of copies, as later ones are compared with it.

    A photo is compared once, when it comes in, instead of with all others whenever it is found.

    Args:
        thumbnails: uint8 (256,) of each group's original, by the name of the group.
    """

    def __init__(self, thumbnails: Mapping[str, np.ndarray]) -> None:
        self._names = list(thumbnails)
        self._rows = np.empty((max(1024, len(thumbnails)), SIDE * SIDE), np.float32)  # room to grow
        if thumbnails:
            self._rows[: len(thumbnails)] = normalised(np.stack(list(thumbnails.values())))

    def group(self, name: str, thumbnail: np.ndarray) -> str:
        """The name of the group that a photo, uint8 (256,), is a copy in; of none, it begins the group `name`."""
        row = normalised(thumbnail[None])[0]  # (256,)
        likeness = self._rows[: len(self._names)] @ row  # (M,)
        if len(likeness) and likeness.max() >= ALIKE:
            return self._names[likeness.argmax()]
        if len(self._names) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[len(self._names)] = row
        self._names.append(name)
        return name
