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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"rows": []}, "images: Field required"),
        ({"images": []}, "at least 1 item"),
        ([{"filename": "a.jpg", "split": "train"}], "object"),
        ({"images": ["a.jpg"]}, "images.0"),
        ({"images": [{"split": "train"}]}, "images.0.filename"),
        ({"images": [{"filename": 7, "split": "train"}]}, "images.0.filename"),
        ({"images": [{"filename": "a.jpg", "split": "training"}]}, "images.0.split"),
        ({"images": [{"filename": "a.jpg", "split": "val", "cocoid": "139"}]}, "images.0.cocoid"),
        ({"images": [{"filename": "a.jpg", "split": split} for split in ("train", "test")]}, "in train and in test"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, reason: str) -> None:
    write_json(tmp_path / "split.json", content)
    with pytest.raises(InputError, match=reason) as caught:
        read_karpathy_split(tmp_path / "split.json")
    assert str(tmp_path / "split.json") in str(caught.value)
