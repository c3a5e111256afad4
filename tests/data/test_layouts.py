from pathlib import Path

import pytest

from helpers.data.layouts import CAPTIONED, read_captioned
from helpers.data.readers.captions_txt import read_captions
from helpers.files import InputError, write_json


def test_the_layout_that_is_recognised_is_said(captioned_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert read_captioned(captioned_folder, []) == read_captions(captioned_folder, [])
    assert capsys.readouterr().out == f"{captioned_folder}: Images/ with captions.txt\n"


def test_no_folder_has_two_layouts(tmp_path: Path, captioned_folder: Path) -> None:
    write_json(tmp_path / "coco" / "annotations" / "captions_train2017.json", {})
    for folder, name in ((tmp_path / "coco", "COCO"), (captioned_folder, "Images/")):
        (layout,) = (layout for layout in CAPTIONED if layout.recognises(folder))
        assert layout.name.startswith(name)


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"layout that is known here; it needs COCO.*; or Images/ with captions\.txt"):
        read_captioned(tmp_path, [])
