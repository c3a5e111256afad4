import shlex
from pathlib import Path

import pytest
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError


def test_the_layout_that_is_recognised_is_said(captioned_folder: Path, capsys: pytest.CaptureFixture) -> None:
    read_captioned(captioned_folder, Findings())
    said = "captions.txt, a table with commas: photos in 'image', captions in 'caption'"
    assert capsys.readouterr().out == f"{captioned_folder}: {said}\n"


def test_photos_without_captions_lead_to_the_album(tmp_path: Path) -> None:
    write_photo(tmp_path / "My photos" / "1.jpg")
    (tmp_path / "My photos" / "notes.txt").write_text("Holidays, 2024. It rained.\n")
    with pytest.raises(InputError, match=r"1 photos and no captions .*notebook 07.*captions\.csv") as caught:
        read_captioned(tmp_path / "My photos", Findings())
    told = shlex.split(str(caught.value).split("`")[1])  # as a shell takes it
    assert told == ["make", "album", f"PHOTOS={tmp_path / 'My photos'}"]


def test_a_folder_of_classes_is_told_apart(tmp_path: Path) -> None:
    for label in ("cane", "gatto"):
        write_photo(tmp_path / label / "1.jpg")
    with pytest.raises(InputError, match="set classes_folder instead"):
        read_captioned(tmp_path, Findings())


def test_a_folder_without_photos_says_so(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,A dog\n")
    with pytest.raises(InputError, match="holds no photos; give a folder with photos and a file of captions"):
        read_captioned(tmp_path, Findings())


@pytest.mark.parametrize("name", ["odd", "odd.jfif", "odd.weird"])
def test_what_a_file_holds_makes_it_a_photo(captioned_folder: Path, name: str) -> None:
    (captioned_folder / "Images" / "photo_00.jpg").rename(captioned_folder / "Images" / name)
    file = captioned_folder / "captions.txt"
    file.write_text(file.read_text().replace("photo_00.jpg", name))
    (captioned_folder / "Images" / ".DS_Store").write_bytes(b"x")
    (captioned_folder / "Images" / "Thumbs.db").write_bytes(b"x")
    findings = Findings()
    assert captioned_folder / "Images" / name in read_captioned(captioned_folder, findings).captions
    assert findings.sentences == []


def test_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        for number in range(2):
            write_photo(tmp_path / part / f"train_{part}_{number}.jpg").with_suffix(".txt").write_text("A train .")
    found = read_captioned(tmp_path, Findings())
    assert {path.parent.name: split for path, split in found.splits.items()} == {s: s for s in ("train", "val", "test")}
