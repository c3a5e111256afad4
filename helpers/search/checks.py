"""Checks of an album that need no captions: what scores nonsense gets, what comes up for everything, fifty labels.

scores = first_scores(album, ["a dog in the snow", "an x-ray of a knee"])
times = times_found(album, texts)                        # {photo id: how often among the first ten}
labels = label_sheet(folder / "fifty.csv", ids)          # empty until somebody has filled it in
precision_at_5(album, labels)                            # {"dog": 0.8, "boat": 1.0}
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from helpers.files import InputError, atomic_path
from helpers.search.album import Album

FIRST = 10
_COLUMNS = ["photo", "label"]


def first_scores(album: Album, texts: Sequence[str]) -> np.ndarray:
    """The score of the best hit for each text, (N,)."""
    return np.array([album.search(text, k=1)[0].score for text in texts])


def told_apart(high: np.ndarray, low: np.ndarray) -> float:
    """How often one of `high` exceeds one of `low`, ties counted half: 0.5 is chance, 1 means that a threshold will do.

    The area under the ROC curve, which is the statistic of Mann and Whitney (1947).

    >>> told_apart(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))


def times_found(album: Album, texts: Sequence[str]) -> Counter[str]:
    """How often each photo is among the first FIRST of these texts; hubs come up again and again."""
    found = Counter(dict.fromkeys(album.photos, 0))
    for text in texts:
        found.update(hit.photo.id for hit in album.search(text, k=FIRST))
    return found


def label_sheet(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """The labels that somebody wrote into the sheet at `path`; where there is none, an empty one for `ids` is written.

    It may be as a spreadsheet saved it: with semicolons or tabs, and in UTF-8 or in Windows' encoding of the West.

    Raises:
        InputError: the file is no such sheet.
    """
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *([photo_id, ""] for photo_id in ids)])
    content = path.read_bytes()
    try:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
        file = io.StringIO(text, newline="")
        delimiter = max(",;\t", key=file.readline().count)  # the header has no other use for any of them
        file.seek(0)
        sheet = csv.DictReader(file, delimiter=delimiter)
        rows = list(sheet)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); save it as CSV with commas, in UTF-8.") from None
    if not set(_COLUMNS) <= set(sheet.fieldnames or ()):
        raise InputError(
            f"{path} lacks a column photo or label; save it as CSV with commas, in UTF-8, its first line photo,label."
        )
    return {row["photo"]: row["label"].strip().lower() for row in rows if (row["label"] or "").strip()}


def precision_at_5(album: Album, labels: Mapping[str, str], least: int = 3) -> dict[str, float]:
    """For each label, the share of photos with that label among the first five labelled ones that "a <label>" finds.

    Labels of photos that the album does not hold do not count, and those of fewer than `least` photos are left out. Of
    a label with fewer than five photos as many answers are looked at as there are: 1 means that they all come first,
    and chance is the label's share of the photos, as for any other.
    """
    labels = {photo_id: label for photo_id, label in labels.items() if photo_id in album.photos}
    counts = Counter(labels.values())
    shares = {}
    for label in sorted(label for label, count in counts.items() if count >= least):
        article = "an" if label[0] in "aeiou" else "a"
        hits = album.search(f"{article} {label}", k=len(album.photos))
        ranked = [photo.id for hit in hits for photo in (hit.photo, *hit.twins)]
        first = [photo_id for photo_id in ranked if photo_id in labels][: min(5, counts[label])]
        shares[label] = sum(labels[photo_id] == label for photo_id in first) / min(5, counts[label])
    return shares
