"""What a machine may lack in the middle of a run: room, rights, files, memory, a clock that only goes forward.

Each case runs the first stages of the small chain under the limit. It has to end in one sentence, or to get through;
what was finished before is untouched; and once the limit is lifted, the same command comes to the artefacts of a run
that had no limit. A case that this machine cannot play says why, and counts as not played.
"""

import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from small_chain import Chain
from torture.chains import QuickChain, artefacts, differences, finished
from torture.rows import Row, piece

from helpers.files import read_json, write_json
from helpers.profiles import RUN

STAGES = ("--jobs", "1", "--to", "03a")


class NotHere(Exception):
    """This machine cannot play the case; the message says what it lacks."""


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise NotHere(f"there is no {program}")


def sentence_of(run: subprocess.CompletedProcess[str]) -> str:
    """What was wrong with how a run ended, or nothing: it got through, or it said so in one sentence."""
    told = [line for line in run.stderr.splitlines() if not line.startswith(("Executed copy: ", "    "))]
    if run.returncode == 0:
        return ""
    if len(told) == 2 and "cannot be written" in told[1]:
        told.pop()  # one sentence for the stage, and one for the report that tells of it
    unexplained = "Traceback" in run.stderr or re.search(r"\] with \w+:", run.stderr)
    if run.returncode not in (1, 2) or len(told) != 1 or unexplained:
        return f"ended with {run.returncode}: {run.stderr[-400:]!r}"
    return ""


def end_well(chain: Chain, expected: dict[str, Any]) -> str:
    """What is wrong after the limit was lifted and the same command was given again, or nothing."""
    run = chain.run(*STAGES)
    if run.returncode != 0:
        return f"did not go on: {run.stderr[-400:]!r}"
    return ", ".join(differences(chain.outputs, expected))


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A disk of `size` in memory at `place`."""
    place.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotHere("mounting a small disk takes root on Linux")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        raise NotHere("this system does not let root mount a disk in memory")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)


# --- The cases: each gets a chain that has drawn its sample, and what should come out ---


def disk_full(chain: Chain, expected: dict[str, Any]) -> str:
    """Outputs on a disk that grows bit by bit, so that it is full in each of the stages."""
    outputs = chain.project / "outputs"
    with small_disk(outputs, "256k"):
        for size in ("256k", "1m", "8m", "16m", "17m", "18m", "20m", "24m"):
            remount(outputs, f"size={size}")
            if wrong := sentence_of(run := chain.run(*STAGES)):
                return f"{size}: {wrong}"
            if size == "256k" and run.returncode == 0:
                return "it fits into 256k, which shows nothing"
        remount(outputs, "size=1g")
        return end_well(chain, expected)


def quota(chain: Chain, expected: dict[str, Any]) -> str:
    """No file may be larger than two megabytes."""
    need("prlimit")
    run = chain.run(*STAGES, wrap=("prlimit", "--fsize=2000000"))
    return sentence_of(run) or ("nothing stopped it" if run.returncode == 0 else "") or end_well(chain, expected)


def read_only(chain: Chain, expected: dict[str, Any]) -> str:
    """The disk of the outputs is read-only: from the start, and after two stages."""
    outputs = chain.project / "outputs"
    with small_disk(outputs, "1g"):
        for stages in ((), ("--to", "02")):
            if stages and (run := chain.run("--jobs", "1", *stages)).returncode != 0:
                return f"did not begin: {run.stderr[-300:]!r}"
            remount(outputs, "ro")
            run = chain.run(*STAGES)
            remount(outputs, "rw")
            if wrong := sentence_of(run) or ("nothing stopped it" if run.returncode == 0 else ""):
                return wrong
        return end_well(chain, expected)


def no_rights(chain: Chain, expected: dict[str, Any]) -> str:
    """Another user's outputs: stages are done, and then somebody else runs the chain."""
    need("setpriv")
    if os.geteuid() != 0:
        raise NotHere("changing the user takes root")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    # By way of `env`, as the chain is: setpriv itself still has root's rights when it looks for a program.
    reached = subprocess.run([*nobody, "env", sys.executable, "-c", ""], cwd=chain.project, capture_output=True)
    if reached.returncode != 0:
        raise NotHere("another user cannot reach this Python or this folder")
    chain.run("--jobs", "1", "--to", "02")
    run = chain.run(*STAGES, wrap=nobody)
    return sentence_of(run) or ("nothing stopped it" if run.returncode == 0 else "") or end_well(chain, expected)


def data_gone(chain: Chain, expected: dict[str, Any]) -> str:
    """The photos' disk is taken away after 01, and brought back."""
    data = chain.project / "data"
    chain.run("--jobs", "1", "--to", "01")
    data.rename(chain.project / "away")
    run = chain.run("--jobs", "1", "--only", "02")
    (chain.project / "away").rename(data)
    return sentence_of(run) or ("nothing stopped it" if run.returncode == 0 else "") or end_well(chain, expected)


def data_gone_in_the_middle(chain: Chain, expected: dict[str, Any]) -> str:
    """The same while 02 reads them."""
    data = chain.project / "data"
    chain.run("--jobs", "1", "--to", "01")
    process = chain.start("--jobs", "1", "--only", "02")
    partial = chain.outputs / "features" / "efficientnet_lite0+colours.partial"
    while process.poll() is None and not partial.exists():
        time.sleep(0.002)
    data.rename(chain.project / "away")
    stdout, stderr = process.communicate()
    (chain.project / "away").rename(data)
    run = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    return sentence_of(run) or end_well(chain, expected)


def little_memory(chain: Chain, expected: dict[str, Any]) -> str:
    """Address space for run_all, for run_all and half a kernel, and for nearly all that a stage needs."""
    need("prlimit")
    for gigabytes in (1.5, 2.5, 3.5, 5.0):
        run = chain.run(*STAGES, wrap=("prlimit", f"--as={int(gigabytes * 1e9)}"))
        if wrong := sentence_of(run):
            return f"{gigabytes} GB: {wrong}"
    return end_well(chain, expected)


def clock_set_back(chain: Chain, expected: dict[str, Any]) -> str:
    """Two stages were run a day ahead of time: what they wrote lies in the future for the third."""
    chain.run("--jobs", "1", "--to", "02")
    state = chain.outputs / "run_state.json"
    records = read_json(state)
    for record in records.values():
        for name in record["outputs"]:
            path = chain.outputs / name
            moved = path.stat().st_mtime_ns + 86_400 * 10**9
            os.utime(path, ns=(moved, moved))
            record["outputs"][name][1] = path.stat().st_mtime_ns
    write_json(state, records)
    run = chain.run(*STAGES)
    ran = [line for line in run.stdout.splitlines() if "done in" in line]
    if run.returncode != 0 or len(ran) != 1:
        return f"ran {ran}: {run.stderr[-300:]!r}"
    again = chain.run(*STAGES)
    if "done in" in again.stdout:
        return f"a second run did something: {again.stdout[-300:]!r}"
    return end_well(chain, expected)


CASES: dict[str, tuple[str, Callable[[Chain, dict[str, Any]], str]]] = {
    "disk": ("disk full, at eight sizes", disk_full),
    "quota": ("a limit on the size of files", quota),
    "read_only": ("outputs folder read-only, at the start and later", read_only),
    "rights": ("permission denied: somebody else's outputs", no_rights),
    "data": ("data folder gone between stages", data_gone),
    "data_in_the_middle": ("data folder gone while it is read", data_gone_in_the_middle),
    "memory": ("memory limited (RLIMIT_AS), at four sizes", little_memory),
    "clock": ("clock set back by a day (times of files and of the run's state moved ahead)", clock_set_back),
}


def rows(folder: Path, end: float = math.inf) -> list[Row]:
    """Each case on a chain of its own, which starts with the sample drawn."""
    reference = finished(folder / "reference")
    written = read_json(reference.outputs / "run_state.json")
    names = {RUN, *(name for stage in ("01", "02", "03a") for name in written[stage]["outputs"])}
    expected = {name: content for name, content in artefacts(reference.outputs).items() if name in names}

    def play(name: str) -> list[Row]:
        test, case = CASES[name]
        shutil.rmtree(folder / f"limits_{name}", ignore_errors=True)
        chain = QuickChain(folder / f"limits_{name}")
        shutil.copytree(reference.project / "data", chain.project / "data")
        try:
            wrong = case(chain, expected)
        except NotHere as reason:
            return [Row(test, 0, f"not played: {reason}", "limits", True)]
        if not wrong:
            shutil.rmtree(folder / f"limits_{name}")
        told = wrong or "one sentence, earlier work untouched, and on to the same artefacts without the limit"
        return [Row(test, 1, told, "limits", not wrong)]

    return [row for name in CASES for row in piece("limits", name, partial(play, name), end)]
