"""What the guarding costs: all that was added so that nothing is lost, as a share of the run, or the query, it guards.

Both sides are measured here, the guarded way and the plain one, in processor time of this process and in turns, so that
other work on the machine counts for neither; only waiting for the disk is wall time. The counts are upper bounds: every
stage is taken to read every artefact of the run.
"""

import asyncio
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torture.rows import Row

from helpers import files
from helpers.artefacts import CHECKSUMS, MEBIBYTES
from helpers.chain.lock import run_lock
from helpers.data.images import load_photo
from helpers.data.manifest import load_manifest
from helpers.environment import project_root
from helpers.files import load_pickle, read_json, write_json
from helpers.search.engine import PhotoSearch
from helpers.search.guard import Guard

PHOTOS = 200  # that are read in both ways
TURNS = 5


def seconds(call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    """The median of a few calls."""
    taken = []
    for _ in range(TURNS):
        began = clock()
        call()
        taken.append(clock() - began)
    return statistics.median(taken)


def extra(guarded: Callable[[], Any], plain: Callable[[], Any]) -> float:
    """How many seconds one is slower than the other, called in turns."""
    pairs = []
    for _ in range(TURNS):
        began = time.process_time()
        guarded()
        middle = time.process_time()
        plain()
        pairs.append(2 * middle - began - time.process_time())
    return statistics.median(pairs)


def of_a_run(outputs: Path) -> Row:
    """The chain of notebooks, from a finished run in `outputs`."""
    records = read_json(outputs / "run_state.json")
    sealed = [place.parent / name for place in outputs.rglob(CHECKSUMS) for name in read_json(place)]
    epochs = sum(str(path.read_text(encoding="utf-8")).count('"seconds"') for path in outputs.rglob("history.json"))
    photos = load_manifest(outputs).photos
    some = [photo.path for photo in photos[:PHOTOS]]

    def hash_all() -> None:
        files._digests.clear()
        for path in sealed:
            files.digest(path, MEBIBYTES)

    def plainly() -> None:
        for path in some:
            with Image.open(path) as photo:
                photo.convert("RGB")

    (vectors,) = list((outputs / "features").glob("*.pkl"))[:1]
    with tempfile.TemporaryDirectory(dir=outputs) as place:
        weights = Path(place) / "weights"
        weights.write_bytes(np.random.default_rng(0).bytes(20_000_000))
        flushed = seconds(lambda: write_json(Path(place) / "state.json", {}, durable=True), time.monotonic)
        flushed += seconds(lambda: (weights.touch(), files.flush(weights)), time.monotonic)
        locked = seconds(lambda: run_lock(Path(place)).__enter__)
    parts = {
        "checksums": (len(records) + 1) * seconds(hash_all),  # each stage reads them, and they are written once
        "pickles": len(records) * extra(lambda: load_pickle(vectors), lambda: pickle.loads(vectors.read_bytes())),
        "photos": 6 * len(photos) * extra(lambda: [load_photo(path) for path in some], plainly) / len(some),
        "flushes": (epochs + 3 * len(records)) * flushed,
        "lock": locked,
    }
    whole = sum(record["seconds"] for record in records.values())
    share = 100 * sum(parts.values()) / whole
    told = f"{share:.2f} % of {whole:.0f} s ({', '.join(f'{name} {part:.2f} s' for name, part in parts.items())})"
    return Row("what guarding costs a run, at most", len(records), told, "cost", share <= 2)


def of_a_query(outputs: Path) -> Row:
    """A query of the page: host, token, origin, and headers, beside the search itself."""
    engine = PhotoSearch(outputs)
    text = next(iter(engine.photos.values())).captions[0]
    engine.search(text)
    search = seconds(lambda: engine.search(text))

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = [(b"host", b"127.0.0.1:8900"), (b"cookie", b"photo_search_8900=token")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"words=dog", "headers": headers}

    async def ignore(*_: Any) -> None:
        pass

    def ask(app: Any) -> Callable[[], None]:
        async def many() -> None:
            for _ in range(1000):
                await app(scope, ignore, ignore)

        return lambda: asyncio.run(many())

    taken = extra(ask(Guard(plain, "token", 8900)), ask(plain)) / 1000
    share = 100 * taken / search
    told = f"{share:.2f} % of a search ({1e6 * taken:.0f} µs of {1000 * search:.1f} ms of processor time)"
    return Row("what guarding costs a query of the page", 1000, told, "cost", share <= 2)


def rows() -> list[Row]:
    """Of the sample's run, which has to be there."""
    outputs = project_root() / "outputs" / "sample"
    if not (outputs / "album" / "metrics.json").exists():
        return [Row("what guarding costs a run", 0, "not played: there is no finished run (make run)", "cost", True)]
    return [of_a_run(outputs), of_a_query(outputs)]
