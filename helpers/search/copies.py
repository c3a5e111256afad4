"""Copies of a photo: another size, another format, saved again, a little brighter, without colour.

The vectors of search models do not tell: they change with sharpness and colour, and are close for different photos of
one scene. A thumbnail of 16 x 16 grey pixels does, after its mean is taken off and it is scaled to length 1. The inner
product of two (their normalised cross-correlation) is close to 1 for copies, whatever their brightness and contrast.

It is so for all letters under one letterhead, too, which outweighs the rest. So `details` have to be alike as well.

Of 24.5 million pairs of photos of Flickr8k one passes, one photo under two names, and of 1.3 million pairs of drawn
ones none. Of 400 photos saved again, 399 pass at a third of their size and quality 60, 376 at a quarter, badly shrunk,
and all at quality 20, a tenth brighter, in grey, or as GIF. A photo with a tenth of it cut off counts as another, and
so do 336 of 355 whose view has moved by a hundredth, as in a series.

Of 435 pairs of drawn pages, each with other words, this many pass by their thumbnails alone, and with their details:
invoices under one banner 435 and 0, letters under one letterhead 317 and 0, one window with other text 435 and 0, pages
that are blank but for a number 383 and 0. One letter to several people, three lines in thirty its own, still passes in
299. The price: of pages as blank as that, and of most tables of small figures, copies count as others.
"""

from collections.abc import Mapping

import numpy as np

ALIKE = 0.98
DETAILS_ALIKE = 0.94
SIDE = 16
_FAINT = 3.0  # grey levels: as long are the details of rounding alone, which tell nothing
_BESIDE = (np.eye(SIDE, k=-1) + np.eye(SIDE) + np.eye(SIDE, k=1)).astype(np.float32) / 3  # means of three in a row,
_BESIDE[[0, -1], [0, -1]] = 2 / 3  # at the ends as if there were another like the last
_LESS_BESIDE = np.eye(SIDE, dtype=np.float32) - _BESIDE


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


def details(levels: np.ndarray) -> np.ndarray:
    """How pixels differ from those beside them, and that again from above and below: float32 (N, 256) of (N, 256).

    What is the same along a row or a column has none: letterheads, the frames of windows, lines of text but for their
    words.

    >>> letterhead, corner = np.zeros((2, 16, 16))
    >>> letterhead[:3], corner[:3, :3] = 200, 200
    >>> np.abs(details(np.stack([letterhead, corner]).reshape(2, 256))).max(axis=1).round()
    array([ 0., 22.], dtype=float32)
    """
    squares = levels.reshape(-1, SIDE, SIDE).astype(np.float32)
    return (_LESS_BESIDE @ squares @ _LESS_BESIDE).reshape(-1, SIDE * SIDE)


class Originals:
    """The first photo of each group of copies, as later ones are compared with it.

    A photo is compared once, when it comes in, instead of with all others whenever it is found.

    Args:
        thumbnails: uint8 (256,) of each group's original, by the name of the group.
    """

    def __init__(self, thumbnails: Mapping[str, np.ndarray]) -> None:
        self._names = list(thumbnails)
        room = max(1024, len(thumbnails))  # to grow
        self._rows, self._lengths = np.empty((room, SIDE * SIDE), np.float32), np.empty(room, np.float32)  # of details
        if thumbnails:
            self._rows[: len(thumbnails)] = normalised(np.stack(list(thumbnails.values())))
            self._lengths[: len(thumbnails)] = np.linalg.norm(details(self._rows[: len(thumbnails)]), axis=1)

    def group(self, name: str, thumbnail: np.ndarray) -> str:
        """The name of the group that a photo, uint8 (256,), is a copy in; of none, it begins the group `name`."""
        count = len(self._names)
        row = normalised(thumbnail[None])[0]  # (256,)
        likeness = self._rows[:count] @ row  # (M,)
        alike = likeness >= ALIKE
        if alike.any():
            fine = details(thumbnail)[0]
            fine /= max(np.linalg.norm(fine), _FAINT)
            # The details of one by those of another are the one by the details of the other's details.
            alike &= self._rows[:count] @ details(fine)[0] >= DETAILS_ALIKE * self._lengths[:count]
        if alike.any():
            return self._names[np.where(alike, likeness, 0).argmax()]
        if count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._lengths = np.concatenate([self._lengths, np.empty_like(self._lengths)])
        self._rows[count], self._lengths[count] = row, np.linalg.norm(details(row))
        self._names.append(name)
        return name
