"""Fuzzing led by coverage, with Atheris: inputs that reach new lines of a parser are kept and changed further.

    python tests/torture guided                                          all parsers below, a minute each
    python tests/torture/guided.py "captions.txt" --seconds 10

It finds what blind changes would not come to in years, such as a number that has to match another one. Atheris is not
among the requirements, since it has no wheels for all systems: `.venv/bin/pip install atheris==3.0.0`.
"""

import argparse
import importlib.util
import math
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parents[number]) for number in (2, 1)]

if TYPE_CHECKING:
    from torture.rows import Row  # a worker must not import the helpers before they are instrumented

INSTRUMENTED = ["helpers", "PIL", "pickletools", "numpy.lib"]  # C and Rust tell nothing
PARSERS = (  # those that are Python, at least at the door
    "captions.txt",
    "split files",
    "COCO annotations",
    "descriptions (JSON)",
    "descriptions (text)",
    "photos of ten formats",
    "manifest.json",
    "run_state.json",
    "features.pkl",
    "features, their grids",
    "config.json of captioners",
    "tokenizer.json",
    "index, its metadata",
    "settings (--set)",
)
TYPED = {"settings (--set)"}  # which is text
SEEDS = 200  # inputs to begin with, those of the blind fuzzer


def work(name: str, run: Path, seconds: int, seed: int) -> None:
    """The worker, which libFuzzer ends: after so many seconds, or at the first exception that is no `InputError`."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from torture.parsers import PARSERS

        from helpers.files import InputError
    parser = PARSERS[name]
    with tempfile.TemporaryDirectory() as folder:
        parsed, corpus = Path(folder) / "parsed", Path(folder) / "corpus"
        parsed.mkdir()
        corpus.mkdir()
        make, parse = parser.prepare(parsed, run)
        for number in range(SEEDS):
            (corpus / str(number)).write_bytes(make(Random(f"{seed} {name} {number}")))

        def one(content: bytes) -> None:
            with suppress(InputError):
                parse(content.decode("utf-8", "replace").encode() if name in TYPED else content)

        options = {
            "max_total_time": seconds,
            "seed": seed + 1,  # 0 would be the clock
            "timeout": 10 * int(parser.seconds),
            "rss_limit_mb": 4096,
            "max_len": 65_536,
            "print_final_stats": 1,
            "artifact_prefix": f"{folder}/",
        }
        atheris.Setup([sys.argv[0], str(corpus), *(f"-{key}={value}" for key, value in options.items())], one)
        atheris.Fuzz()


def play(name: str, run: Path, seconds: int, seed: int) -> "Row":
    """One parser: how many inputs, how much they reached, and how it ended."""
    from torture.rows import Row

    command = [sys.executable, __file__, name, f"--run={run}", f"--seconds={seconds}", f"--seed={seed}", "--worker"]
    with tempfile.TemporaryFile("w+", errors="replace") as out:  # libFuzzer says much
        status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
        out.seek(0)
        said = out.read()
    count = int(found[-1]) if (found := re.findall(r"number_of_executed_units: (\d+)", said)) else 0
    reached = [int(number) for number in re.findall(r"cov: (\d+)", said)] or [0]
    told = f"{reached[0]:,} branches reached by the first inputs, {reached[-1]:,} at the end"
    if status != 0 or count == 0:
        why = re.search(r"Uncaught Python exception: ===\n(.*)|(ERROR: libFuzzer: .*)", said)
        told = f"{(why[0] if why else said[-300:]).strip()!r}; {told}"
    return Row(f"guided fuzz: {name}", count, told, "guided", status == 0 and count > 0)


def rows(seed: int = 0, seconds: int = 60, names: tuple[str, ...] = PARSERS, end: float = math.inf) -> list["Row"]:
    from torture.rows import Row, piece

    if importlib.util.find_spec("atheris") is None:
        why = "not played: Atheris is not installed (pip install atheris==3.0.0)"
        return [Row("guided fuzz: all", 0, why, "guided", True)]
    from tiny_run import make_tiny_run

    with tempfile.TemporaryDirectory() as folder:
        make_tiny_run(Path(folder))
        run = Path(folder)
        if names != PARSERS:
            found = [play(name, run, seconds, seed) for name in names]
        else:
            parts = [piece("guided", name, lambda name=name: [play(name, run, seconds, seed)], end) for name in names]
            found = [row for part in parts for row in part]
    total, bad = sum(row.count for row in found), sum(not row.ok for row in found)
    return [Row("guided fuzz: all", total, f"{bad} parsers stumbled", "guided", bad == 0), *found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PARSERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.name, arguments.run, arguments.seconds, arguments.seed)
        return 0
    found = rows(arguments.seed, arguments.seconds, (arguments.name,))
    print(*(f"{row.test}: {row.count:,}; {row.outcome}" for row in found), sep="\n")
    return 0 if all(row.ok for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
