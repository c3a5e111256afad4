from pathlib import Path

import pytest
from small_data import write_captions

from helpers.data.readers.captions_txt import read_captions
from helpers.files import InputError


def test_captions_keep_their_commas(captioned_folder: Path) -> None:
    notices: list[str] = []
    captions = read_captions(captioned_folder, notices)
    assert captions[captioned_folder / "Images" / "photo_03.jpg"] == (
        "A red dog , number 3 , runs .",
        "A dog on a hill .",
    )
    assert len(captions) == 12
    assert notices == []


def test_missing_photo_empty_caption_and_repeated_row_are_named_and_left_out(captioned_folder: Path) -> None:
    rows = [
        ("photo_00.jpg", "A dog ."),
        ("photo_00.jpg", "A dog ."),
        ("nowhere.jpg", "A ghost ."),
        ("photo_01.jpg", "  . "),
        ("photo_01.jpg", "A cat ."),
    ]
    write_captions(captioned_folder, rows)
    notices: list[str] = []
    captions = read_captions(captioned_folder, notices)
    assert {path.name: texts for path, texts in captions.items()} == {
        "photo_00.jpg": ("A dog .",),
        "photo_01.jpg": ("A cat .",),
    }
    text = "\n".join(notices)
    assert "missing in Images and are left out, for example: nowhere.jpg" in text
    assert "have an empty caption" in text
    assert "repeat a row" in text
    assert "10 photos" in text  # have no caption now


def test_captions_without_header_are_read_with_a_notice(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_text('photo_00.jpg,"A dog , a cat ."\nphoto_01.jpg,A hill .\n')
    notices: list[str] = []
    captions = read_captions(captioned_folder, notices)
    assert captions[captioned_folder / "Images" / "photo_00.jpg"] == ("A dog , a cat .",)
    assert "has no header" in notices[0]


def test_captions_with_another_header_are_refused(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_text("filename|text\nphoto_00.jpg|A dog .\n")
    with pytest.raises(InputError, match="should be the header image,caption"):
        read_captions(captioned_folder, [])


def test_unquoted_comma_is_refused_with_its_line(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_text("image,caption\nphoto_00.jpg,A dog .\nphoto_00.jpg,A dog, a cat .\n")
    with pytest.raises(InputError, match=r"Line 3 .* has 3 columns"):
        read_captions(captioned_folder, [])


def test_other_encoding_is_read_with_a_notice(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_bytes("image,caption\nphoto_00.jpg,A café .\n".encode("cp1252"))
    notices: list[str] = []
    captions = read_captions(captioned_folder, notices)
    assert captions[captioned_folder / "Images" / "photo_00.jpg"] == ("A café .",)
    assert "is not UTF-8 (first at line 2)" in notices[0]


def test_incomplete_folder_is_refused(tmp_path: Path, captioned_folder: Path) -> None:
    with pytest.raises(InputError, match="Images is missing"):
        read_captions(tmp_path / "nothing", [])
    (captioned_folder / "captions.txt").unlink()
    with pytest.raises(InputError, match=r"captions\.txt is missing"):
        read_captions(captioned_folder, [])


def test_captions_of_other_photos_are_refused(captioned_folder: Path) -> None:
    write_captions(captioned_folder, [("other.jpg", "A dog .")])
    with pytest.raises(InputError, match="No row of"):
        read_captions(captioned_folder, [])
