"""WebDataset's tars, unpacked once and read like a folder."""

import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from caption_tables import Table, expected, few, one_line, reads_or_refuses, tables
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_photo

from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.files import InputError, atomic_path


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


@pytest.mark.parametrize(
    "shards", [("train/00000.tar", "val/00000.tar"), ("set.train.tar", "set.val.tar"), ("a/b/train/0.tgz", "val/0.tar")]
)
def test_shards_called_alike_keep_all_of_their_photos_and_tell_their_splits(
    tmp_path: Path, shards: tuple[str, str]
) -> None:
    photo = write_photo(tmp_path / "photo.jpg").read_bytes()
    for shard, split in zip(shards, ("train", "val"), strict=True):
        write_tar(
            tmp_path / "set" / shard, {"0.jpg": photo, "0.txt": split.encode(), "1.jpg": photo, "1.txt": b"A dog"}
        )
    found = read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    told = sorted((found.splits[path], path.name, *texts) for path, texts in found.captions.items())
    assert told == [
        ("train", "0.jpg", "train"),
        ("train", "1.jpg", "A dog"),
        ("val", "0.jpg", "val"),
        ("val", "1.jpg", "A dog"),
    ]


def test_parquet_shards_called_alike_keep_all_of_their_photos(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed; few have Parquet files")
    parquet = pytest.importorskip("pyarrow.parquet")
    photo = write_photo(tmp_path / "photo.jpg").read_bytes()
    shards = ("a/b/train/0000.parquet", "a/b/train/0001.parquet", "a/b/test/0000.parquet")
    for shard in shards:
        (tmp_path / "set" / shard).parent.mkdir(parents=True, exist_ok=True)
        columns = {"image": [{"bytes": photo}], "caption": [f"In {shard}"], "file_name": ["000042.jpg"]}
        parquet.write_table(pyarrow.table(columns), tmp_path / "set" / shard)
    found = read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert {(*texts, found.splits[path]) for path, texts in found.captions.items()} == {
        (f"In {shard}", shard.split("/")[2]) for shard in shards
    }


@pytest.mark.parametrize("name", ["../out.jpg", "/out.jpg", "C:\\out.jpg", "a/../../out.jpg"])
def test_a_tar_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.jpg": b"jpeg", name: b"jpeg"})
    with pytest.raises(InputError, match=r"a\.tar would write outside of its own folder \(.*\); do not use it\.$"):
        read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert not list(tmp_path.rglob("*out.jpg"))


def test_a_tar_that_is_cut_off_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.txt": b"A dog", "0.jpg": b"x" * 5000})
    whole = (tmp_path / "set" / "a.tar").read_bytes()
    (tmp_path / "set" / "a.tar").write_bytes(whole[:3000])
    with pytest.raises(InputError, match=r"a\.tar is damaged"):
        read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert not list((tmp_path / "scratch").glob("*"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_tar_that_is_torn_or_changed_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    write_tar(tmp_path / "plain.tar", {"0.txt": b"A dog", "0.jpg": b" ".join(b"%d" % n for n in range(40_000))})
    whole = pack((tmp_path / "plain.tar").read_bytes())
    middle = len(whole) // 2
    torn, changed = whole[:middle], whole[:middle] + b"\xff" * 400 + whole[middle + 400 :]
    for content, said in (
        (whole[:20], "is damaged|holds no photos"),
        (torn, r"a\.tar is damaged \(.*\); get it again\.$"),
        (changed, "is damaged"),
    ):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "a.tar").write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
        assert not list((tmp_path / "scratch").glob("*"))


def test_a_tar_of_nothing_is_a_folder_without_photos(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {})
    for _ in range(2):
        with pytest.raises(InputError, match=r"set holds no photos; give a folder with photos"):
            read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")


def test_photos_that_do_not_fit_name_the_setting_of_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.jpg": b"jpeg", "0.txt": b"A dog"})
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"The unpacked photos need .* choose another place with data_dir\.$"):
        read_captioned(tmp_path / "set", Findings(), scratch=tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_what_a_killed_unpacking_left_is_swept_unless_somebody_is_at_work_on_it(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"0.jpg": write_photo(tmp_path / "a.jpg").read_bytes(), "0.txt": b"A dog"})
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    scratch = tmp_path / "scratch"

    def left(name: str, newest: float) -> Path:
        """A folder as an unpacking leaves it; all of it is a day old but its last photo."""
        photo = write_photo(scratch / name / "a-000" / "1.jpg")
        for path in (photo.with_name("0.jpg"), photo.parent, photo.parent.parent):
            path.touch()
            os.utime(path, (time.time() - 86400, time.time() - 86400))
        os.utime(photo, (time.time() - newest, time.time() - newest))
        return scratch / name

    gone = [left(f".set-0a1b.{dead.pid}.writing", 7200), left(f".set.{dead.pid}.writing.v1-0a1b", 7200)]
    kept = [
        left(f".set-9f9f.{dead.pid}.writing", 60),  # of a machine that shares the disk, perhaps
        left(f".set-0a1b.{os.getpid()}.writing", 7200),
        left("set-0a1b", 7200),
        left(".set.2024", 7200),
    ]
    for _ in range(2):
        read_captioned(tmp_path / "set", Findings(), scratch=scratch)
        assert not any(path.exists() for path in gone)
        assert all((path / "a-000" / "1.jpg").exists() for path in kept)
        left(gone[0].name, 7200)  # which is looked for also where nothing is to be unpacked any more


def test_what_cannot_get_its_name_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder has this name"), atomic_path(tmp_path / "set") as temporary:
        write_photo(temporary / "0.jpg")
        write_photo(tmp_path / "set" / "0.jpg")  # another process was faster
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
