"""The original files of Flickr8k and Flickr30k, with their split lists."""

import tempfile
from pathlib import Path

import pytest
from caption_tables import Table, expected, few, one_line, read_back, reads_or_refuses, tables, touch
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError


@few
@given(tables(one_line), st.sampled_from(["Flickr8k.token.txt", "results_20130124.token"]))
def test_any_table_reads_back_the_same(table: Table, name: str) -> None:
    rows = [f"{photo}#{n}\t{text}\n" for photo, texts in table.items() for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder) / "Flicker8k_Dataset", table)
        (Path(folder) / name).write_text("".join(rows), encoding="utf-8", newline="")
        assert read_back(Path(folder)) == expected(table)


@few
@given(st.binary(max_size=200) | st.text(alphabet="a.jpg#0\t\n ", max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assume(content)
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), {"a.jpg": [], "p.jpg": []})
        (Path(folder) / "Flickr8k.token.txt").write_bytes(content)
        reads_or_refuses(Path(folder))


@pytest.fixture
def flickr8k(tmp_path: Path) -> Path:
    """As the University of Illinois hands it out: photos in one folder, texts in another."""
    names = [f"{number}_abc.jpg" for number in range(6)]
    touch(tmp_path / "Flicker8k_Dataset", {name: [] for name in names})
    texts = tmp_path / "Flickr8k_text"
    texts.mkdir()
    rows = [f"{name}#{n}\tA dog , {n} .\n" for name in names for n in range(2)]
    (texts / "Flickr8k.token.txt").write_text("".join(rows))
    (texts / "Flickr8k.lemma.token.txt").write_text("".join(rows).replace("A dog", "a dog be"))
    for split, part in (("train", names[:3]), ("dev", names[3:4]), ("test", names[4:5])):
        (texts / f"Flickr_8k.{split}Images.txt").write_text("\n".join(part) + "\n")
    (texts / "CrowdFlowerAnnotations.txt").write_text("".join(f"{name}\t{name}#2\t0.5\t1\t2\n" for name in names))
    (texts / "readme.txt").write_text("If you publish work based on these photos, please cite:\n")
    return tmp_path


def test_the_original_flickr8k(flickr8k: Path, capsys: pytest.CaptureFixture) -> None:
    findings = Findings()
    found = read_captioned(flickr8k, findings)
    assert set(found.captions.values()) == {("A dog , 0 .", "A dog , 1 .")}
    assert "Flickr8k_text/Flickr8k.token.txt, lines name#number" in capsys.readouterr().out
    splits = {path.name[0]: split for path, split in found.splits.items()}
    assert splits == {"0": "train", "1": "train", "2": "train", "3": "val", "4": "test"}
    assert findings.sentences == []


def test_a_photo_in_two_lists_is_refused_and_one_that_is_gone_is_named(flickr8k: Path) -> None:
    train = flickr8k / "Flickr8k_text" / "Flickr_8k.trainImages.txt"
    train.write_text(train.read_text() + "gone.jpg\n")
    findings = Findings()
    read_captioned(flickr8k, findings)
    assert [(one.name, one.reason) for one in findings.left_out] == [
        ("gone.jpg (Flickr_8k.trainImages.txt, line 4)", "in a list of photos, and not here")
    ]
    train.write_text(train.read_text() + "4_abc.jpg\n")
    with pytest.raises(InputError, match=r"4_abc\.jpg in (train|test) .*give each photo one split"):
        read_captioned(flickr8k, Findings())
