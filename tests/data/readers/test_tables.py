"""Tables of captions: whatever their columns, separators and quotes are, each caption goes to its photo or is named."""

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from caption_tables import Table, expected, few, read_back, reads_or_refuses, tables, touch
from hypothesis import assume, given
from hypothesis import strategies as st
from small_data import write_captions, write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError

HEADER = "image,caption\n"


def read(folder: Path, text: str | bytes | None = None) -> tuple[dict[str, tuple[str, ...]], Findings]:
    """Captions by the names of their photos, of the folder as it is or with this `captions.txt`."""
    if text is not None:
        (folder / "captions.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    findings = Findings()
    found = read_captioned(folder, findings)
    return {path.name: texts for path, texts in found.captions.items()}, findings


def reasons(findings: Findings) -> list[tuple[str, str]]:
    return [(one.kind, one.reason) for one in findings.left_out if one.reason != "without a caption"]


def test_captions_keep_their_commas(captioned_folder: Path) -> None:
    captions, findings = read(captioned_folder)
    assert captions["photo_03.jpg"] == ("A red dog , number 3 , runs .", "A dog on a hill .")
    assert len(captions) == 12
    assert findings.sentences == []


def test_what_cannot_be_used_is_named_row_by_row(captioned_folder: Path) -> None:
    rows = [
        ("photo_00.jpg", "A dog ."),
        ("photo_00.jpg", "A dog ."),
        ("nowhere.jpg", "A ghost ."),
        ("photo_01.jpg", "  . "),
        ("photo_01.jpg", "A cat ."),
        ("notes.jpg.txt", "A text ."),
    ]
    (captioned_folder / "Images" / "notes.jpg.txt").write_text("no photo")
    write_captions(captioned_folder, rows)
    captions, findings = read(captioned_folder)
    assert captions == {"photo_00.jpg": ("A dog .",), "photo_01.jpg": ("A cat .",)}
    assert [(one.name, one.reason) for one in findings.left_out if one.kind == "caption"] == [
        ("photo_00.jpg (captions.txt, line 3)", "said of the same photo before"),
        ("nowhere.jpg (captions.txt, line 4)", "of a photo that is missing"),
        ("photo_01.jpg (captions.txt, line 5)", "without words"),
        ("notes.jpg.txt (captions.txt, line 7)", "of a file that is no photo (not an image)"),
    ]
    assert findings.counts == {"photos": 10, "captions": 4}


def test_a_file_without_header_is_read_with_a_notice(captioned_folder: Path) -> None:
    captions, findings = read(captioned_folder, 'photo_00.jpg,"A dog , a cat ."\nphoto_01.jpg,A hill .\n')
    assert captions["photo_00.jpg"] == ("A dog , a cat .",)
    assert any("has no header" in notice for notice in findings.notices)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "results.csv",
            "image_name| comment_number| comment\nphoto_00.jpg| 0|  A dog .\n",
            "bars: photos in 'image_name'",
        ),
        ("data.csv", "id;Beschreibung;datei\n7;A dog .;photo_00.jpg\n", "captions in 'Beschreibung'"),
        ("my.tsv", "A dog .\tphoto_00.jpg\n", "photos in column 2, captions in column 1"),
        ("captions.csv", "split,path,text\ntrain,C:\\data\\Images\\photo_00.jpg,A dog .\n", "captions in 'text'"),
        ("x.csv", "name,caption,words in it\nphoto_00,A dog .,a b c d e f g h\n", "captions in 'caption'"),
        ("x.csv", 'filename,raw,sentids\nphoto_00.jpg,"[""A dog ."", ""A dog .""]","[0, 1]"\n', "captions in 'raw'"),
        ("x.csv", "bild,label,beschreibung\nphoto_00.jpg,dog,A dog .\n", "captions in 'beschreibung'"),
        ("x.csv", "file_name,captions\nphoto_00.jpg,\"['A dog .', 'A dog .']\"\n", "captions in 'captions'"),
        ("x.csv", "file_name,caption_0,caption_1\nphoto_00.jpg,A dog .,\n", "captions in 'caption_0', 'caption_1'"),
    ],
)
def test_columns_are_told_by_what_they_hold(
    captioned_folder: Path, capsys: pytest.CaptureFixture, name: str, text: str, said: str
) -> None:
    (captioned_folder / "captions.txt").unlink()
    (captioned_folder / name).write_text(text)
    assert read(captioned_folder)[0] == {"photo_00.jpg": ("A dog .",)}
    assert said in capsys.readouterr().out


def test_flickr30ks_row_without_a_second_bar_is_named(captioned_folder: Path) -> None:
    (captioned_folder / "captions.txt").unlink()
    rows = "photo_00.jpg| 0|  A dog .\nphoto_01.jpg| 4   A dog runs .\n"
    (captioned_folder / "results.csv").write_text("image_name| comment_number| comment\n" + rows)
    captions, findings = read(captioned_folder)
    assert captions == {"photo_00.jpg": ("A dog .",)}
    assert reasons(findings) == [("caption", "in a row with too few columns")]


def test_unquoted_comma_is_refused_with_its_line(captioned_folder: Path) -> None:
    with pytest.raises(InputError, match=r"Line 3 .* has 3 columns.*put captions that hold commas in double quotes"):
        read(captioned_folder, HEADER + "photo_00.jpg,A dog .\nphoto_00.jpg,A dog, a cat .\n")


def told_by_tables(folder: Path, *names: str) -> dict[str, str]:
    """The splits that tables of these names tell, of a photo each, in the place of all captions of `folder`."""
    (folder / "captions.txt").unlink()
    for number, name in enumerate(names):
        (folder / f"{name}.csv").write_text(f"{HEADER}photo_0{number}.jpg,A dog {number}\n")
    return {path.name: split for path, split in read_captioned(folder, Findings()).splits.items()}


def test_several_tables_are_one_set_or_a_question(captioned_folder: Path) -> None:
    assert told_by_tables(captioned_folder, "train", "val", "test") == {
        "photo_00.jpg": "train",
        "photo_01.jpg": "val",
        "photo_02.jpg": "test",
    }
    (captioned_folder / "more.csv").write_text(f"{HEADER}photo_05.jpg,A dog\n")
    with pytest.raises(InputError, match=r"4 files with captions \(.*more\.csv.*keep one, or call them train, val"):
        read_captioned(captioned_folder, Findings())
    (captioned_folder / "captions.csv").write_text(f"{HEADER}photo_07.jpg,A dog\n")
    assert [path.name for path in read_captioned(captioned_folder, Findings()).captions] == ["photo_07.jpg"]


def test_an_unclosed_quote_swallows_no_other_row(captioned_folder: Path) -> None:
    whole, _ = read(captioned_folder)
    text = (captioned_folder / "captions.txt").read_text().replace("photo_03.jpg,A dog", 'photo_03.jpg,"A dog')
    captions, findings = read(captioned_folder, text)
    assert captions == whole
    (notice,) = findings.sentences
    assert "a double quote is not closed or not doubled (1, first at line 9)" in notice


def test_two_unclosed_quotes_join_no_two_photos(captioned_folder: Path) -> None:
    rows = 'photo_00.jpg,"A dog .\nphoto_01.jpg,A "big" cat .\nphoto_02.jpg,A cow ."\n'
    captions, findings = read(captioned_folder, HEADER + rows)
    assert captions == {
        "photo_00.jpg": ("A dog .",),
        "photo_01.jpg": ('A "big" cat .',),
        "photo_02.jpg": ('A cow ."',),
    }
    assert "(1, first at line 2)" in findings.notices[0]


def test_a_caption_of_several_lines_stays_one(captioned_folder: Path) -> None:
    rows = 'photo_00.jpg,"A dog ,\n""Rex"" , runs ."\nphoto_01.jpg,"One\n\ntwo , three\nfour"\n'
    assert read(captioned_folder, HEADER + rows)[0] == {
        "photo_00.jpg": ('A dog , "Rex" , runs .',),
        "photo_01.jpg": ("One two , three four",),
    }


@pytest.mark.parametrize("header", ["image,caption_0,caption_1,split", "image,beschreibung,und,teil"])
def test_a_header_is_one_though_a_photo_is_called_like_a_column(captioned_folder: Path, header: str) -> None:
    (captioned_folder / "Images" / "photo_01.jpg").rename(captioned_folder / "Images" / "image.jpg")
    captions, findings = read(captioned_folder, f"{header}\nimage.jpg,A dog .,,train\n")
    assert captions == {"image.jpg": ("A dog .",)}
    assert not findings.notices


def test_the_first_row_of_names_without_suffixes_is_no_header(captioned_folder: Path) -> None:
    captions, _ = read(captioned_folder, "photo_00,A dog .\nphoto_01,A cat .\nphoto_02,A hill .\n")
    assert list(captions) == ["photo_00.jpg", "photo_01.jpg", "photo_02.jpg"]


@pytest.mark.parametrize("write", [repr, lambda texts: str(np.array(texts, dtype=object)), json.dumps])
def test_a_list_in_a_cell_is_its_captions(captioned_folder: Path, write: Callable[[list[str]], str]) -> None:
    texts = ["A dog's tail .", 'A "big" dog , running .', "A dog \\ a cat .", "Ein Hund läuft ."]
    write_captions(captioned_folder, [("photo_00.jpg", write(texts)), ("photo_01.jpg", "['A', 7] dog")])
    captions, _ = read(captioned_folder)
    assert captions == {"photo_00.jpg": tuple(texts), "photo_01.jpg": ("['A', 7] dog",)}


@pytest.mark.parametrize(
    ("photos", "names", "called"),
    [
        (["b/001.jpg", "b/002.jpg"], ["a/001.jpg", "b/001.jpg", "b/002.jpg"], [None, "b/001.jpg", "b/002.jpg"]),
        (["b/1.jpg", "b/2.jpg"], ["/home/ann/b/1.jpg", "b/2.jpg"], ["b/1.jpg", "b/2.jpg"]),
        (["a/2.jpg", "b/1.jpg"], ["a/1.jpg", "2.jpg"], [None, "a/2.jpg"]),  # a is here, without it
        (["all/1.jpg", "a/2.jpg"], ["a/1.jpg"], ["all/1.jpg"]),  # nothing in a is named
        (["all/1.jpg", "all/2.jpg"], ["a/1.jpg", "b/2.jpg"], ["all/1.jpg", "all/2.jpg"]),
        (["in/1.jpg", "in/b/2.jpg"], ["C:\\in\\1.jpg", "C:\\in\\2.jpg"], ["in/1.jpg", "in/b/2.jpg"]),
        (["1.jpg"], ["old/1.jpg", "1.jpg"], [None, "1.jpg"]),
        (["a/1.jpg", "b/1.jpg"], ["x/1.jpg", "1.jpg", "b/1.jpg"], [None, None, "b/1.jpg"]),
    ],
)
def test_no_photo_gets_the_caption_of_one_that_is_missing(
    tmp_path: Path, photos: list[str], names: list[str], called: list[str | None]
) -> None:
    for number, photo in enumerate(photos):
        write_photo(tmp_path / photo, (90 * number, 0, 0))
    for order in (1, -1):
        pairs = list(zip(names, called, strict=True))[::order]
        (tmp_path / "captions.csv").write_text(HEADER + "".join(f"{name},A dog in {name}\n" for name, _ in pairs))
        findings = Findings()
        found = read_captioned(tmp_path, findings).captions
        assert found == {tmp_path / photo: (f"A dog in {name}",) for name, photo in pairs if photo}
        left_out = [one.name.partition(" (")[0] for one in findings.left_out if one.kind == "caption"]
        assert left_out == [name for name, photo in pairs if photo is None]


def test_parts_of_a_table_are_one(captioned_folder: Path) -> None:
    parts = ("train-00000-of-00002-1e1ed5ceb8c1f0d4", "train-00001-of-00002-ab34ff0192837465", "test-00000-of-00001")
    assert told_by_tables(captioned_folder, *parts) == {
        "photo_00.jpg": "train",
        "photo_01.jpg": "train",
        "photo_02.jpg": "test",
    }


@pytest.mark.parametrize("names", [("train-v1", "train-v2"), ("captions_2019", "captions_2020"), ("a/000", "b/001")])
def test_versions_of_a_table_are_a_question(captioned_folder: Path, names: tuple[str, str]) -> None:
    (captioned_folder / "captions.txt").unlink()
    for name in names:
        (captioned_folder / name).parent.mkdir(exist_ok=True)
        (captioned_folder / f"{name}.csv").write_text(f"{HEADER}photo_00.jpg,A dog\n")
    with pytest.raises(InputError, match=r"2 files with captions .* keep one"):
        read_captioned(captioned_folder, Findings())


def test_a_caption_without_end_is_left_out(captioned_folder: Path) -> None:
    long = "a dog " * 30_000  # more than a CSV reader takes
    write_captions(
        captioned_folder, [("photo_00.jpg", long), ("photo_00.jpg", long + ","), ("photo_01.jpg", "A cat .")]
    )
    captions, findings = read(captioned_folder)
    assert list(captions) == ["photo_01.jpg"]
    assert reasons(findings) == [("caption", "longer than 10,000 characters")] * 2


def test_a_name_written_by_a_mac_is_the_same_name(captioned_folder: Path) -> None:
    composed, decomposed = (normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    for on_disk, in_file in ((composed, decomposed), (decomposed, composed)):
        photo = (captioned_folder / "Images" / "photo_00.jpg").rename(captioned_folder / "Images" / on_disk)
        assert read(captioned_folder, f"{HEADER}{in_file},A dog .\n")[0] == {photo.name: ("A dog .",)}
        photo.rename(captioned_folder / "Images" / "photo_00.jpg")


def test_captions_of_other_photos_are_refused(captioned_folder: Path) -> None:
    with pytest.raises(InputError, match=r"No row of .* belongs to a photo"):
        read(captioned_folder, HEADER + "other.jpg,A dog .\n")


@few
@given(
    tables(),
    st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
    st.sampled_from(",;\t|"),
    st.permutations(["image", "caption", "id", "licence"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_reads_back_the_same(
    table: Table, encoding: str, separator: str, columns: list[str], end: str
) -> None:
    """Written by Python's own CSV writer; a line in a caption that begins like a row is taken for one."""
    texts = [text for captions in table.values() for text in captions]
    assume(not any(re.search(r"[\r\n]", text) and (separator in text or "jpg" in text) for text in texts))
    assume(not any(text.startswith(('["', "['")) for text in texts))
    file = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow(columns)
    for number, (name, captions) in enumerate(table.items()):
        for caption in captions:
            cells = {"image": name, "caption": caption, "id": str(number), "licence": "CC BY 4.0"}
            writer.writerow(cells[column] for column in columns)
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder) / "Images", table)
        (Path(folder) / "captions.txt").write_bytes(file.getvalue().encode(encoding))
        assert read_back(Path(folder)) == expected(table)


@few
@given(st.binary(max_size=300) | st.text(alphabet='a.jpg,;|\t"\n\r 1[]', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), {"a.jpg": [], "p.jpg": []})
        (Path(folder) / "captions.txt").write_bytes(content)
        reads_or_refuses(Path(folder))
