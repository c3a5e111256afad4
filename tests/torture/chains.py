"""The whole chain, on a very small sample, disturbed: killed at random moments and told to end, in all of its stages.

However often a run was ended, started again it has to come to the artefacts of a run that nobody disturbed: the same
weights, graphs in all precisions, features, indexes and figures, byte by byte; only times may differ.
"""

import json
import math
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from small_chain import Chain
from torture.rows import Paused, Row, piece

from helpers.files import fingerprint_files, read_json, write_json
from run_all import STAGES

SKIPPED = ("run.lock", "run_state.json", "checksums.json")  # times and stamps; what they are about is compared itself
TIMES = re.compile(r"second|_ms|/s$|^looked_at$|search ms|speed|ratio|^inputs$|^finished$")  # and what they are of
SIGNALS = {"SIGTERM": "Told to end.", "SIGINT": "Interrupted.", "SIGHUP": "The terminal was closed."}


# --- What a run left ---


def artefacts(outputs: Path) -> dict[str, Any]:
    """Name -> fingerprint, or content without times where it is JSON, of all that a run leaves for later use."""
    root, found = str(outputs.parent.parent), {}
    for path in sorted(path for path in outputs.rglob("*") if path.is_file()):
        name = path.relative_to(outputs).as_posix()
        if name.startswith("notebooks/") or path.name in SKIPPED or path.name.startswith("."):
            continue
        if path.suffix in (".png", ".html"):
            continue
        if path.suffix == ".json":
            found[name] = _without_times(json.loads(path.read_text(encoding="utf-8").replace(root, "")))
        elif path.suffix == ".db":
            found[name] = _rows(path)
        else:
            found[name] = fingerprint_files([path])
    return found


def _rows(path: Path) -> dict[str, list[str]]:
    """What is in the tables of an SQLite file, without times and places: its bytes tell how it came to be, too."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")] for table in tables}
    return {
        table: sorted(str({name: part for name, part in row.items() if name != "time"}) for row in some)
        for table, some in rows.items()
        if table != "settings"
    }


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        kept = {name: part for name, part in content.items() if not TIMES.search(name)}
        if isinstance(kept.get("photos"), str):  # the sizes and times of the photos that features were made from
            del kept["photos"]
        return {name: _without_times(part) for name, part in kept.items()}
    return [_without_times(part) for part in content] if isinstance(content, list) else content


def differences(outputs: Path, expected: dict[str, Any]) -> list[str]:
    """Names of artefacts that are not as expected, and of what should not be there at all."""
    found = artefacts(outputs)
    wrong = [name for name in sorted(found | expected) if found.get(name) != expected.get(name)]
    # Temporary files of killed runs are swept an hour later.
    return wrong + [f"left behind: {path.name}" for path in outputs.rglob(".*") if ".writing" not in path.name]


# --- Undisturbed ---


class QuickChain(Chain):
    """A small chain to which Java is not to be found.

    METEOR's program takes half of a captioner's stage here, and is no work of ours.
    """

    def start(self, *arguments: str, wrap: Sequence[str] = (), **settings: object) -> subprocess.Popen[str]:
        wrap = (*wrap, "env", f"PATH={Path(sys.executable).parent}")
        return super().start(*arguments, wrap=wrap, **settings)


def finished(folder: Path, *arguments: str) -> QuickChain:
    """A chain in `folder` that has run to its end; one that is there is used again."""
    chain = QuickChain(folder)
    if not (chain.outputs / "report.html").exists() or len(read_json(chain.outputs / "run_state.json")) < len(STAGES):
        run = chain.run(*arguments)
        if run.returncode != 0:
            raise RuntimeError(run.stdout + run.stderr)
    return chain


def repetition(folder: Path, end: float = math.inf) -> list[Row]:
    """The same run again, and with two stages side by side."""
    reference = finished(folder / "reference")
    expected = artefacts(reference.outputs)

    def play(test: str, jobs: str) -> list[Row]:
        chain = finished(folder / f"repetition_{jobs}", "--jobs", jobs)
        wrong = differences(chain.outputs, expected)
        told = "; ".join(wrong) or f"{len(expected)} artefacts the same (weights, graphs, INT8, indexes, figures)"
        return [Row(test, 1, told, "repetition", not wrong)]

    tests = {"1": "the same run again", "2": "the same run with two stages side by side"}
    return [row for jobs, test in tests.items() for row in piece("repetition", jobs, partial(play, test, jobs), end)]


# --- Disturbed ---


def tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """A run and everything it started."""
    with suppress(psutil.NoSuchProcess):
        run = psutil.Process(process.pid)
        return [run, *run.children(recursive=True)]
    return []


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    yield from process.stdout or ()


class Disturbance:
    """One chain that is ended again and again, `each` times in each stage of `seconds`, until it is complete.

    A moment is drawn from the seconds that a stage is known to take; where the stage was over before it came, or its
    kernel was ending already, from half of them the next time, and a stage that is over too soon for all of its turns
    is run again with --force. What was done is noted after each attempt in hits.json beside the project, and gone on
    from.

    `ways` are chosen from at random: "tree" kills a run and all that it started in the same moment, "run" run_all
    alone, "kernel" its kernel alone; else it is the name of a signal that run_all is sent.
    """

    def __init__(
        self, chain: Chain, seconds: dict[str, float], ways: list[str], each: int, seed: str, *arguments: str
    ) -> None:
        self.chain = chain
        self.seconds, self.ways, self.each = seconds, ways, each
        self.arguments = ("--jobs", "1", *arguments)
        self.note = chain.project.parent / "hits.json"
        known = read_json(self.note) if self.note.exists() else {}
        self.hits = Counter({(stage, way): count for stage, way, count in known.get("hits", [])})
        self.misses: Counter[str] = Counter(known.get("misses", {}))
        self.wrong: list[str] = known.get("wrong", [])
        self.attempts: int = known.get("attempts", 0)
        self.complete: bool = known.get("complete", False)
        self.judged: bool = known.get("judged", False)  # whether what it came to has been compared
        self.seed = seed

    def lacking(self) -> list[str]:
        """Stages that have not had all of their turns."""
        return [stage for stage in self.seconds if self.count(stage) < self.each]

    @property
    def done(self) -> bool:
        return bool(self.wrong) or (self.complete and not self.lacking())

    def run(self, end: float = math.inf) -> None:
        """Until it is complete and has had all turns, something is wrong, or `time.monotonic` says `end`."""
        while not self.done:
            if time.monotonic() > end:
                raise Paused
            self.random = random.Random(f"{self.seed} {self.attempts}")
            self.attempts += 1
            self.complete = self.attempt()
            if self.attempts == 3 * len(self.seconds) * self.each + 20 and not self.done:
                self.wrong.append("never came to its end")
            self.save()

    def save(self) -> None:
        hits = [[stage, way, count] for (stage, way), count in self.hits.items()]
        known = {"hits": hits, "misses": self.misses, "wrong": self.wrong}
        known |= {"attempts": self.attempts, "complete": self.complete, "judged": self.judged}
        write_json(self.note, known)

    def attempt(self) -> bool:
        """Start the chain, end it once in a stage that lacks a turn; whether it was left alone to its end."""
        again = ("--force", "--only", self.lacking()[0]) if self.complete else ()
        begun_at = time.time()
        process = self.chain.start(*self.arguments, *again)
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
        reader.start()
        timer = None
        way = self.random.choice(self.ways)
        hit: list[str] = []
        for line in lines(process):
            begun = re.search(r"\] (\w+?)_\w+  running", line)
            if begun and begun[1] in self.lacking():
                stage = begun[1]
                delay = self.random.uniform(0, 0.9 * self.seconds[stage]) / 2 ** self.misses[stage]
                timer = threading.Timer(delay, self.end, (process, way, stage, hit))
                timer.start()
            elif timer is not None and not hit and "done in" in line:  # the stage ended first
                timer.cancel()
                timer = None
                self.misses[stage] += 1
        process.wait()
        reader.join(10)
        if timer is not None:
            timer.cancel()
            timer.join()
        if hit and way == "kernel" and process.returncode == 0 and self.ran_whole(hit[0], begun_at):
            self.hits[hit.pop(), way] -= 1  # its kernel was killed as it ended, with its work done
            self.misses[stage] += 1
        elif hit:
            self.judge(process, way, "".join(errors), forced=bool(again))
        elif process.returncode != 0:
            self.wrong.append(f"ended by itself with {process.returncode}: {''.join(errors)[-300:]}")
        return not hit

    def ran_whole(self, stage: str, begun_at: float) -> bool:
        """Whether the executed copy was written since, and every cell of it that has code has run."""
        copy = next((self.chain.outputs / "notebooks").glob(f"{stage}_*.ipynb"))
        code = [cell for cell in read_json(copy)["cells"] if cell["cell_type"] == "code"]
        return copy.stat().st_mtime > begun_at and all(cell["execution_count"] is not None for cell in code)

    def count(self, stage: str) -> int:
        return sum(count for (name, _), count in self.hits.items() if name == stage)

    def end(self, process: subprocess.Popen[str], way: str, stage: str, hit: list[str]) -> None:
        processes = tree(process)
        if not processes or process.poll() is not None:
            return
        hit.append(stage)
        self.hits[stage, way] += 1
        if way == "tree":
            victims = processes
        elif way == "run":
            victims = processes[:1]
        elif way == "kernel":
            victims = [one for one in processes[1:] if one.ppid() == process.pid] or processes
        else:
            process.send_signal(getattr(signal, way))
            return
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()

    def judge(self, process: subprocess.Popen[str], way: str, errors: str, forced: bool) -> None:
        """Whether a run that was asked to end, or whose kernel died, ended as it should."""
        if way in SIGNALS:
            without = " without --force" if forced else ""
            up_to_date = ", and leaves alone what is up to date" if forced else ""
            known = (
                f"{SIGNALS[way]} Finished stages are kept; the same command{without} goes on from there{up_to_date}."
            )
            told = errors.strip()
            if process.returncode != 128 + getattr(signal, way) or told != known:
                self.wrong.append(f"{way} ended with {process.returncode}: {errors[-300:]!r}")
        elif way == "kernel" and ("Traceback" in errors or process.returncode not in (1, -signal.SIGKILL)):
            self.wrong.append(f"a dead kernel ended with {process.returncode}: {errors[-300:]!r}")


def disturb(folder: Path, ways: list[str], each: int, chains: int, seed: int, name: str, end: float) -> Row:
    """Chains ended in these ways in every stage, two at a time, against an undisturbed one."""
    reference = finished(folder / "reference")
    expected = artefacts(reference.outputs)
    records = read_json(reference.outputs / "run_state.json")
    seconds = {short: record["seconds"] for short, record in records.items()}

    def play(number: int) -> Disturbance:
        chain = QuickChain(folder / f"{name}_{seed}_{number}")
        one = Disturbance(chain, seconds, ways, each, f"{seed} {name} {number}")
        one.run(end)
        if not one.judged:
            one.wrong += differences(one.chain.outputs, expected)
            one.judged = True
            one.save()
            if not one.wrong:
                shutil.rmtree(one.chain.project)
        return one

    with ThreadPoolExecutor(2) as pool:
        played = list(pool.map(play, range(chains)))
    stages, kinds = Counter(), Counter()
    for (stage, way), count in (hit for one in played for hit in one.hits.items()):
        stages[stage] += count
        kinds[way] += count
    total = sum(stages.values())
    wrong = [what for one in played for what in one.wrong]
    words = {"tree": "run and kernels at once", "run": "run_all alone", "kernel": "a kernel alone"}
    told = "; ".join(wrong) or f"{total} of {total}: resumed to the {len(expected)} artefacts of an undisturbed run"
    told += f" (by stage: {', '.join(f'{stage.short} {stages[stage.short]}' for stage in STAGES)}; "
    told += f"{', '.join(f'{words.get(way, way)} {count}' for way, count in sorted(kinds.items()))})"
    return Row(f"{name} at random moments", total, told, f"{name} --seed {seed}", not wrong)


def kills(folder: Path, seed: int, end: float = math.inf, count: int = 100) -> list[Row]:
    """At least `count` kills: five in each stage of each chain."""
    chains = -(-count // (5 * len(STAGES)))
    return [disturb(folder, ["tree", "tree", "tree", "run", "kernel"], 5, chains, seed, "kills", end)]


def signals(folder: Path, seed: int, end: float = math.inf) -> list[Row]:
    """Two in each stage."""
    return [disturb(folder, list(SIGNALS), 2, 1, seed, "signals", end)]
