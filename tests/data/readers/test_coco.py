from pathlib import Path

import pytest
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.readers.coco import read_coco
from helpers.files import InputError, write_json


def write_annotations(folder: Path, *rows: dict) -> None:
    """One photo in either part, with a caption that has a comma and a line break, and further rows in the first."""
    for part, number in (("train2017", 1), ("val2017", 2)):
        content = {
            "images": [{"id": number, "file_name": f"{number:012d}.jpg"}],
            "annotations": [{"image_id": number, "caption": "A dog,\n running."}, *(rows if number == 1 else ())],
        }
        write_json(folder / "coco2017" / "annotations" / f"captions_{part}.json", content)
        write_photo(folder / "coco2017" / part / f"{number:012d}.jpg")


def test_coco_annotations_are_joined_by_photo(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    notices: list[str] = []
    assert read_coco(tmp_path, notices) == {
        tmp_path / "coco2017" / "train2017" / "000000000001.jpg": ("A dog, running.",),
        tmp_path / "coco2017" / "val2017" / "000000000002.jpg": ("A dog, running.",),
    }
    assert notices == []


def test_captions_of_no_photo_and_without_words_are_counted(tmp_path: Path) -> None:
    write_annotations(tmp_path, {"image_id": 99, "caption": "A ghost."}, {"image_id": 1, "caption": " "})
    notices: list[str] = []
    assert list(read_captioned(tmp_path, notices).values()) == [("A dog, running.",)] * 2
    unknown, empty = notices
    assert unknown.startswith("1 captions of") and unknown.endswith("name no photo of it, and are left out.")
    assert empty.startswith("1 captions of") and empty.endswith("captions_train2017.json are empty, and are left out.")


def test_photos_that_are_not_there_or_outside_or_without_captions_are_counted(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    root = tmp_path / "coco2017"
    names = {1: "000000000001.jpg", 2: "gone.jpg", 3: "../val2017/000000000002.jpg", 4: "silent.jpg"}
    write_photo(root / "train2017" / "silent.jpg")
    content = {
        "images": [{"id": id_, "file_name": name} for id_, name in names.items()],
        "annotations": [{"image_id": id_, "caption": "A dog."} for id_ in (1, 2, 3)],
    }
    write_json(root / "annotations" / "captions_train2017.json", content)
    (root / "annotations" / "captions_val2017.json").unlink()
    notices: list[str] = []
    assert read_coco(tmp_path, notices) == {root / "train2017" / "000000000001.jpg": ("A dog.",)}
    assert [notice.split()[0] for notice in notices] == [
        str(root / "annotations" / "captions_train2017.json"),
        "2",
        "1",
    ]
    assert "is the only file of captions" in notices[0] and "have no caption" in notices[2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "images: Field required"),
        ([], "object"),
        ({"images": [], "annotations": [{"image_id": "1", "caption": "A dog."}]}, "annotations.0.image_id"),
        ({"images": [{"id": 1}], "annotations": []}, "images.0.file_name"),
        ({"images": [], "annotations": [{"image_id": 1, "segmentation": []}]}, "annotations.0.caption"),
        ({"images": [], "annotations": []}, "No caption in"),
    ],
)
def test_other_annotations_are_refused(tmp_path: Path, content: object, reason: str) -> None:
    write_annotations(tmp_path)
    for part in ("train2017", "val2017"):
        write_json(tmp_path / "coco2017" / "annotations" / f"captions_{part}.json", content)
    with pytest.raises(InputError, match=reason):
        read_coco(tmp_path, [])


def test_annotations_nested_without_end_are_refused(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    (tmp_path / "coco2017" / "annotations" / "captions_train2017.json").write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(InputError, match="cannot be used"):
        read_coco(tmp_path, [])
