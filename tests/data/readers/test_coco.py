import json
import tempfile
from pathlib import Path

import pytest
from caption_tables import Table, expected, few, read_back, reads_or_refuses, tables, touch
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
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
    findings = Findings()
    assert read_captioned(tmp_path, findings).captions == {
        tmp_path / "coco2017" / "train2017" / "000000000001.jpg": ("A dog, running.",),
        tmp_path / "coco2017" / "val2017" / "000000000002.jpg": ("A dog, running.",),
    }
    assert findings.sentences == []


@few
@given(tables(), tables(), st.sampled_from(["2014", "2017"]))
def test_any_table_reads_back_the_same(train: Table, val: Table, year: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part, table in (("train", train), ("val", {f"v{name}": texts for name, texts in val.items()})):
            touch(Path(folder) / f"{part}{year}", table)
            content = {
                "images": [{"id": number, "file_name": name} for number, name in enumerate(table)],
                "annotations": [
                    {"image_id": number, "id": 7, "caption": text}
                    for number, texts in enumerate(table.values())
                    for text in texts
                ],
            }
            write_json(Path(folder) / "annotations" / f"captions_{part}{year}.json", content)
        assert read_back(Path(folder)) == expected(train | {f"v{name}": texts for name, texts in val.items()})


@few
@given(st.binary(max_size=100), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(content: bytes, place: int) -> None:
    whole = json.dumps(
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "A dog"}]}
    )
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder) / "train2017", {"a.jpg": []})
        (Path(folder) / "annotations").mkdir()
        damaged = whole.encode()[:place] + content + whole.encode()[place + len(content) :]
        (Path(folder) / "annotations" / "captions_train2017.json").write_bytes(damaged)
        reads_or_refuses(Path(folder))


def test_captions_of_no_photo_and_without_words_are_named(tmp_path: Path) -> None:
    write_annotations(tmp_path, {"image_id": 99, "caption": "A ghost."}, {"image_id": 1, "caption": " "})
    findings = Findings()
    assert list(read_captioned(tmp_path, findings).captions.values()) == [("A dog, running.",)] * 2
    assert [(one.reason, one.name) for one in findings.left_out] == [
        ("of a photo that their file does not list", "image_id 99 (captions_train2017.json, annotation 2)"),
        ("without words", "train2017/000000000001.jpg (captions_train2017.json, annotation 3)"),
    ]


def test_photos_that_are_not_there_or_without_captions_are_named(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    root = tmp_path / "coco2017"
    names = {1: "000000000001.jpg", 2: "gone.jpg", 4: "silent.jpg"}
    write_photo(root / "train2017" / "silent.jpg")
    write_photo(root / "test2017" / "000000000009.jpg")
    content = {
        "images": [{"id": id_, "file_name": name} for id_, name in names.items()],
        "annotations": [{"image_id": id_, "caption": "A dog."} for id_ in (1, 2)],
    }
    write_json(root / "annotations" / "captions_train2017.json", content)
    (root / "annotations" / "captions_val2017.json").unlink()
    findings = Findings()
    found = read_captioned(tmp_path, findings)
    assert found.captions == {root / "train2017" / "000000000001.jpg": ("A dog.",)}
    assert [(one.kind, one.reason) for one in findings.left_out] == [
        ("caption", "of a photo that is missing"),
        ("photo", "without a caption"),
    ]
    only, *unused = findings.notices
    assert "is the only file of captions" in only
    assert [str(root / folder) in notice for folder, notice in zip(("test2017", "val2017"), unused, strict=True)] == [
        True
    ] * 2


def test_photos_of_one_part_alone_are_split_by_chance(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    (tmp_path / "coco2017" / "train2017" / "000000000001.jpg").unlink()  # the larger download
    found = read_captioned(tmp_path, Findings())
    assert [path.name for path in found.captions] == ["000000000002.jpg"] and not found.splits


def test_captions_of_a_table_come_before_a_file_made_as_cocos(tmp_path: Path) -> None:
    write_photo(tmp_path / "1.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\n1.jpg,A dog of people .\n")
    machine = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "A machine ."}]}
    write_json(tmp_path / "captions_coco.json", machine)
    assert read_captioned(tmp_path, Findings()).captions == {tmp_path / "1.jpg": ("A dog of people .",)}


@pytest.mark.parametrize("folder", ["annotations", "."])
def test_files_made_as_cocos_are_read_whatever_they_are_called(tmp_path: Path, folder: str) -> None:
    for number, part in enumerate(("train", "val")):
        write_photo(tmp_path / "images" / f"{number}.jpg", (number, 0, 0))
        content = {
            "info": {},
            "images": [{"id": number, "file_name": f"{number}.jpg", "date_captured": "2013-11-14 17:02:52"}],
            "annotations": [{"id": 5, "image_id": number, "caption": f"A dog of {part} ."}],
        }
        write_json(tmp_path / folder / f"{part}.json", content)
    write_json(tmp_path / folder / "instances_train.json", content | {"annotations": [{"image_id": 1, "bbox": []}]})
    findings = Findings()
    found = read_captioned(tmp_path, findings)
    assert {path.name: (*texts, found.splits[path]) for path, texts in found.captions.items()} == {
        "0.jpg": ("A dog of train .", "train"),
        "1.jpg": ("A dog of val .", "val"),
    }
    assert not findings.sentences


def test_annotations_of_another_kind_are_named(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    for file in list((tmp_path / "coco2017" / "annotations").iterdir()):
        file.rename(file.with_name(file.name.replace("captions", "instances")))
    with pytest.raises(
        InputError, match=r"instances_train2017\.json, which have no captions; put captions_train2017\.json"
    ):
        read_captioned(tmp_path, Findings())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "images: Field required"),
        ([], "object"),
        ({"images": [], "annotations": [{"image_id": "1", "caption": "A dog."}]}, "annotations.0.image_id"),
        ({"images": [{"id": 1}], "annotations": []}, "images.0.file_name"),
        (
            {"images": [], "annotations": [{"image_id": 1, "segmentation": []}]},
            r"train2017\.json holds no captions but",
        ),
        ({"images": [{"id": 1, "file_name": "a.jpg"}]}, r"train2017\.json holds no captions but another kind"),
        ({"images": [], "annotations": [{"image_id": 1, "caption": 7}]}, "annotations.0.caption"),
        ({"images": [], "annotations": []}, "No row of"),
    ],
)
def test_other_annotations_are_refused(tmp_path: Path, content: object, reason: str) -> None:
    write_annotations(tmp_path)
    for part in ("train2017", "val2017"):
        write_json(tmp_path / "coco2017" / "annotations" / f"captions_{part}.json", content)
    with pytest.raises(InputError, match=reason):
        read_captioned(tmp_path, Findings())


def test_annotations_nested_without_end_are_refused(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    (tmp_path / "coco2017" / "annotations" / "captions_train2017.json").write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(InputError, match="cannot be used"):
        read_captioned(tmp_path, Findings())
