import errno
import shutil
import sys
from collections import Counter
from pathlib import Path
from unicodedata import normalize

import pytest
from small_data import write_photo

from helpers.data.left_out import Findings
from helpers.data.readers.class_folders import read_class_folder, usable_classes
from helpers.files import InputError


def named(findings: Findings) -> list[tuple[str, str, str]]:
    return [(one.kind, Path(one.name).name, one.reason) for one in findings.left_out]


def test_classes_are_split_one_by_one(class_folder: Path) -> None:
    photos = read_class_folder(class_folder, 3, Findings())
    assert photos == read_class_folder(class_folder / "raw-img", 3, Findings())
    for label in ("cane", "gatto"):
        splits = Counter(photo.split for photo in photos if photo.label == label)
        assert splits == {"train": 9, "val": 2, "test": 1}


def test_a_small_class_is_left_out_and_named_while_two_remain(class_folder: Path) -> None:
    write_photo(class_folder / "raw-img" / "ragno" / "1.jpg")
    findings = Findings()
    assert {photo.label for photo in read_class_folder(class_folder, 1, findings)} == {"cane", "gatto"}
    assert named(findings) == [("class", "ragno", "with fewer than 10 different usable photos")]
    for photo in list((class_folder / "raw-img" / "gatto").iterdir())[:4]:
        photo.unlink()
    with pytest.raises(InputError, match=r"too few photos in its classes \(cane \(12\), gatto \(8\), ragno \(1\)\)"):
        read_class_folder(class_folder, 1, Findings())


def test_photos_in_folders_of_a_class_count_and_what_is_left_out_is_said(class_folder: Path) -> None:
    root = class_folder / "raw-img"
    for number in range(12):
        photo = write_photo(root / "ragno" / "deeper" / f"{number}.png", (9, number, 9))
        photo.rename(photo.with_suffix(""))
    (root / "ragno" / "notes.txt").write_text("spiders")
    (root / "ragno" / ".DS_Store").write_text("x")
    (root / "pecora").mkdir()
    (root / "@eaDir").mkdir()
    write_photo(root / "nobody.jpg")
    findings = Findings()
    photos = read_class_folder(class_folder, 3, findings)
    assert {photo.label for photo in photos} == {"cane", "gatto", "ragno"}
    assert "ragno/deeper/7" in {photo.id for photo in photos}
    assert named(findings) == [
        ("photo", "nobody.jpg", "in the folder of no class"),
        ("file", "notes.txt", "not a photo"),
        ("class", "pecora", "without photos"),
    ]


def test_folders_that_are_split_already_keep_their_splits(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("valid", 3), ("test", 4)):
        for label in ("cane", "gatto"):
            for number in range(count):
                write_photo(tmp_path / split / label / f"{number}.jpg", (9 * number, 9 * count, 40 * len(label)))
    photos = read_class_folder(tmp_path, 3, Findings())
    for label in ("cane", "gatto"):
        of_class = [photo for photo in photos if photo.label == label]
        assert {photo.split: photo.path.parts[-3] for photo in of_class} == {
            "train": "train",
            "val": "valid",
            "test": "test",
        }
        assert Counter(photo.split for photo in of_class) == {"train": 10, "val": 3, "test": 4}


def test_a_split_that_is_missing_is_taken_from_training(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 4)):
        for label in ("cane", "gatto"):
            for number in range(count):
                write_photo(tmp_path / split / label / f"{number}.jpg", (9 * count, 9 * number, 40 * len(label)))
    photos = read_class_folder(tmp_path, 3, Findings())
    assert photos == read_class_folder(tmp_path, 3, Findings())
    assert Counter(photo.split for photo in photos) == {"train": 36, "val": 4, "test": 8}
    assert all(photo.path.parts[-3] == "test" for photo in photos if photo.split == "test")


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_names_are_the_same_composed_or_not(tmp_path: Path, parts: tuple[str, ...]) -> None:
    read = []
    for form in ("NFC", "NFD"):
        for part in parts:
            for label in ("chat", normalize("NFC" if part == "train" else form, "élan")):
                for number in range(20):
                    write_photo(
                        tmp_path / form / part / label / f"{number}.png", (number, len(part), 40 * (label == "chat"))
                    )
        photos = read_class_folder(tmp_path / form, 3, Findings())
        read.append([(photo.id, photo.label, photo.split) for photo in photos])
    assert read[0] == read[1] and {photo[1] for photo in read[0]} == {"chat", "élan"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, these names are of one file")
def test_folders_of_one_name_are_one_class_and_a_second_photo_of_a_name_is_named(tmp_path: Path) -> None:
    for number in range(12):
        write_photo(tmp_path / "chat" / f"{number}.png", (number, 199, 9))
        write_photo(tmp_path / normalize("NFC", "élan") / f"{number}.png", (9, number, 9))
        write_photo(tmp_path / normalize("NFD", "élan") / f"{number + 10}.png", (9, 99, number))
    findings = Findings()
    photos = read_class_folder(tmp_path, 3, findings)
    assert Counter(photo.label for photo in photos) == {"chat": 12, normalize("NFC", "élan"): 22}
    assert named(findings) == [("photo", f"{n}.png", "under the same name as another photo") for n in (10, 11)]


def test_copies_of_a_photo_are_in_one_split_and_the_splits_as_large_as_without_them(tmp_path: Path) -> None:
    for number in range(80):
        write_photo(tmp_path / "ab"[number % 2] / f"{number}_0.png", (3 * number, 0, 0))
    alone = Counter(photo.split for photo in read_class_folder(tmp_path, 3, Findings()))
    for path in [*tmp_path.rglob("*.png")]:
        for copy in range(1, 5):
            shutil.copy(path, path.with_name(path.name.replace("_0", f"_{copy}")))
    photos = read_class_folder(tmp_path, 3, Findings())
    assert Counter(photo.split for photo in photos) == {split: 5 * count for split, count in alone.items()}
    assert len({(photo.path.name.partition("_")[0], photo.split) for photo in photos}) == 80


def test_a_photo_in_two_classes_is_in_none_and_is_named(class_folder: Path) -> None:
    root = class_folder / "raw-img"
    for copy in ("gatto/same.JPG", "cane/again.jpg"):
        shutil.copy(root / "cane" / "3.jpg", root / copy)
    shutil.copy(root / "gatto" / "4.png", root / "gatto" / "copy.png")  # which is no doubt about what it shows
    findings = Findings()
    photos = read_class_folder(class_folder, 3, findings)
    assert Counter(photo.label for photo in photos) == {"cane": 11, "gatto": 13}
    assert sorted(named(findings)) == [
        ("photo", name, "in more than one class") for name in ("3.jpg", "again.jpg", "same.JPG")
    ]


def test_a_class_that_is_a_copy_of_another_is_named_and_what_is_no_photo_is_no_copy(class_folder: Path) -> None:
    root = class_folder / "raw-img"
    shutil.copytree(root / "cane", root / "hund")
    for label in ("cane", "gatto"):
        (root / label / "empty.jpg").write_bytes(b"")
        (root / label / "page.jpg").write_bytes(b"<html>404</html>")
    findings = Findings()
    with pytest.raises(InputError, match=r"too few photos in its classes \(cane \(2\), gatto \(12\)\)"):
        read_class_folder(class_folder, 3, findings)
    assert ("class", "hund", "without a photo that is in no other class") in named(findings)
    for label in ("cane", "hund"):
        shutil.rmtree(root / label)
    with pytest.raises(InputError, match=r"\(gatto \(14\)\)"):
        read_class_folder(class_folder, 3, Findings())


def test_photos_that_are_in_two_splits_are_told(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("cane", "gatto"):
            for number in range(12 if split == "train" else 4):
                write_photo(tmp_path / split / label / f"{number}.jpg", (9 * number, 9, 40 * len(label)))
        (tmp_path / split / "cane" / "empty.jpg").write_bytes(b"")
    findings = Findings()
    assert Counter(photo.split for photo in read_class_folder(tmp_path, 3, findings))["test"] == 9
    assert findings.sentences == ["8 photos by class are in two splits: figures on them say little of other photos."]


def test_copies_do_not_make_a_class_of_too_few_photos_large_enough(class_folder: Path) -> None:
    for number in range(9):
        first = write_photo(class_folder / "raw-img" / "ragno" / f"{number}.jpg", (9, 6 * number, 9))
        shutil.copy(first, first.with_name(f"copy of {first.name}"))
    findings = Findings()
    assert {photo.label for photo in read_class_folder(class_folder, 3, findings)} == {"cane", "gatto"}
    assert named(findings) == [("class", "ragno", "with fewer than 10 different usable photos")]


def test_a_class_that_loses_most_of_its_photos_is_named(class_folder: Path) -> None:
    for number in range(40):
        write_photo(class_folder / "raw-img" / "ragno" / f"{number}.jpg", (9, 6 * number, 9))
    photos = read_class_folder(class_folder, 3, Findings())
    train = [photo.path for photo in photos if photo.label == "ragno" and photo.split == "train"]
    findings = Findings()
    left = usable_classes(class_folder, photos, set(train[:25]), findings)
    assert Counter(photo.label for photo in left)["ragno"] == 15
    assert findings.sentences == ["Of class ragno only 15 of 40 photos can be used."]


@pytest.mark.parametrize("closed", ["iterdir", "is_dir"])
def test_a_folder_that_may_not_be_listed_or_entered_is_one_sentence(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, closed, refuse)
    with pytest.raises(InputError, match=r"The folder .* cannot be opened \(Permission denied\); check its perm"):
        read_class_folder(class_folder, 0, Findings([]))
