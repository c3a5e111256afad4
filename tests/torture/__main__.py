"""Torture: what has to hold when machines, networks and people do their worst.

    python tests/torture kills --seed 3           one of the tortures below
    python tests/torture all                      all of them, and the table in docs/reliability.md: `make torture`

What is done is kept in outputs/torture/ and not done again by `--resume`: a torture of an hour can be had in parts of
`--minutes 10`.
"""

import argparse
import math
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[number]) for number in (2, 1)]

from torture import attacks, chains, cost, downloads, fuzz, guided, limits, page, report  # noqa: E402 - the line above makes them findable
from torture.rows import Paused, folder, pieces, save  # noqa: E402

from helpers.environment import project_root  # noqa: E402

WORK = folder() / "work"


def in_a_new_folder() -> list:
    with tempfile.TemporaryDirectory() as place:
        return downloads.rows(Path(place))


TORTURES = {
    "attacks": lambda _: attacks.rows(),
    "cost": lambda _: cost.rows(),
    "downloads": lambda _: in_a_new_folder(),
    "page": lambda _: page.rows_of_a_run(),
    "repetition": lambda options: chains.repetition(WORK, options.end),
    "limits": lambda options: limits.rows(WORK, options.end),
    "signals": lambda options: chains.signals(WORK, options.seed, options.end),
    "kills": lambda options: chains.kills(WORK, options.seed, options.end),
    "fuzz": lambda options: fuzz.rows(options.seed, end=options.end),
    "guided": lambda options: guided.rows(options.seed, end=options.end),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Torture the course, and write down how it did.")
    parser.add_argument("name", choices=[*TORTURES, "all"])
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier call has done")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    arguments = parser.parse_args()
    arguments.end = time.monotonic() + 60 * arguments.minutes
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background switches it off, for children too
    if not arguments.resume and arguments.name == "all":
        shutil.rmtree(folder(), ignore_errors=True)
    good = True
    for name in TORTURES if arguments.name == "all" else [arguments.name]:
        if not (arguments.resume and (folder() / f"{name}.json").exists()):
            if not arguments.resume:
                for place in (pieces(name), *WORK.glob(f"{name}_*")):
                    shutil.rmtree(place, ignore_errors=True)
            try:
                if time.monotonic() > arguments.end:
                    raise Paused
                rows = TORTURES[name](arguments)
            except Paused:
                print(f"{name} is not at its end; the same command with --resume goes on from here.")
                return 75  # "try again", in sysexits.h
            save(name, rows)
            good &= all(row.ok for row in rows)
    if arguments.name == "all":
        report.write(project_root() / "docs" / "reliability.md", folder())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
