"""Embedding photos shard by shard: in this process, with Ray on all cores, or on a cluster by its address.

    tally = embed(Path("photos"), Path("embedded"), Recipe(Path("outputs/sample").resolve()))
    print(tally)   # 100,000 photos in 100 shards: 43 made now, 57 were there; 12 rejected: 9 not an image, 3 empty.

What is done is known by the files alone (`embedder.py`). Killed at any moment, here or on any machine, the same call
goes on with the shards that are missing; changed files have theirs made again. What other models made is overwritten
with `anew` alone: it may have taken days, and the half of it is of no use.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.environment import cores, pasted, progress
from helpers.files import InputError, at_home, only_one, read_as, sweep_temporary, write_json
from helpers.scale.embedder import REJECTS, VECTORS, Embedder, Recipe, shard_file
from helpers.scale.sources import SHARD_SIZE, Shard, shards_of

JOB = "embedding.json"


@dataclass(frozen=True)
class Job:
    """What a folder of embedded photos is made from: `embedding.json`.

    Attributes:
        source: where the photos are.
        shards: their names.
        shard_size: photos in each, where the source is a folder of photos.
    """

    source: str
    shards: list[str]
    shard_size: int = SHARD_SIZE


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
    anew: bool = False,
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
        anew: make shards of other models again with these.

    Raises:
        InputError: something is missing or cannot be written, `out` is of another source, or of other models and not to
            be made anew, or another process is at it.
    """
    source, out = at_home(source).resolve(), at_home(out).resolve()
    if out == source or out.is_relative_to(source):
        raise InputError(f"{out} is in {source}, where its files would be taken for photos; choose another place.")
    shards = shards_of(source, shard_size)
    embedder = Embedder(recipe, threads or cores())
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out, f"embeds photos into {out}"):
        known = _begin(out, Job(str(source), [shard.name for shard in shards], shard_size), embedder.facts, anew)
        todo = [shard for shard in shards if known[shard.name].get("made_from") != embedder.made_from(shard)]
        if again := sum(bool(known[shard.name]) for shard in todo):
            print(f"{again:,} shards are there, of another model or of other photos or numbers, and are made again.")
        tally = Tally(made=len(todo), there=len(shards) - len(todo))
        if ray is None:
            done: Iterator[float] = (embedder(shard, out) for shard in todo)
        else:
            from helpers.scale.on_ray import on_ray  # here, since Ray takes 2 s to import

            done = on_ray(todo, out, recipe, None if ray == "local" else ray, threads)
        for seconds in progress(done, "embedding", total=len(todo), unit="shard"):
            tally.seconds += seconds
        sweep_temporary(out, hours=0)  # of workers that were killed
    _count(out, shards, tally)
    return tally


def facts_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What the file of a shard says of its making, see `Embedder.facts`; earlier versions wrote only a part of it."""
    return {name.decode(): value.decode(errors="replace") for name, value in (metadata or {}).items()}


def command(out: Path, job: Job, options: str | None, anew: bool = False) -> str:
    """What goes on with shards in `out` that were made with these options; None: nobody has noted with which."""
    words = [pasted(["python", "-m", "helpers.scale", "embed", job.source, str(out)]), options or "--run … --model …"]
    words += [f"--shard-size {job.shard_size}"] if job.shard_size != SHARD_SIZE else []
    words += ["--anew"] if anew else []
    return f"`{' '.join(words)}`"


def _begin(out: Path, job: Job, facts: Mapping[str, str], anew: bool) -> dict[str, dict[str, str]]:
    """Note what is going to be there, and remove shards that the source does not have any more.

    Returns:
        What the file of each shard says of its making; nothing, where it is not there, or damaged.

    Raises:
        InputError: `out` is of another source, or of other models and not to be made anew.
    """
    before = read_as(Job, out / JOB, "the embedding") if (out / JOB).exists() else job
    if before.source != job.source:
        raise InputError(f"{out} holds photos of {before.source}, and not of {job.source}; choose another place.")
    known = {name: _facts_of(shard_file(out, name)) for name in dict.fromkeys([*before.shards, *job.shards])}
    if not anew:
        _check_models(out, before, list(filter(None, known.values())), facts)
    for name in set(before.shards) - set(job.shards):
        for kind in (VECTORS, REJECTS):
            (out / kind / f"{name}.parquet").unlink(missing_ok=True)
    sweep_temporary(out, hours=0)  # of a process that was killed
    write_json(out / JOB, asdict(job))
    return known


def _facts_of(path: Path) -> dict[str, str]:
    try:
        return facts_in(pq.read_schema(path).metadata)
    except (OSError, pa.ArrowInvalid):
        return {}


def _check_models(out: Path, job: Job, there: Sequence[Mapping[str, str]], facts: Mapping[str, str]) -> None:
    """Vectors of two models cannot be compared, and captions of two in one list would mislead."""
    for kind, name in (("fingerprint", "model"), ("captioner", "captioner")):
        others = [one for one in there if one.get(kind, facts[kind]) != facts[kind]]
        if others:
            options = others[0].get("options")
            if options == facts["options"]:
                way = "it was trained again since:"
            else:
                way = f"go on with that one by {command(out, job, options)}, or"
            raise InputError(
                f"{len(others):,} of {len(there):,} shards in {out} were made by another {name} ({others[0][kind]}) "
                f"than the one in use ({facts[kind]}); {way} add --anew to make them again with this one."
            )


def _count(out: Path, shards: Sequence[Shard], tally: Tally) -> None:
    for shard in shards:
        tally.photos += pq.read_metadata(shard_file(out, shard.name)).num_rows
        rejects = out / REJECTS / f"{shard.name}.parquet"
        if rejects.exists():
            reasons = pq.read_table(rejects, columns=["reason"])["reason"].to_pylist()
            tally.reasons.update(reason.split(" (")[0] for reason in reasons)
