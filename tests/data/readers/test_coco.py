from pathlib import Path

from helpers.data.layouts import read_captioned
from helpers.data.readers.coco import read_coco
from helpers.files import write_json


def write_annotations(folder: Path, *rows: dict) -> None:
    """One photo in either part, with a caption that has a comma and a line break, and further rows in the first."""
    for part, number in (("train2017", 1), ("val2017", 2)):
        content = {
            "images": [{"id": number, "file_name": f"{number:012d}.jpg"}],
            "annotations": [{"image_id": number, "caption": "A dog,\n running."}, *(rows if number == 1 else ())],
        }
        write_json(folder / "coco2017" / "annotations" / f"captions_{part}.json", content)


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
    (notice,) = notices
    assert notice.startswith("2 captions of") and "captions_train2017.json" in notice
