import numpy as np
import pytest

from helpers.features import neighbours
from helpers.features.neighbours import nearest


def test_nearest_is_by_angle_not_length() -> None:
    vectors = np.array([[1, 0], [0, 1], [5, 0.1], [1, 1], [-1, 0]], np.float32)
    assert nearest(vectors[:1], vectors, 4).tolist() == [[0, 2, 3, 1]]
    assert nearest(7 * vectors[3:4], vectors, 1).tolist() == [[3]]


def test_neighbours_are_those_of_the_highest_cosine_after_scaling() -> None:
    rng = np.random.default_rng(1)
    known, vectors = rng.normal(size=(30, 6)) * [1, 1, 1, 1, 1, 90] + 5, rng.normal(size=(4, 6)) + 5
    found = nearest(vectors, known, 7, scaled=True)
    for row, vector in enumerate(vectors):
        ours = (vector - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)
        theirs = (known - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)
        cosines = [ours @ other / np.linalg.norm(ours) / np.linalg.norm(other) for other in theirs]
        assert found[row].tolist() == sorted(range(30), key=lambda place: -cosines[place])[:7]
    assert (nearest(known, known, 1, scaled=True)[:, 0] == np.arange(30)).all()  # each is most like itself


@pytest.mark.parametrize("scaled", [False, True])
def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch, scaled: bool) -> None:
    rng = np.random.default_rng(2)
    known, vectors = rng.normal(size=(50, 6)), rng.normal(size=(4, 6))
    expected = nearest(vectors, known, 9, scaled)
    monkeypatch.setattr(neighbours, "_PART", 7)
    np.testing.assert_array_equal(nearest(vectors, known, 9, scaled), expected)
