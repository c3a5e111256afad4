"""A text file beside each photo."""

import json
import tempfile
from pathlib import Path

from caption_tables import Table, expected, few, one_line, read_back, reads_or_refuses, tables, touch
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings


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
