from pathlib import Path

import pytest
from small_data import write_photo

from helpers.data.readers.class_folders import read_class_folder
from helpers.files import InputError


def test_classes_are_split_one_by_one(class_folder: Path) -> None:
    photos = read_class_folder(class_folder, 3, [])
    assert photos == read_class_folder(class_folder / "raw-img", 3, [])
    for label in ("cane", "gatto"):
        splits = [photo.split for photo in photos if photo.label == label]
        assert {name: splits.count(name) for name in ("train", "val", "test")} == {"train": 9, "val": 2, "test": 1}


def test_small_class_is_named(class_folder: Path) -> None:
    write_photo(class_folder / "raw-img" / "ragno" / "1.jpg")
    with pytest.raises(InputError, match=r"too few photos in ragno \(1\)"):
        read_class_folder(class_folder, 1, [])


def test_photos_in_folders_of_a_class_count_and_what_is_left_out_is_said(class_folder: Path) -> None:
    root = class_folder / "raw-img"
    for number in range(12):
        write_photo(root / "ragno" / "deeper" / f"{number}.png").rename(root / "ragno" / "deeper" / f"{number}")
    (root / "ragno" / "notes.txt").write_text("spiders")
    (root / "pecora").mkdir()
    (root / "@eaDir").mkdir()
    notices: list[str] = []
    photos = read_class_folder(class_folder, 3, notices)
    assert {photo.label for photo in photos} == {"cane", "gatto", "ragno"}
    assert "ragno/deeper/7" in {photo.id for photo in photos}
    assert len(notices) == 2 and "pecora holds no photos" in notices[0]
    assert "1 files in" in notices[1] and "notes.txt: not an image" in notices[1]


def test_a_folder_that_is_split_already_is_no_folder_of_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_photo(tmp_path / split / "cane" / "1.jpg")
    with pytest.raises(InputError, match=r"is split already \(test, train\)"):
        read_class_folder(tmp_path, 3, [])
