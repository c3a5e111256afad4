from pathlib import Path

import pytest

from helpers.data.readers.karpathy import read_karpathy_split
from helpers.files import InputError, write_json


def test_karpathy_split_joins_restval_to_train(tmp_path: Path) -> None:
    images = [
        {"filename": "a.jpg", "split": "train"},
        {"filename": "b.jpg", "split": "restval"},
        {"filename": "COCO_val2014_000000000139.jpg", "cocoid": 139, "split": "test"},
    ]
    write_json(tmp_path / "split.json", {"images": images})
    assert read_karpathy_split(tmp_path / "split.json") == {
        "a.jpg": "train",
        "b.jpg": "train",
        "000000000139.jpg": "test",
    }
    write_json(tmp_path / "other.json", {"rows": []})
    with pytest.raises(InputError, match="not a split file"):
        read_karpathy_split(tmp_path / "other.json")
