"""Groups of copies against NumPy's correlation, pair by pair."""

import numpy as np

from helpers.search.copies import ALIKE, Originals

RNG = np.random.default_rng(0)


def test_a_photo_joins_the_first_group_that_it_correlates_with() -> None:
    different = RNG.integers(0, 256, (1500, 256), dtype=np.uint8)  # more than there is room for at first
    darker = different[::3] // 2
    noisy = (different[::5].astype(float) + RNG.normal(0, 60, (300, 256))).clip(0, 255).astype(np.uint8)
    thumbnails = np.concatenate([different, darker, noisy])[RNG.permutation(2300)]
    originals = Originals({"kept": thumbnails[0]})
    groups = [originals.group(str(row), one) for row, one in enumerate(thumbnails)]

    begun, expected = {"kept": 0}, []
    correlation = np.corrcoef(thumbnails.astype(float))
    for row in range(len(thumbnails)):
        joined = [name for name, first in begun.items() if correlation[row, first] >= ALIKE]
        begun |= {} if joined else {str(row): row}
        expected.append(max(joined, key=lambda name: correlation[row, begun[name]]) if joined else str(row))
    assert groups == expected
    assert 1500 < len(set(groups)) < 2300  # the darker ones are copies, the noisy ones are not
