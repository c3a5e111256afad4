"""Neighbours: which of the known photos are most like a new one, by the vectors that a backbone gave them."""

import numpy as np


def nearest(vectors: np.ndarray, known: np.ndarray, count: int, scaled: bool = False) -> np.ndarray:
    """Rows of the `count` of `known` (M, D) with the highest cosine to each of `vectors` (N, D): (N, count).

    The best comes first. With `scaled`, every channel is first brought to mean 0 and deviation 1 over `known`: one that
    is high for all photos says nothing.
    """
    if scaled:
        mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
        vectors, known = ((side - mean) / deviation for side in (vectors, known))
    known = known / np.linalg.norm(known, axis=1, keepdims=True)  # the length of `vectors` changes no order
    return np.argsort(-(vectors @ known.T), axis=1, kind="stable")[:, :count]
