"""A text file beside each photo."""

import errno
import json
import sys
import tempfile
from pathlib import Path
from unicodedata import normalize

import pytest
from caption_tables import Table, expected, few, one_line, read_back, reads_or_refuses, tables, touch
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.data.readers.place import Place
from helpers.files import InputError


@few
@given(tables(one_line), st.sampled_from([".txt", ".caption", ".json"]), st.sampled_from(["utf-8", "utf-16"]))
def test_any_table_reads_back_the_same(table: Table, ending: str, encoding: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), table)
        for name, captions in table.items():
            file = (Path(folder) / name).with_suffix(ending)
            text = json.dumps({"captions": captions}) if ending == ".json" else "\n".join(captions)
            file.write_text(text, encoding=encoding, newline="")
        assert read_back(Path(folder)) == expected(table)


@few
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), {"a.jpg": [], "b.jpg": []})
        (Path(folder) / "a.txt").write_bytes(content)
        (Path(folder) / "b.txt").write_bytes(b"A dog")
        reads_or_refuses(Path(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, these names are of one file")
def test_names_may_be_composed_or_not_and_in_another_case(tmp_path: Path) -> None:
    touch(tmp_path, {normalize("NFD", "é.jpg"): [], "IMG_1.JPG": [], "a.jpg": [], "B.jpg": []})
    said = {
        normalize("NFC", "é.txt"): "one",
        "img_1.txt": "two",
        "a.txt": "three",
        "A.txt": "nobody's",
        "B.txt": "four",
    }
    for name, caption in said.items():
        (tmp_path / name).write_text(caption)
    captions = read_captioned(tmp_path, Findings()).captions
    assert {normalize("NFC", path.name): texts for path, texts in captions.items()} == {
        normalize("NFC", "é.jpg"): ("one",),
        "IMG_1.JPG": ("two",),
        "a.jpg": ("three",),
        "B.jpg": ("four",),
    }


def test_photos_without_a_text_and_empty_texts_are_named(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": [], "b.jpg": [], "c.jpg": []})
    (tmp_path / "a.txt").write_text("A dog .\n\nRex .\n")
    (tmp_path / "b.txt").write_text("\n")
    findings = Findings()
    assert read_captioned(tmp_path, findings).captions == {tmp_path / "a.jpg": ("A dog .", "Rex .")}
    assert [(one.kind, one.name, one.reason) for one in findings.left_out] == [
        ("caption", "b.txt", "in a file that is empty"),
        ("photo", "b.jpg", "without a caption"),
        ("photo", "c.jpg", "without a caption"),
    ]


def test_texts_beside_what_is_no_photo_or_beside_nothing_are_named(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": [], "b.jpg": []})
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "film.mp4").write_bytes(b"film")
    for name in ("a", "b", "dangling", "film", "gone"):
        (tmp_path / f"{name}.txt").write_text(f"Words of {name} .\n")
    (tmp_path / "train.txt").write_text("a.jpg\n")
    (tmp_path / "test.txt").write_text("b.jpg\n")
    findings = Findings()
    assert len(read_captioned(tmp_path, findings).captions) == 2
    named = {one.name: (one.kind, one.reason) for one in findings.left_out if one.name.endswith(".txt")}
    assert named.keys() == {"dangling.txt", "film.txt"}
    assert findings.notices[-1] == "Texts beside no photo were passed over (1), such as gone.txt."
    assert named["dangling.txt"] == ("caption", "beside a file that is no photo (a link to nothing)")
    assert named["film.txt"][1].startswith("beside a file that is no photo (")


@pytest.mark.parametrize(
    ("ending", "boxes"),
    [
        (".txt", "0 0.5 0.5 0.2 0.3\n15 0.1 1e-05 0.2 0.3\n"),  # YOLO
        (".txt", "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"),  # KITTI
        (".json", '{"version": "5.0", "shapes": [{"label": "dog"}], "imagePath": "a.jpg", "imageData": null}'),
    ],
)
def test_boxes_beside_photos_are_no_captions(tmp_path: Path, ending: str, boxes: str) -> None:
    touch(tmp_path, {"0.jpg": [], "1.jpg": [], "dog.jpg": []})
    for name in ("0", "1", "dog"):
        (tmp_path / f"{name}{ending}").write_text(boxes)
    with pytest.raises(InputError, match="no captions that are recognised"):
        read_captioned(tmp_path, Findings())
    (tmp_path / "captions.csv").write_text("image,caption\n0.jpg,A dog .\n1.jpg,A cat .\ndog.jpg,A hill .\n")
    assert read_back(tmp_path) == {"0.jpg": ("A dog .",), "1.jpg": ("A cat .",), "dog.jpg": ("A hill .",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", "image,caption\na.jpg,A cat .\n"),
        ("captions.jsonl", '{"file_name": "a.jpg", "text": "A cat ."}'),
        ("Flickr8k.token.txt", "a.jpg#0\tA cat .\n"),
    ],
)
def test_texts_beside_photos_and_a_file_of_captions_are_a_question(tmp_path: Path, name: str, text: str) -> None:
    touch(tmp_path, {"a.jpg": [], "b.jpg": []})
    (tmp_path / name).write_text(text)
    (tmp_path / "b.txt").write_text("A dog .")
    with pytest.raises(InputError, match=rf"holds captions twice: {name}.*such as b\.txt; take those out"):
        read_captioned(tmp_path, Findings())
    (tmp_path / name).unlink()
    assert read_back(tmp_path) == {"b.jpg": ("A dog .",)}


def test_each_photo_has_the_first_of_its_texts_that_is_in_words(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    touch(tmp_path, {f"{name}.jpg": [] for name in "abcd"})
    (tmp_path / "a.txt").write_text("A dog .")
    (tmp_path / "a.json").write_text('{"caption": "A dog with a licence ."}')
    (tmp_path / "b.json").write_text('{"caption": "A cat ."}')
    (tmp_path / "c.txt").write_text("0 0.5 0.5 0.2 0.3")
    (tmp_path / "c.json").write_text('{"caption": "A hill ."}')
    (tmp_path / "d.txt").write_text("0 0.5 0.5 0.2 0.3")
    findings = Findings()
    found = read_captioned(tmp_path, findings).captions
    assert {path.name: texts for path, texts in found.items()} == {
        "a.jpg": ("A dog .",),
        "b.jpg": ("A cat .",),
        "c.jpg": ("A hill .",),
    }
    assert [(one.name, one.reason) for one in findings.left_out] == [
        ("d.txt", "in a file without words"),
        ("d.jpg", "without a caption"),
    ]
    assert "a .txt or .json beside each photo" in capsys.readouterr().out


def test_a_text_beside_a_photo_is_no_list_of_photos(tmp_path: Path) -> None:
    """A caption of one word may be the name of its photo, in a folder called train."""
    touch(tmp_path, {"train/dog.jpg": [], "train/0.jpg": [], "val/1.jpg": []})
    for name, text in (("train/dog", "dog"), ("train/0", "A cat ."), ("val/1", "A hill .")):
        (tmp_path / f"{name}.txt").write_text(text)
    found = read_captioned(tmp_path, Findings())
    assert {path.name: split for path, split in found.splits.items()} == {
        "dog.jpg": "train",
        "0.jpg": "train",
        "1.jpg": "val",
    }


def test_a_folder_that_may_be_listed_and_not_entered_has_no_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photo(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a dog")

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    place = Place(tmp_path)
    monkeypatch.setattr(Path, "is_file", refuse)
    assert place.beside == {} and place.files(".txt") == []
