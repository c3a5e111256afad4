"""The search page under load: many visitors at once, each answer compared with the engine's, and the server's memory.

Visitors search with words, look at photos, drop photos of their own, walk through all photos, and ask nonsense. Each is
a thread with a browser's habits: one connection, a cookie.
"""

import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from tiny_run import draw_photo, make_tiny_run
from torture.rows import Row

from helpers.environment import project_root, resident_memory
from helpers.search.display import read_upload
from helpers.search.engine import PhotoSearch
from helpers.search.web import COUNTS, KEPT, key_of

CARD = re.compile(r'class="shown" href="/photos/([0-9a-f]{16})')
NONSENSE = ("?!", "<script>alert(1)</script> dog", "💃", "\x00\x1b", "a" * 999, "'; drop table photos; --")
DRAWN = 80  # photos that visitors drop: more than the page keeps


@dataclass
class Answers:
    """What visitors found."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # of the server in bytes, now and then


class Load:
    """Questions of which the answers are known, from the engine itself.

    Args:
        engine: over the run that the page at `address` is opened over.
        address: of the page, without the token.
        token: that lets visitors in.
        texts: different texts that are asked.
    """

    def __init__(self, engine: PhotoSearch, address: str, token: str, texts: int = 100) -> None:
        self.address, self.token = address, token
        self.keys = [key_of(id_) for id_ in engine.photos]
        captions = [photo.captions[0] for photo in engine.photos.values()]
        self.texts = {
            text: [key_of(hit.photo.id) for hit in engine.search(text, k=COUNTS[0])]
            for text in random.Random(0).choices(captions, k=texts)
        }
        with tempfile.TemporaryDirectory() as folder:
            drawn = [draw_photo(Path(folder) / f"{n}.jpg", 1000 + n).read_bytes() for n in range(DRAWN)]
        self.photos = [
            (content, [key_of(hit.photo.id) for hit in engine.search(photo=read_upload("p", content), k=COUNTS[0])])
            for content in drawn
        ]

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        """One who came with the token."""
        with httpx.Client(base_url=self.address, headers={"Origin": self.address}, timeout=120) as client:
            client.get("/", params={"token": self.token}).raise_for_status()
            yield client

    def words(self, client: httpx.Client, chance: random.Random) -> str:
        """Search with words; what is wrong with the answer, if anything is."""
        text, expected = chance.choice(list(self.texts.items()))
        answer = client.get("/", params={"words": text})
        return "" if (answer.status_code, CARD.findall(answer.text)) == (200, expected) else f"wrong hits for {text}"

    def drop(self, client: httpx.Client, chance: random.Random) -> str:
        """Search with a photo."""
        content, expected = chance.choice(self.photos)
        answer = client.post("/dropped", files={"photo": ("mine.jpg", content)}, follow_redirects=True)
        return "" if (answer.status_code, CARD.findall(answer.text)) == (200, expected) else "wrong hits for a photo"

    def look(self, client: httpx.Client, chance: random.Random) -> str:
        """Open a photo's page, and the pictures on it."""
        key = chance.choice(self.keys)
        answer = client.get(f"/photos/{key}")
        if answer.status_code != 200 or key in CARD.findall(answer.text):
            return f"page of photo {key}: {answer.status_code}"
        for picture in [f"/pictures/large/{key}.jpg", *re.findall(r'src="(/pictures/small/[^"?]+)', answer.text)[:4]]:
            if client.get(picture).headers.get("content-type") != "image/jpeg":
                return f"no picture at {picture}"
        return ""

    def walk(self, client: httpx.Client, chance: random.Random) -> str:
        """A page of all photos."""
        pages = -(-len(self.keys) // COUNTS[0])
        page = chance.randint(1, pages)
        answer = client.get("/", params={"page": page})
        return "" if CARD.findall(answer.text) == self.keys[page - 1 :: pages] else f"wrong photos on page {page}"

    def nonsense(self, client: httpx.Client, chance: random.Random) -> str:
        """What has no answer gets a sentence."""
        text = chance.choice(NONSENSE)
        answer = client.get("/", params={"words": text, "model": chance.choice(["", "clip"])})
        fine = answer.status_code in (200, 400) and "<script>alert" not in answer.text
        return "" if fine else f"{answer.status_code} for {text!r}"

    def fill(self) -> None:
        """Fill the page's memories: all small pictures, and more dropped photos than it keeps."""
        with self.visitor() as client:
            for key in self.keys:
                client.get(f"/pictures/small/{key}.jpg").raise_for_status()
            for content, _ in self.photos[: KEPT + 1]:
                client.post("/dropped", files={"photo": ("mine.jpg", content)})

    def run(self, queries: int, visitors: int, memory: Callable[[], int] = lambda: 0) -> Answers:
        """`queries` questions by `visitors` at once; `memory` tells that of the server."""
        answers, lock = Answers(), threading.Lock()
        kinds = [self.words] * 14 + [self.look] * 2 + [self.drop] * 2 + [self.walk, self.nonsense]
        turns = iter(range(queries))

        def visit(number: int) -> None:
            chance = random.Random(number)
            with self.visitor() as client:
                while True:
                    with lock:
                        turn = next(turns, None)
                        if turn is None:
                            return
                        if turn % max(1, queries // 50) == 0:
                            answers.memory.append(memory())
                    began = time.perf_counter()
                    try:
                        wrong = chance.choice(kinds)(client, chance)
                    except Exception as error:  # of whatever kind: it is counted
                        wrong = f"{type(error).__name__}: {error}"
                    answers.seconds.append(time.perf_counter() - began)
                    if wrong:
                        answers.errors.append(wrong)

        threads = [threading.Thread(target=visit, args=[number]) for number in range(visitors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers.memory.append(memory())
        return answers


def rows(outputs: Path, queries: int = 10_000, visitors: int = 20) -> list[Row]:
    """The page of the run in `outputs`, in a process of its own, under load."""
    command = [sys.executable, "-m", "helpers.search.app", f"--outputs={outputs}", "--no-browser", "--port=8900"]
    process = subprocess.Popen(command, cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "the page did not start"
            found = re.search(r"(http://[^/]+)/\?token=(\S+)", line)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        load = Load(PhotoSearch(outputs), *found.groups())
        load.fill()
        load.run(queries // 10, visitors)  # until all that is remembered is there
        began = time.perf_counter()
        answers = load.run(queries, visitors, lambda: resident_memory(process.pid))
        taken = time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)
    first, last, most = answers.memory[0], answers.memory[-1], max(answers.memory)
    milliseconds = 1000 * np.percentile(answers.seconds, [50, 95])
    outcome = (
        f"{len(answers.errors)} wrong or refused; {queries / taken:.0f} a second, median {milliseconds[0]:.0f} ms, "
        f"95 in 100 within {milliseconds[1]:.0f} ms; memory {first / 2**20:.0f} MB before, {last / 2**20:.0f} after, "
        f"at most {most / 2**20:.0f}"
    )
    ok = not answers.errors and abs(last / first - 1) <= 0.05 and most < 2 * 2**30
    print(*sorted(set(answers.errors))[:10], sep="\n")
    return [Row(f"the search page, {visitors} visitors at once", len(answers.seconds), outcome, "page", ok)]


def rows_of_a_run() -> list[Row]:
    """The sample's page, if there is a finished run of it, else that of a run in miniature."""
    outputs = project_root() / "outputs" / "sample"
    if (outputs / "search" / "metrics.json").exists():
        return rows(outputs)
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_run(Path(folder))
        return rows(Path(folder))
