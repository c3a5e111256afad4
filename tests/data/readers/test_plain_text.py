"""Which encoding a file has: what is sure is read, and the rest is a question."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.left_out import Findings
from helpers.data.readers.plain_text import read_head, read_text
from helpers.files import InputError

TEXT = "image,caption\r\nphoto_00.jpg,A café , 犬 .\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_unicode_is_recognised(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    findings = Findings()
    assert read_text(tmp_path / "a.txt", findings) == TEXT == read_head(tmp_path / "a.txt")
    assert findings.sentences == []


def test_one_wrong_byte_harms_its_own_line_only(tmp_path: Path) -> None:
    good = "photo_00.jpg,Ein Café in Köln .\n".encode()
    (tmp_path / "a.txt").write_bytes(good + b"photo_01.jpg,A \xe9 b .\n" + good)
    findings = Findings()
    assert read_text(tmp_path / "a.txt", findings) == f"{good.decode()}photo_01.jpg,A � b .\n{good.decode()}"
    (notice,) = findings.notices
    assert "(1, first line 2)" in notice


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Ein Schäfchen läuft über die Straße", "cp1252"),
        ("كلب يركض على العشب", "cp1256"),
        ("Собака бежит по траве", "cp1251"),
        ("一只狗在草地上奔跑", "gb18030"),
        ("犬が草の上を走っている", "shift_jis"),
    ],
)
def test_another_encoding_is_a_question_that_shows_the_answer(tmp_path: Path, text: str, encoding: str) -> None:
    lines = "\n".join(f"{text} {number}" for number in range(20))
    (tmp_path / "a.txt").write_bytes(lines.encode(encoding))
    with pytest.raises(InputError, match=r"a\.txt is not UTF-8 \(20 of 20 lines, first line 1\)") as caught:
        read_text(tmp_path / "a.txt", Findings())
    assert f"{encoding} gives '{text} 0'" in str(caught.value)
    assert read_text(tmp_path / "a.txt", Findings(), encoding) == lines == read_head(tmp_path / "a.txt", encoding)


def test_an_answer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("äöü\n".encode("cp1252") * 9)
    with pytest.raises(InputError, match="is not shift_jis either"):
        read_text(tmp_path / "a.txt", Findings(), "shift_jis")


def test_a_file_that_is_not_what_it_begins_as_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea\x00b")
    with pytest.raises(InputError, match=r"a\.txt is not the utf-16 that it begins as"):
        read_text(tmp_path / "a.txt", Findings())


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(content)
    assert isinstance(read_head(file), str)
    try:
        assert isinstance(read_text(file, Findings()), str)
    except InputError as error:
        assert "\n" not in str(error)
