"""Photos packed in other files: WebDataset's tars (`000.jpg` beside `000.txt`), and Parquet with the photos in it.

They are unpacked once, into a folder that is then read like any other. In it each file is a folder of its own name,
with the same folders above it: `train/0.tar` and `val/0.tar` stay apart, and tell their splits.
"""

import json
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from helpers.data.left_out import Findings
from helpers.data.readers.place import Place
from helpers.environment import progress
from helpers.files import InputError, atomic_path, check_space, fingerprint_folder, first_line, sweep_temporary

_LAID_OUT = "2"  # how photos lie where they are unpacked to: what was laid out otherwise is unpacked anew
_TARS = (".tar", ".gz", ".tgz")
_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)  # as readers of archives say it


def unpacked(place: Place, findings: Findings) -> Place | None:
    """The folder that the packed photos of a folder went to; None: it holds photos as they are, or nothing packed.

    Raises:
        InputError: a file is damaged, or there is no room for what is in it.
    """
    if place.photos or place.scratch is None:
        return None
    tars = [path for path in place.files(*_TARS) if _is_tar(path)]
    tables = [path for path in place.files(".parquet") if holds_photos(path)]
    if not (tars or tables):
        return None
    size = sum(path.stat().st_size for path in tars + tables)
    target = place.scratch / f"{place.folder.name}-{_LAID_OUT}-{fingerprint_folder(place.folder)}"
    sweep_temporary(place.scratch)  # of an unpacking that was killed: as much as all of the photos
    if not target.exists():
        check_space(place.scratch, size, "the unpacked photos", "data_dir")
        with atomic_path(target) as temporary:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()  # also where nothing comes out of them
            for tar in tars:
                _unpack_tar(tar, temporary / tar.relative_to(place.folder), findings)
            for table in tables:
                _unpack_parquet(table, temporary / table.relative_to(place.folder))
    findings.say(f"{', '.join(place.name(path) for path in (tars or tables)[:3])}: unpacked into {target}.")
    return Place(target, place.encoding)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _DAMAGE as error:  # its beginning is packed, and torn
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({first_line(error)}); get it again.")


def _unpack_tar(tar: Path, folder: Path, findings: Findings) -> None:
    """The plain files of a tar, each below `folder` whatever its name says."""
    try:
        with tarfile.open(tar) as archive:
            for member in progress(archive, f"unpacking {tar.name}", unit="file"):
                name = PurePosixPath(member.name)
                if member.isdir():
                    continue
                if any(path.anchor or ".." in path.parts for path in (name, PureWindowsPath(member.name))):
                    raise InputError(f"{tar} would write outside of its own folder ({member.name}); do not use it.")
                if not member.isfile():
                    findings.leave_out("file", f"{tar.name}: {member.name}", "not a plain file of its archive")
                    continue
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.extractfile(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except InputError:
        raise
    except _DAMAGE as error:
        raise _damaged(tar, error) from None
    except OSError as error:
        if error.errno is not None:  # of the disk, and not of what unpacks
            raise
        raise _damaged(tar, error) from None


# --- Parquet: pyarrow is large, and few have such files, so it is theirs to install ---


def read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    """The records of a Parquet file.

    Raises:
        InputError: the file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{path} is a Parquet file, and the package that reads those is not installed; run `pip install pyarrow`."
        ) from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def holds_photos(path: Path) -> bool:
    """Whether a Parquet file has photos in it, as Hugging Face's data sets do."""
    first = next(iter(read_parquet(path)), {})
    return _photo_field(first) is not None


def _photo_field(record: Mapping[str, Any]) -> str | None:
    return next((name for name, value in record.items() if _photo_bytes(value)), None)


def _photo_bytes(value: Any) -> bytes | None:
    content = value.get("bytes") if isinstance(value, Mapping) else value
    return content if isinstance(content, bytes) else None


def _unpack_parquet(path: Path, folder: Path) -> None:
    """Its photos as files in `folder`, and the other fields as JSON Lines beside that, where they are looked for."""
    folder.mkdir(parents=True)
    with folder.with_name(f"{folder.name}.jsonl").open("w", encoding="utf-8") as table:
        for number, record in enumerate(progress(read_parquet(path), f"unpacking {path.name}", unit="photo")):
            field = _photo_field(record)
            if field is None:
                continue
            photo = folder / f"{number:08}.photo"
            photo.write_bytes(_photo_bytes(record[field]))
            rest = {name: value for name, value in record.items() if name != field and not isinstance(value, bytes)}
            named = {"file_name": f"{folder.name}/{photo.name}"}  # whatever it was called elsewhere
            table.write(json.dumps(named | rest | named, ensure_ascii=False, default=str) + "\n")
