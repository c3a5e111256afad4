"""Neighbours: which of the known photos are most like a new one, by the vectors that a backbone gave them."""

import numpy as np

_PART = 16_384  # vectors that are compared at a time


def nearest(vectors: np.ndarray, known: np.ndarray, count: int, scaled: bool = False) -> np.ndarray:
    """Rows of the `count` of `known` (M, D) with the highest cosine to each of `vectors` (N, D): (N, count).

    The best comes first. With `scaled`, every channel is first brought to mean 0 and deviation 1 over `known`: one that
    is high for all photos says nothing.
    """
    mean, deviation = known.mean(axis=0) if scaled else 0.0, known.std(axis=0) + 1e-3 if scaled else 1.0
    if scaled:
        vectors = (vectors - mean) / deviation
    cosines = np.empty((len(vectors), len(known)), np.result_type(vectors, known))
    for start in range(0, len(known), _PART):  # some at a time: vectors of a large data set are gigabytes
        part = known[start : start + _PART]
        part = (part - mean) / deviation if scaled else part
        part = part / np.linalg.norm(part, axis=1, keepdims=True)  # the length of `vectors` changes no order
        cosines[:, start : start + _PART] = vectors @ part.T
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]
