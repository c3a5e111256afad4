"""What was embedded: vectors and what is known of their photos, read shard by shard, since all at once may not fit.

photos = Embedded(Path("embedded"))
len(photos), photos.width, photos.fingerprint
for rows in photos.batches():        # ids, vectors (N, D) and a table of captions, labels and splits
    index.add(rows.ids, rows.vectors, rows.about)
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.files import InputError, read_as, written_files
from helpers.scale.embedder import REJECT_SCHEMA, REJECTS, shard_file
from helpers.scale.embedding import JOB, Job, command, facts_in

ABOUT = ("caption", "label", "split")  # what an index keeps of a photo beside its id and vector
MADE_BY = "`python -m helpers.scale embed`"


class Rows(NamedTuple):
    """Some photos."""

    ids: list[str]
    vectors: np.ndarray  # float32 (N, D)
    about: pa.Table  # a column for each of ABOUT


class Embedded:
    """The photos that `embed` wrote to `folder`.

    Attributes:
        fingerprint: of the model that made the vectors.
        options: of `embed`, when it did; None: an earlier version did, and did not note them.

    Raises:
        InputError: there are none, some shards are missing or damaged, or two models made them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        job = read_as(Job, folder / JOB, MADE_BY)
        self._files: list[Path] = []
        made: dict[str, str | None] = {}  # fingerprint -> options
        fingerprints: set[str] = set()
        self._count, missing = 0, 0
        for name in job.shards:
            path = shard_file(folder, name)
            try:
                footer = pq.read_metadata(path)
            except (OSError, pa.ArrowInvalid):
                missing += 1
                continue
            facts = facts_in(footer.metadata)
            fingerprint = facts.get("fingerprint", "")
            made.setdefault(fingerprint, facts.get("options"))
            if footer.num_rows:
                self._files.append(path)
                fingerprints.add(fingerprint)
                self._count += footer.num_rows
        commands = [command(folder.resolve(), job, options, anew=len(made) > 1) for options in made.values() or [None]]
        again = f"run {' or '.join(dict.fromkeys(commands))}"
        if missing:
            raise InputError(f"{missing:,} of {len(job.shards):,} shards are not in {folder} yet; {again}.")
        if len(fingerprints) > 1:
            raise InputError(f"Two models made the vectors in {folder}; for all to be of one, {again}, to its end.")
        if not fingerprints:
            raise InputError(f"No photo of {job.source} could be read; why, is told in {folder / REJECTS}.")
        (self.fingerprint,) = fingerprints
        self.options = made[self.fingerprint]

    def __len__(self) -> int:
        return self._count

    @cached_property
    def width(self) -> int:
        """Numbers in a vector."""
        return pq.read_schema(self._files[0]).field("vector").type.list_size

    def batches(self, size: int = 8192) -> Iterator[Rows]:
        """All photos, in the order of the shards, `size` of them or fewer at a time."""
        for path in self._files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(size, columns=["id", "vector", *ABOUT]):
                    table = pa.Table.from_batches([batch])
                    yield Rows(table["id"].to_pylist(), _vectors(table, self.width), table.select(ABOUT))

    def sample(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """About `count` rows (N,) and their vectors (N, D), drawn evenly from all; all, where there are fewer."""
        rng, rows, drawn, first = np.random.default_rng(seed), [], [], 0
        for path in self._files:
            table = pq.read_table(path, columns=["vector"])
            chosen = np.flatnonzero(rng.random(len(table)) < count / len(self))
            rows.append(first + chosen)
            drawn.append(_vectors(table.take(chosen), self.width))
            first += len(table)
        return np.concatenate(rows), np.concatenate(drawn)

    def captions(self, count: int, seed: int) -> list[str]:
        """Captions of about `count` photos, drawn evenly from all; of those among them that have one."""
        rng, drawn = np.random.default_rng(seed), []
        for path in self._files:
            captions = pq.read_table(path, columns=["caption"])["caption"]
            chosen = np.flatnonzero(rng.random(len(captions)) < count / len(self))
            drawn += captions.take(pa.array(chosen)).drop_null().to_pylist()
        return drawn

    def rejects(self) -> pa.Table:
        """What could not be used, and why: id, key, reason."""
        files = written_files(self.folder / REJECTS, "*.parquet")
        return pa.concat_tables([REJECT_SCHEMA.empty_table(), *(pq.read_table(path) for path in files)])


def _vectors(table: pa.Table, width: int) -> np.ndarray:
    column = table["vector"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
