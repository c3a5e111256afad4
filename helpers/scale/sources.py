"""Where photos come from when there are many: a folder, tar files as WebDataset cuts them, or Parquet with image bytes.

Each is cut into shards, the unit of work: what is embedded by one task, written as one file, and skipped when that file
is there. A tar or a Parquet file is a shard; a folder is cut into runs of its sorted photos. A shard is a few names and
can be sent to another machine, which opens the files there: they must lie under the same path on all machines. Hidden
and system files are passed over in all of them, as everywhere.

A source may also say of a photo what was known before any model saw it:

    caption   `.txt` beside it in the tar; the column `caption`
    label     the name of its folder; `.cls` in the tar; the column `label`
    split     train, val (or validation) or test in the path of the photo, tar or Parquet file; the column `split`
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.data.images import SUFFIXES, find_photos
from helpers.data.manifest import split_called
from helpers.files import InputError, first_line, is_hidden, of_the_machine, there, walk

SHARD_SIZE = 1000  # photos of a folder in a shard
IMAGE_COLUMNS = ("image", "photo", "bytes", "jpg")  # which is it, where a Parquet file has several of bytes
_ROWS = 64  # of Parquet at a time: a row is a whole photo
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)  # as readers of archives say it


@dataclass(frozen=True)
class Item:
    """A photo that is to be embedded, or what is in its place and cannot be.

    Attributes:
        id: no other photo of the source has it.
        key: its path below the folder, or where in which shard it lies.
        content: where it can be read, or its bytes.
        problem: why it is no photo; "" if nothing is known against it.
    """

    id: str
    key: str
    content: Path | bytes = b""
    caption: str | None = None
    label: str | None = None
    split: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Shard:
    """A part of a source.

    Attributes:
        name: no other shard has it; its files have this name.
        kind: how to read it.
        root: the folder of the source.
        files: (path below root, what is known against it): the photos, or the one file that holds them.
        stamp: changes when a file is added, removed or written to.
    """

    name: str
    kind: Literal["folder", "tar", "parquet"]
    root: Path
    files: tuple[tuple[str, str], ...]
    stamp: str

    def items(self) -> Iterator[Item]:
        """The photos of the shard one after the other; of an archive that ends early, the last says so.

        Raises:
            InputError: the archive could not be read for a reason that is not in it, or it holds no photos.
        """
        if self.kind == "folder":
            for name, problem in self.files:
                yield _of_folder(self.root, name, problem)
            return
        ((name, _),) = self.files
        read, count = (_of_tar if self.kind == "tar" else _of_parquet), 0
        try:
            for item in read(self.root / name, name):
                count += 1
                yield item
        except InputError:
            raise
        except _DAMAGE as error:
            if spared := of_the_machine(error, self.root / name):  # whole photos would else never be asked for again
                raise spared from None
            said = str(error).partition(" @ ")[0].strip()  # what follows is the file object, told by WebDataset
            reason = first_line(said or type(error).__name__)
            problem = f"the rest of the file cannot be read after {count:,} photos ({reason})"
            yield Item(name, name, problem=problem)


def shards_of(source: Path, size: int = SHARD_SIZE) -> list[Shard]:
    """Cut `source`, a folder of one kind of files or one such file, into shards.

    Raises:
        InputError: there is nothing that could be read, or there are files of several kinds.
    """
    source = source.resolve()
    if not there(source.exists):
        raise InputError(f"{source} does not exist; give a folder of photos, of .tar or of .parquet files.")
    found = {source: None} if source.is_file() else dict(walk(source))
    paths = sorted(path for path, problem in found.items() if problem is None)
    archives = [path for path in paths if path.suffix.lower() in (".tar", ".parquet")]
    kinds = sorted({path.suffix.lower() for path in archives})
    if len(kinds) > 1:
        raise InputError(f"{source} holds both .parquet and .tar files; give a folder with one kind of them.")
    if archives:
        root = source if source.is_dir() else source.parent
        kind = "tar" if kinds == [".tar"] else "parquet"
        names = [path.relative_to(root).as_posix() for path in archives]
        if beside := next((path for path in paths if path.suffix.lower() in SUFFIXES), None):
            raise InputError(  # they would be left out without a word
                f"{source} holds photos, such as {beside}, beside .{kind} files; give a folder with one kind."
            )
        for path, problem in found.items():  # which may hold more of them
            if problem is not None:
                raise InputError(f"{path} cannot be read ({problem}); put that right, or move it out of {source}.")
        return [Shard(name.rpartition(".")[0], kind, root, ((name, ""),), _stamp(root, [name])) for name in names]
    if source.is_file():
        raise InputError(f"{source} is neither .tar nor .parquet; give such a file, or a folder of photos.")
    found = find_photos(source)
    if not found.photos:
        raise InputError(f"There is no photo in {source}; give a folder of photos, of .tar or of .parquet files.")
    known = {path.relative_to(source).as_posix(): "" for path in found.photos}
    known |= {path.relative_to(source).as_posix(): problem for path, problem in found.passed_over.items()}
    files = sorted(known.items())
    parts = [tuple(files[first : first + size]) for first in range(0, len(files), size)]
    return [
        Shard(f"part-{number:05d}", "folder", source, part, _stamp(source, [name for name, _ in part]))
        for number, part in enumerate(parts)
    ]


def _stamp(root: Path, names: Sequence[str]) -> str:
    together = hashlib.sha256()
    for name in names:
        try:
            status = (root / name).stat()
            together.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:  # a link to nothing, which is rejected when it is read
            together.update(f"{name!r}\n".encode())
    return together.hexdigest()[:12]


def _of_folder(root: Path, name: str, problem: str) -> Item:
    folder = name.rpartition("/")[0]
    label = folder.rpartition("/")[2]
    return Item(name, name, root / name, label=label or None, split=_split_of(folder), problem=problem)


def _split_of(path: str) -> str | None:
    """The split that a path names: `photos/train/dogs`, `cc3m-validation-0012.tar`."""
    return next(filter(None, map(split_called, re.split(r"[^a-z]+", path.lower()))), None)


# --- WebDataset: members of a tar that have one name up to the first dot belong together ---


def _of_tar(path: Path, name: str) -> Iterator[Item]:
    from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_iterator  # here: it imports PyTorch

    nameless: list[str] = []

    def members(stream: Any) -> Iterator[dict[str, Any]]:
        for member in tar_file_iterator(stream):
            if any(part != ".." and is_hidden(part) for part in PurePosixPath(member["fname"]).parts):
                continue
            if base_plus_ext(member["fname"])[0] is None:
                nameless.append(member["fname"])
            yield member | {"__url__": name}

    with path.open("rb") as stream:
        for sample in group_by_keys(members(stream)):
            place = f"{name}/{sample['__key__']}"
            suffix = next((one for one in sample if "." + one.rpartition(".")[2] in SUFFIXES), None)
            caption, label = (_text(sample.get(one, b"")) for one in ("txt", "cls"))
            problem = "" if suffix else "no photo among its files"
            yield Item(place, place, sample.get(suffix, b""), caption, label, _split_of(name), problem)
    for member in nameless:
        place = f"{name}/{member}"
        yield Item(place, place, problem="a file without a suffix, which says what it is")


def _text(content: bytes) -> str | None:
    return content.decode("utf-8", errors="replace").strip() or None


# --- Parquet: a column of bytes, or of {bytes, path} as Hugging Face's data sets have it ---


def _of_parquet(path: Path, name: str) -> Iterator[Item]:
    with pq.ParquetFile(path) as file:
        image = _image_column(file.schema_arrow, path)
        known = [one for one in ("id", "caption", "label", "split") if one in file.schema_arrow.names]
        row = 0
        for batch in file.iter_batches(_ROWS, columns=[image, *known]):
            for content in batch.to_pylist():
                photo = content.pop(image)
                photo = photo.get("bytes") if isinstance(photo, dict) else photo
                about = {one: None if content.get(one) is None else str(content[one]) for one in known}
                place = f"{name}:{row}"
                own = about.pop("id", None)
                about["split"] = about.get("split") or _split_of(name)
                yield Item(own or place, place, photo or b"", problem="" if photo else "no bytes", **about)
                row += 1


def _image_column(schema: pa.Schema, path: Path) -> str:
    def holds_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    names = [field.name for field in schema if holds_bytes(field.type)]
    preferred = [name for name in IMAGE_COLUMNS if name in names] or names
    if not names or (len(names) > 1 and preferred == names):
        raise InputError(
            f"{path} has {len(names)} columns of bytes, and one must hold the photos; call it {IMAGE_COLUMNS[0]!r}."
        )
    return preferred[0]
