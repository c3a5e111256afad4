"""Embedding photos shard by shard: in this process, with Ray on all cores, or on a cluster by its address.

    tally = embed(Path("photos"), Path("embedded"), Recipe(Path("outputs/sample").resolve()))
    print(tally)   # 100,000 photos in 100 shards: 43 made now, 57 were there; 12 rejected: 9 not an image, 3 empty.

What is done is known by the files alone (`embedder.py`). Killed at any moment, here or on any machine, the same call
goes on with the shards that are missing; changed files, and other models, have theirs made again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.environment import cores, progress
from helpers.files import InputError, only_one, read_as, sweep_temporary, write_json
from helpers.scale.embedder import REJECTS, VECTORS, Done, Embedder, Recipe, shard_file
from helpers.scale.sources import SHARD_SIZE, Shard, shards_of

JOB = "embedding.json"


@dataclass(frozen=True)
class Job:
    """What a folder of embedded photos is made from: `embedding.json`."""

    source: str
    shards: list[str]


@dataclass
class Tally:
    """What `embed` did.

    Attributes:
        photos: that have a vector now.
        made, there: shards that were made now, and that were there.
        reasons: how many photos were rejected, by reason; each is in `rejects/`.
        seconds: of work on the shards that were made now, added up over all actors.
    """

    photos: int = 0
    made: int = 0
    there: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common(5))
        return (
            f"{self.photos:,} photos in {self.made + self.there:,} shards: {self.made:,} made now, {self.there:,} were "
            f"there; {self.reasons.total():,} rejected" + (f": {why}" if why else "") + "."
        )


def embed(
    source: Path,
    out: Path,
    recipe: Recipe,
    *,
    ray: str | None = None,
    threads: int | None = None,
    shard_size: int = SHARD_SIZE,
) -> Tally:
    """Embed the photos of `source`, as `sources.shards_of` reads them, into the folder `out`.

    Args:
        source: a folder of photos, of .tar or of .parquet files, or one such file.
        out: what was made before is there, and kept where it is still right.
        recipe: the models.
        ray: None: in this process; "local": with Ray on this machine's cores, started and stopped here; an address
            ("auto", "host:6379", "ray://host:10001"): on that cluster, which goes on.
        threads: of an embedder. None: in this process all cores, and with Ray see `on_ray.ACTOR_CORES`.
        shard_size: photos in a shard where the source is a folder of photos.

    Raises:
        InputError: something is missing or cannot be written, `out` is of another source, or another process is at it.
    """
    source, out = source.expanduser().resolve(), out.expanduser().resolve()
    if out == source or out.is_relative_to(source):
        raise InputError(f"{out} is in {source}, where its files would be taken for photos; choose another place.")
    shards = shards_of(source, shard_size)
    embedder = Embedder(recipe, threads or cores())
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out, f"embeds photos into {out}"):
        _begin(out, Job(str(source), [shard.name for shard in shards]))
        todo = [shard for shard in shards if made_from(shard_file(out, shard.name)) != embedder.made_from(shard)]
        tally = Tally(made=len(todo), there=len(shards) - len(todo))
        if ray is None:
            done: Iterator[Done] = (embedder(shard, out) for shard in todo)
        else:
            from helpers.scale.on_ray import on_ray  # here, since Ray takes 2 s to import

            done = on_ray(todo, out, recipe, None if ray == "local" else ray, threads)
        for one in progress(done, "embedding", total=len(todo), unit="shard"):
            tally.seconds += one.seconds
        sweep_temporary(out, hours=0)  # of workers that were killed
    _count(out, shards, tally)
    return tally


def made_from(path: Path) -> str | None:
    """What `Embedder.made_from` said of the shard when this file was written; None: it is not there, or damaged."""
    try:
        return (pq.read_schema(path).metadata or {}).get(b"made_from", b"").decode()
    except (OSError, pa.ArrowInvalid):
        return None


def _begin(out: Path, job: Job) -> None:
    """Note what is going to be there, and remove shards that the source does not have any more.

    Raises:
        InputError: `out` is of another source.
    """
    if (out / JOB).exists():
        before = read_as(Job, out / JOB, "the embedding")
        if before.source != job.source:
            raise InputError(f"{out} holds photos of {before.source}, and not of {job.source}; choose another place.")
        for name in set(before.shards) - set(job.shards):
            for kind in (VECTORS, REJECTS):
                (out / kind / f"{name}.parquet").unlink(missing_ok=True)
    sweep_temporary(out, hours=0)  # of a process that was killed
    write_json(out / JOB, {"source": job.source, "shards": job.shards})


def _count(out: Path, shards: Sequence[Shard], tally: Tally) -> None:
    for shard in shards:
        tally.photos += pq.read_metadata(shard_file(out, shard.name)).num_rows
        rejects = out / REJECTS / f"{shard.name}.parquet"
        if rejects.exists():
            reasons = pq.read_table(rejects, columns=["reason"])["reason"].to_pylist()
            tally.reasons.update(reason.split(" (")[0] for reason in reasons)
