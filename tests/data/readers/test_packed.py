"""WebDataset's tars, unpacked once and read like a folder."""

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from caption_tables import Table, expected, few, one_line, reads_or_refuses, tables
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@few
@given(tables(one_line))
def test_any_table_reads_back_the_same(table: Table) -> None:
    members = {}
    for number, texts in enumerate(table.values()):
        members |= {f"{number:05}.jpg": b"", f"{number:05}.txt": "\n".join(texts).encode(), f"{number:05}.cls": b"3"}
    with tempfile.TemporaryDirectory() as folder:
        write_tar(Path(folder) / "set" / "train-0000.tar", members)
        found = read_captioned(Path(folder) / "set", Findings(), scratch=Path(folder) / "scratch")
        assert list(found.captions.values()) == list(expected(table).values())


@few
@given(st.integers(0, 2000), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(place: int, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "a.tar"
        write_tar(tar, {"0.jpg": b"jpeg", "0.txt": b"A dog"})
        whole = tar.read_bytes()
        tar.write_bytes(whole[:place] + content + whole[place + len(content) :])
        reads_or_refuses(Path(folder))


def test_shards_with_the_same_names_are_kept_apart_and_unpacked_once(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.jpg").read_bytes()
    for shard in ("a-000", "a-001"):
        write_tar(tmp_path / "set" / f"{shard}.tar", {"0.jpg": photo, "0.txt": shard.encode()})
    for _ in range(2):  # the second time it is there already
        findings = Findings()
        found = read_captioned(tmp_path / "set", findings, scratch=tmp_path / "scratch")
        assert list(found.captions.values()) == [("a-000",), ("a-001",)]
        assert all(path.is_relative_to(tmp_path / "scratch") for path in found.captions)
        assert "unpacked into" in findings.notices[0]
    assert len(list((tmp_path / "scratch").iterdir())) == 1


@pytest.mark.parametrize("name", ["../out.jpg", "/out.jpg", "C:\\out.jpg", "a/../../out.jpg"])
def test_a_tar_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.jpg": b"jpeg", name: b"jpeg"})
    with pytest.raises(InputError, match="would write outside of its own folder"):
        read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert not list(tmp_path.rglob("*out.jpg"))


def test_a_tar_that_is_cut_off_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.txt": b"A dog", "0.jpg": b"x" * 5000})
    whole = (tmp_path / "set" / "a.tar").read_bytes()
    (tmp_path / "set" / "a.tar").write_bytes(whole[:3000])
    with pytest.raises(InputError, match=r"a\.tar is damaged"):
        read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert not list((tmp_path / "scratch").glob("*"))
