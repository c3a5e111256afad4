import csv
import re
import tempfile
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
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
    assert notices[0].startswith("1 lines of") and "are not UTF-8 (first at line 2)" in notices[0]
    assert "'photo_00.jpg,A café .'" in notices[0]


def test_one_wrong_byte_does_not_turn_the_other_lines_to_nonsense(captioned_folder: Path) -> None:
    good = "photo_00.jpg,Ein Café in Köln .\n".encode()
    (captioned_folder / "captions.txt").write_bytes(
        b"image,caption\n" + good + b"photo_01.jpg,A \xe9 b .\n" + good[:-2]
    )
    captions = {path.name: texts for path, texts in read_captions(captioned_folder, []).items()}
    assert captions["photo_00.jpg"] == ("Ein Café in Köln .", "Ein Café in Köln")
    assert captions["photo_01.jpg"] == ("A é b .",)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_other_unicode_is_recognised(captioned_folder: Path, encoding: str) -> None:
    text = "image,caption\r\nphoto_00.jpg,A café , 犬 .\r\n".replace("A café , 犬 .", '"A café , 犬 ."')
    (captioned_folder / "captions.txt").write_bytes(text.encode(encoding))
    captions = read_captions(captioned_folder, [])
    assert captions[captioned_folder / "Images" / "photo_00.jpg"] == ("A café , 犬 .",)


def test_a_file_that_is_not_what_it_begins_as_is_refused(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_bytes(b"\xff\xfea\x00b")
    with pytest.raises(InputError, match=r"captions\.txt is not the utf-16 that it begins as"):
        read_captions(captioned_folder, [])


def test_an_unclosed_quote_swallows_no_other_row(captioned_folder: Path) -> None:
    text = (captioned_folder / "captions.txt").read_text().replace("photo_03.jpg,A dog", 'photo_03.jpg,"A dog')
    whole = read_captions(captioned_folder, [])
    (captioned_folder / "captions.txt").write_text(text)
    notices: list[str] = []
    assert read_captions(captioned_folder, notices) == whole
    (notice,) = notices
    assert notice.startswith("1 rows of") and "first at line 9" in notice


def test_two_unclosed_quotes_join_no_two_photos(captioned_folder: Path) -> None:
    rows = 'image,caption\nphoto_00.jpg,"A dog .\nphoto_01.jpg,A "big" cat .\nphoto_02.jpg,A cow ."\n'
    (captioned_folder / "captions.txt").write_text(rows)
    notices: list[str] = []
    captions = {path.name: texts for path, texts in read_captions(captioned_folder, notices).items()}
    assert captions == {
        "photo_00.jpg": ("A dog .",),
        "photo_01.jpg": ('A "big" cat .',),
        "photo_02.jpg": ('A cow ."',),
    }
    assert notices[0].startswith("1 rows of")


def test_a_caption_of_several_lines_stays_one(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").write_text('image,caption\nphoto_00.jpg,"A dog ,\n""Rex"" , runs ."\n')
    assert next(iter(read_captions(captioned_folder, []).values())) == ('A dog , "Rex" , runs .',)


def test_a_caption_without_end_is_left_out(captioned_folder: Path) -> None:
    long = "a dog " * 30_000
    write_captions(
        captioned_folder, [("photo_00.jpg", long), ("photo_00.jpg", long + ","), ("photo_01.jpg", "A cat .")]
    )
    notices: list[str] = []
    assert [path.name for path in read_captions(captioned_folder, notices)] == ["photo_01.jpg"]
    assert any("2 rows" in notice and "more than 10,000 characters" in notice for notice in notices)


def test_a_name_written_by_a_mac_is_the_same_name(captioned_folder: Path) -> None:
    composed, decomposed = (normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    for on_disk, in_file in ((composed, decomposed), (decomposed, composed)):
        photo = (captioned_folder / "Images" / "photo_00.jpg").rename(captioned_folder / "Images" / on_disk)
        write_captions(captioned_folder, [(in_file, "A dog .")])
        assert read_captions(captioned_folder, []) == {photo: ("A dog .",)}
        photo.rename(captioned_folder / "Images" / "photo_00.jpg")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\r\n"), min_size=1, max_size=12)
CAPTIONS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(NAMES, st.lists(CAPTIONS, max_size=5), min_size=1, max_size=6), st.sampled_from(["utf-8", "utf-16"])
)
def test_any_table_reads_back_the_same(table: dict[str, list[str]], encoding: str) -> None:
    """Written by Python's own CSV writer; only what a caption cannot keep is different: white space, or no words."""
    names = {f"{normalize('NFC', name).strip()}.jpg": rows for name, rows in table.items()}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Images").mkdir()
        expected = {}
        for name, rows in names.items():
            assume(len(name.encode()) < 200)
            (Path(folder) / "Images" / name).touch()
            texts = [" ".join(row.split()) for row in rows]
            # A line in a caption that begins like a row is taken for one.
            assume(not any(re.search(r"[\r\n]", row) and "," in row for row in rows))
            expected[Path(folder) / "Images" / name] = tuple(
                dict.fromkeys(text for text in texts if any(letter.isalnum() for letter in text))
            )
        with (Path(folder) / "captions.txt").open("w", newline="", encoding=encoding) as file:
            rows = [(name, row) for name, rows in names.items() for row in rows]
            csv.writer(file).writerows([("image", "caption"), *rows])
        expected = {path: texts for path, texts in expected.items() if texts}
        assume(expected)
        assert read_captions(Path(folder), []) == expected


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
