"""Folders, tar files and Parquet hold the same photos; what is damaged in them is told, and never a gap."""

import errno
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scale.many_photos import COUNT, add_member, caption, photos_of, write_folder, write_parquet, write_tars

from helpers.files import InputError, walk
from helpers.scale import sources
from helpers.scale.sources import Item, shards_of


def items(source: Path, size: int = 1000) -> list[Item]:
    return [item for shard in shards_of(source, size) for item in shard.items()]


def content(item: Item) -> bytes:
    return item.content if isinstance(item.content, bytes) else item.content.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos")


def test_the_three_kinds_hold_the_same_photos_with_what_is_known_of_them(folder: Path, tmp_path: Path) -> None:
    photos = photos_of(folder)
    expected = {path.read_bytes(): (path.parent.name, path.parent.parent.name) for path in photos}
    in_folder = [item for item in items(folder, size=7) if item.id.endswith(".jpg") and "torn" not in item.id]
    assert {content(item): (item.label, item.split) for item in in_folder} == expected
    for write, split in ((write_tars, "train"), (write_parquet, "val")):
        packed = items(write(photos, tmp_path / write.__name__))
        assert len({item.id for item in packed}) == len({item.key for item in packed}) == COUNT
        assert {content(item): item.label for item in packed} == {one: label for one, (label, _) in expected.items()}
        assert {item.split for item in packed} == {split}
        by_content = {path.read_bytes(): int(path.stem) for path in photos}
        assert all(item.caption == caption(by_content[content(item)]) for item in packed)


def test_a_folder_is_cut_into_shards_that_hold_every_file_once(folder: Path) -> None:
    shards = shards_of(folder, 7)
    found = [item for shard in shards for item in shard.items()]
    assert [len(shard.files) for shard in shards] == [7, 7, 7, 5] and len({shard.name for shard in shards}) == 4
    assert sorted(item.id for item in found) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    assert {item.id: item.problem for item in found if item.problem} == {"notes.txt": "not an image"}


def test_the_stamp_of_a_shard_changes_with_its_files_alone(folder: Path) -> None:
    before = shards_of(folder, 7)
    (folder / "train" / "dog" / "03.jpg").write_bytes(b"another photo")
    after = shards_of(folder, 7)
    changed = [one.name for one, other in zip(before, after, strict=True) if one.stamp != other.stamp]
    assert changed == [one.name for one in after if ("train/dog/03.jpg", "") in one.files]


def test_a_torn_tar_gives_what_is_whole_and_says_that_it_ended(folder: Path, tmp_path: Path) -> None:
    tars = write_tars(photos_of(folder), tmp_path / "tars", shards=1)
    (path,) = tars.iterdir()
    whole = items(tars)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    *found, last = items(tars)
    assert 5 < len(found) < COUNT and [item.id for item in found] == [item.id for item in whole[: len(found)]]
    assert last.id == path.name and last.problem.startswith(f"the rest of the file cannot be read after {len(found)} p")
    path.write_bytes(b"no archive at all")
    (only,) = items(tars)
    assert only.problem.startswith("the rest of the file cannot be read after 0 photos")


def test_an_archive_that_a_disk_fails_to_give_is_not_taken_for_a_torn_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() > 20_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    (shard,) = shards_of(write_tars(photos_of(folder), tmp_path / "tars", shards=1))
    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(path, mode))
    found = shard.items()
    assert next(found).caption
    with pytest.raises(InputError, match=r"\.tar could not be loaded \(Input/output error\).* and run this again\."):
        list(found)


@pytest.mark.parametrize(("said", "told"), [("it ends early @ <x.tar>", "it ends early"), (" @ <x.tar>", "EOFError")])
def test_what_is_said_of_a_torn_tar_is_the_reason_and_not_the_file_object(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    def torn(*_: object) -> Iterator[Item]:
        raise EOFError(said)
        yield

    monkeypatch.setattr(sources, "_of_tar", torn)
    (only,) = items(write_tars(photos_of(folder), tmp_path / "tars", shards=1))
    assert only.problem.endswith(f"after 0 photos ({told})")


def test_members_that_make_no_photo_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        for name in ("a.txt", "b.seg.png", "plain"):
            add_member(archive, name, b"x")
    found = {item.id: item.problem for item in items(tmp_path)}
    assert found["odd.tar/a"] == "no photo among its files" and found["odd.tar/b"] == ""
    assert found["odd.tar/plain"].startswith("a file without a suffix")


def test_a_parquet_file_that_holds_no_photos_or_is_none_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"caption": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has 0 columns of bytes"):
        items(tmp_path)
    pq.write_table(pa.table({"one": [b"a"], "two": [b"b"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has 2 columns of bytes"):
        items(tmp_path)
    pq.write_table(pa.table({"jpg": [b"a", None], "mask": [b"b", b"c"]}), tmp_path / "a.parquet")
    assert [(item.id, item.content, item.problem) for item in items(tmp_path)] == [
        ("a.parquet:0", b"a", ""),
        ("a.parquet:1", b"", "no bytes"),
    ]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    (only,) = items(tmp_path)
    assert only.problem.startswith("the rest of the file cannot be read after 0 photos")


def test_hidden_and_system_files_are_none_of_a_source(folder: Path, tmp_path: Path) -> None:
    photo = (folder / "train" / "dog" / "00.jpg").read_bytes()
    write_parquet(photos_of(folder), folder / ".cache")
    assert {shard.kind for shard in shards_of(folder)} == {"folder"}

    tars = write_tars(photos_of(folder), tmp_path / "tars")
    shutil.copytree(tars, tars / ".Trash-1000" / "files")
    for name in ("._cover.jpg", "@eaDir/00.jpg"):
        (tars / name).parent.mkdir(exist_ok=True)
        (tars / name).write_bytes(photo)
    assert [shard.name for shard in shards_of(tars)] == ["train-000", "train-001", "train-002"]

    with tarfile.open(tmp_path / "mac.tar", "w") as archive:
        for name in ("./._00.jpg", "./00.jpg", "./00.txt", "./@eaDir/00.jpg", "__MACOSX/.x", ".DS_Store", "./plain"):
            add_member(archive, name, photo)
    assert [item.id for item in items(tmp_path / "mac.tar")] == ["mac.tar/./00", "mac.tar/./plain"]


def test_a_folder_that_is_called_like_an_archive_is_not_one(folder: Path, tmp_path: Path) -> None:
    """As Spark writes a table: a folder of that name, and its parts in it."""
    write_parquet(photos_of(folder), tmp_path / "table" / "photos.parquet")
    (tmp_path / "table" / "photos.parquet" / "_SUCCESS").touch()
    shards = shards_of(tmp_path / "table")
    assert [shard.name for shard in shards] == [f"photos.parquet/validation-{number:05d}" for number in range(2)]
    assert sum(not item.problem for shard in shards for item in shard.items()) == COUNT
    assert [shard.stamp for shard in shards_of(tmp_path / "table" / "photos.parquet")] != []


def test_what_cannot_be_a_source_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, said in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "There is no photo"),
        (folder / "notes.txt", r"is neither \.tar nor \.parquet"),
    ):
        with pytest.raises(InputError, match=said):
            shards_of(source)
    (folder / "one.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds photos, such as .*\.jpg, beside \.tar files"):
        shards_of(folder)
    (folder / "one.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds both \.parquet and \.tar"):
        shards_of(folder)


def test_archives_in_a_folder_that_cannot_be_opened_are_not_left_out_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    monkeypatch.setattr(sources, "walk", lambda source: [*walk(source), (tmp_path / "b", "Permission denied")])
    with pytest.raises(InputError, match=r"b cannot be read \(Permission denied\); put that right, or move it out of"):
        shards_of(tmp_path)
