from pathlib import Path

import pytest
from small_data import write_photo

from helpers.data.readers.class_folders import read_class_folder
from helpers.files import InputError


def test_classes_are_split_one_by_one(class_folder: Path) -> None:
    photos = read_class_folder(class_folder, 3)
    assert photos == read_class_folder(class_folder / "raw-img", 3)
    for label in ("cane", "gatto"):
        splits = [photo.split for photo in photos if photo.label == label]
        assert {name: splits.count(name) for name in ("train", "val", "test")} == {"train": 9, "val": 2, "test": 1}


def test_small_class_is_named(class_folder: Path) -> None:
    write_photo(class_folder / "raw-img" / "ragno" / "1.jpg")
    with pytest.raises(InputError, match=r"too few photos in ragno \(1\)"):
        read_class_folder(class_folder, 1)
