"""Fuzzing: every parser and loader is fed odd inputs, and has to read each rightly or refuse it in one sentence.

    python tests/torture/fuzz.py                                  all of them, some minutes
    python tests/torture/fuzz.py --only "captions.txt" --from 120 --to 121        one input again

Inputs follow from the seed, the parser and their number. A worker process runs them, held to a bound of memory; the
one that watches it counts a crash of native code or a hang as an outcome, and goes on with the next input.
"""

import argparse
import math
import queue
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).resolve().parents[number]) for number in (2, 1)]

from torture.rows import Row, piece, save  # noqa: E402 - the line above makes it findable

HANG, START = 60.0, 300.0  # seconds without a sign of life, and before the first


def work(names: list[str], start: int, end: int | None, seed: int, run: Path, fraction: int) -> None:
    """The worker: a line on standard output before each input, and after each parser."""
    import torch
    from torture.parsers import PARSERS

    from helpers.files import InputError

    torch.set_num_threads(1)
    out, sys.stdout = sys.stdout, sys.stderr  # what the parsers print is noise
    for name in names:
        parser = PARSERS[name]
        last = end or max(1, parser.count // fraction)
        outcomes: Counter[str] = Counter()
        slowest = 0.0
        with tempfile.TemporaryDirectory() as folder:
            make, parse = parser.prepare(Path(folder), run)
            for number in range(start, last):
                print("at", number, outcomes["right"], outcomes["refused"], sep="\t", file=out, flush=True)
                content = make(Random(f"{seed} {name} {number}"))
                _hold_to(parser.mebibytes)
                began, outcome, problem = time.process_time(), "right", None
                try:
                    parse(content)
                except InputError as error:
                    outcome, problem = "refused", None if str(error).strip() else "an empty sentence"
                except Exception as error:
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    problem = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"[:200]
                taken = time.process_time() - began
                _hold_to(None)
                slowest = max(slowest, taken)
                if problem is None and taken > parser.seconds:
                    problem = f"{taken:.1f} s"
                outcomes[outcome if problem is None else "bad"] += 1
                if problem:
                    problem = problem.replace("\t", " ").replace("\n", " ")
                    print("bad", number, problem, sep="\t", file=out, flush=True)
        print("done", name, outcomes["right"], outcomes["refused"], f"{slowest:.2f}", sep="\t", file=out, flush=True)
        start = 0


def _hold_to(mebibytes: int | None) -> None:
    """Let this process have so much memory more than it has, or, with None, all that it wants."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if mebibytes is None:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    else:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + mebibytes * 2**20, hard))


def _read(stream: Iterable[str], lines: "queue.Queue[str | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


class Outcome:
    """What became of the inputs of one parser."""

    def __init__(self) -> None:
        self.right, self.refused, self.bad, self.slowest = 0, 0, {}, 0.0


def watch(names: list[str], seed: int, run: Path, fraction: int, start: int, end: int | None) -> dict[str, Outcome]:
    """Run the parsers `names` in a worker, and in another one where it died: inputs from `start` up to `end`."""
    outcomes = {name: Outcome() for name in names}
    left, place = list(names), start
    while left:
        command = [sys.executable, __file__, "--worker", "--seed", str(seed), "--run", str(run), "--from", str(place)]
        command += ["--fraction", str(fraction), *(["--to", str(end)] if end else [])]
        command += [part for name in left for part in ("--only", name)]
        with (
            tempfile.TemporaryFile() as noise,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=noise, text=True) as worker,
        ):
            number, ended, begun = place, "it ended early", False
            right = refused = 0
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_read, args=(worker.stdout, lines), daemon=True).start()
            while True:
                try:
                    line = lines.get(timeout=HANG if begun else START)
                except queue.Empty:
                    worker.kill()
                    ended = f"no answer for {HANG:.0f} s"
                    break
                if line is None:
                    break
                begun = True
                kind, *facts = line.rstrip("\n").split("\t")
                outcome = outcomes[left[0]]
                if kind == "at":
                    number, right, refused = map(int, facts)
                elif kind == "bad":
                    outcome.bad[int(facts[0])] = facts[1]
                else:
                    outcome.right += int(facts[1])
                    outcome.refused += int(facts[2])
                    outcome.slowest = max(outcome.slowest, float(facts[3]))
                    left.pop(0)
                    number, right, refused, place = 0, 0, 0, 0
                    if not left:
                        break
            worker.wait()
            if left:
                if worker.returncode == 1:  # a fault of the fuzzer itself
                    noise.seek(0)
                    raise RuntimeError(noise.read().decode(errors="replace")[-3000:])
                outcome = outcomes[left[0]]
                outcome.right += right
                outcome.refused += refused
                if worker.returncode < 0 and ended == "it ended early":
                    ended = f"killed by signal {-worker.returncode}"
                outcome.bad[number] = ended
                place = number + 1
        if not left:
            break
    return outcomes


def rows(seed: int = 0, fraction: int = 1, run: Path | None = None, end: float = math.inf) -> list[Row]:
    """Feed every parser, one `fraction`th of its inputs, a few parsers at a time."""
    from torture.parsers import PARSERS

    with tempfile.TemporaryDirectory() as folder:
        names = list(PARSERS)
        if run is not None:
            found = play(names, seed, fraction, run)
        else:
            run = finished_run(Path(folder) / "run")
            some = [names[start : start + 6] for start in range(0, len(names), 6)]
            parts = [
                piece("fuzz", str(n), partial(play, part, seed, fraction, run), end) for n, part in enumerate(some)
            ]
            found = [row for part in parts for row in part]
    bad = sum(int(re.search(r"([\d,]+) bad", row.outcome)[1].replace(",", "")) for row in found)
    total = sum(row.count for row in found)
    return [Row("fuzz: all parsers and loaders", total, f"{bad:,} bad", "fuzz", bad == 0), *found]


def play(names: list[str], seed: int, fraction: int, run: Path) -> list[Row]:
    """A row for each of these parsers."""
    from torture.parsers import PARSERS

    found = []
    for name, outcome in watch(names, seed, run, fraction, 0, None).items():
        parser, bad = PARSERS[name], outcome.bad
        count = outcome.right + outcome.refused + len(bad)
        text = f"{outcome.right:,} right, {outcome.refused:,} refused in one sentence, {len(bad):,} bad"
        bound = f"slowest {outcome.slowest:.2f} s of {parser.seconds:g} s, memory at most {parser.mebibytes:,} MiB"
        first = "".join(f"; first: input {number}, {problem}" for number, problem in list(bad.items())[:1])
        found.append(Row(f"fuzz: {name}", count, f"{text} ({bound}){first}", "fuzz", not bad))
    return found


def finished_run(folder: Path) -> Path:
    """A run in miniature, to be damaged."""
    from tiny_run import make_tiny_run

    make_tiny_run(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="PARSER", help="this one; repeatable")
    parser.add_argument("--from", dest="start", type=int, default=0, help="number of the first input")
    parser.add_argument(
        "--to", dest="end", type=int, help="number behind the last input (default: as many as there are)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fraction", type=int, default=1, help="only one input of so many")
    parser.add_argument("--run", type=Path, help="a run in miniature, made before")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.only, arguments.start, arguments.end, arguments.seed, arguments.run, arguments.fraction)
        return 0
    if not arguments.only:
        found = rows(arguments.seed, arguments.fraction, arguments.run)
        save("fuzz", found)
        return 0 if all(row.ok for row in found) else 1
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or finished_run(Path(folder) / "run")
        outcomes = watch(arguments.only, arguments.seed, run, arguments.fraction, arguments.start, arguments.end)
    for name, outcome in outcomes.items():
        print(
            f"{name}: {outcome.right} right, {outcome.refused} refused, {len(outcome.bad)} bad, {outcome.slowest:.2f} s"
        )
        for number, problem in list(outcome.bad.items())[:20]:
            print(f"  input {number}: {problem}")
    return 1 if any(outcome.bad for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
