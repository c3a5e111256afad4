"""JSON, JSON Lines and Parquet: records of any shape that names photos and holds captions."""

import json
import tempfile
from pathlib import Path

import pytest
from caption_tables import Table, expected, few, read_back, reads_or_refuses, tables, touch
from hypothesis import assume, given
from hypothesis import strategies as st
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError

SHAPES = {  # a table in each of the ways that people write it
    "list.json": lambda table: [{"file": name, "text": text} for name, texts in table.items() for text in texts],
    "map.json": lambda table: {name: list(texts) for name, texts in table.items()},
    "nested.json": lambda table: {
        "info": {"year": 2013},
        "data": [{"photo": n, "captions": list(t)} for n, t in table.items()],
    },
    "karpathy.json": lambda table: {
        "images": [
            {"filename": n, "split": "train", "sentences": [{"raw": text} for text in t]} for n, t in table.items()
        ]
    },
}


@pytest.mark.parametrize("name", [*SHAPES, "lines.jsonl"])
@few
@given(table=tables(), ascii_only=st.booleans(), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_any_table_reads_back_the_same(name: str, table: Table, ascii_only: bool, encoding: str) -> None:
    assume(not any(text.startswith(('["', "['")) for texts in table.values() for text in texts))
    if name == "lines.jsonl":
        records = [{"caption": text, "file_name": photo} for photo, texts in table.items() for text in texts]
        text = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records)
    else:
        text = json.dumps(SHAPES[name](table), ensure_ascii=ascii_only)
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder) / "photos", table)
        (Path(folder) / name).write_text(text, encoding=encoding, newline="")
        assert read_back(Path(folder)) == expected(table)


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
@few
@given(content=st.binary(max_size=200) | st.text(alphabet='{}[]":,a.jpg1\n', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), {"a.jpg": [], "p.jpg": []})
        (Path(folder) / name).write_bytes(content)
        reads_or_refuses(Path(folder))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": []})
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "A dog"}\n{"file_name": \n')
    findings = Findings()
    assert list(read_captioned(tmp_path, findings).captions.values()) == [("A dog",)]
    (one,) = findings.left_out
    assert (one.kind, one.name, one.reason) == ("caption", "metadata.jsonl, line 2", "in a line that is not valid JSON")


def test_half_a_letter_is_a_lost_one(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": []})
    (tmp_path / "data.json").write_text('{"a.jpg": ["A dog \\ud83d", "A cat"]}')
    findings = Findings()
    assert list(read_captioned(tmp_path, findings).captions.values()) == [("A cat",)]
    assert [one.reason for one in findings.left_out] == ["with a lost letter (�)"]
    findings.save(tmp_path)


def test_json_that_is_torn_or_endless_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": []})
    for content in ('[{"file": "a.jpg", "text": "A do', "[" * 100_000):
        (tmp_path / "data.json").write_text(content)
        with pytest.raises(InputError, match=r"data\.json is not valid JSON"):
            read_captioned(tmp_path, Findings())


def test_json_in_another_encoding_is_a_question_of_the_encoding(tmp_path: Path) -> None:
    touch(tmp_path, {"a.jpg": []})
    text = '[\n{"file": "a.jpg", "text": "Ein großer Hund"},\n{"file": "a.jpg", "text": "Schöne Wiese"}\n]'
    (tmp_path / "data.json").write_text(text, encoding="cp1252")
    with pytest.raises(
        InputError, match=r"data\.json is not UTF-8 .* with captions_encoding, or save it as UTF-8\.$"
    ) as e:
        read_captioned(tmp_path, Findings())
    assert "JSON" not in str(e.value)
    assert list(read_captioned(tmp_path, Findings(), "cp1252").captions.values()) == [
        ("Ein großer Hund", "Schöne Wiese")
    ]


def test_imagefolder_names_photos_from_each_folder_on(tmp_path: Path) -> None:
    """Each part of Hugging Face's ImageFolder has a metadata file of its own, and photos of the same names."""
    for split, count in (("train", 3), ("validation", 2), ("test", 2)):
        for number in range(count):
            write_photo(tmp_path / split / f"{number}.png")
        rows = [json.dumps({"file_name": f"{number}.png", "text": f"{split} {number}"}) for number in range(count)]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(rows))
    found = read_captioned(tmp_path, Findings())
    assert {path.relative_to(tmp_path).as_posix(): texts for path, texts in found.captions.items()} == {
        f"{split}/{number}.png": (f"{split} {number}",)
        for split, count in (("train", 3), ("validation", 2), ("test", 2))
        for number in range(count)
    }
    assert {found.splits[path] for path in found.captions if path.parent.name == "validation"} == {"val"}


def test_parquet_without_its_package_names_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    touch(tmp_path, {"a.jpg": []})
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"data\.parquet is a Parquet file.*run `pip install pyarrow`"):
        read_captioned(tmp_path, Findings())


def test_parquet_is_read_where_its_package_is_there(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed; few have Parquet files")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "named").mkdir()
    touch(tmp_path / "named", {"a.jpg": [], "b.jpg": []})
    parquet.write_table(
        pyarrow.table({"n": ["b.jpg", "a.jpg"], "c": ["A dog", "A cat"]}), tmp_path / "named" / "x.parquet"
    )
    assert read_back(tmp_path / "named") == {"b.jpg": ("A dog",), "a.jpg": ("A cat",)}
    photo = write_photo(tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "packed").mkdir()
    images = [{"bytes": photo, "path": "x.jpg"}, {"bytes": photo, "path": None}]
    table = pyarrow.table({"image": images, "caption": [["A dog", "Rex"], ["A cat"]]})
    parquet.write_table(table, tmp_path / "packed" / "train-0.parquet")
    assert list(read_back(tmp_path / "packed").values()) == [("A dog", "Rex"), ("A cat",)]
    (tmp_path / "named" / "x.parquet").write_bytes(b"PAR1 torn PAR1")
    with pytest.raises(InputError, match=r"x\.parquet is damaged"):
        read_back(tmp_path / "named")
