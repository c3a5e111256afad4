"""The same few photos as a folder, as tar files and as Parquet, with a few that cannot be used."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tiny_run import draw_photo

COUNT = 24


def caption(number: int) -> str:
    return f"A dog , number {number} , in the {('snow', 'grass', 'sea')[number % 3]} ."


def write_folder(folder: Path) -> Path:
    """COUNT photos in train/dog, test/dog and test/cat, one of them on its side, and two that are none."""
    for number in range(COUNT):
        place = ("train/dog", "test/dog", "test/cat")[number % 3]
        path = draw_photo(folder / place / f"{number:02d}.jpg", number)
        if number == 4:
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.open(path).save(path, exif=exif, quality=95)
    (folder / "test" / "cat" / "torn.jpg").write_bytes((folder / "test" / "cat" / "02.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no photo")
    return folder


def photos_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.jpg") if path.stem != "torn")


def write_tars(photos: list[Path], folder: Path, shards: int = 3) -> Path:
    """`photos` in tar files as WebDataset has them: a photo, a caption and a class under one name."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as archive:
            for path in photos[shard::shards]:
                number = int(path.stem)
                parts = {"jpg": path.read_bytes(), "txt": caption(number).encode(), "cls": path.parent.name.encode()}
                parts["json"] = json.dumps({"n": number}).encode()
                for suffix, content in parts.items():
                    add_member(archive, f"{path.stem}.{suffix}", content)
    return folder


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_parquet(photos: list[Path], folder: Path, shards: int = 2) -> Path:
    """`photos` as Hugging Face's data sets have them: a column of {bytes, path}."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        part = photos[shard::shards]
        columns = {
            "id": [path.stem for path in part],
            "image": [{"bytes": path.read_bytes(), "path": path.name} for path in part],
            "caption": [caption(int(path.stem)) for path in part],
            "label": [path.parent.name for path in part],
        }
        pq.write_table(pa.table(columns), folder / f"validation-{shard:05d}.parquet")
    return folder
