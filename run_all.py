"""Run the chain of notebooks from one command, and only the part of it that needs to run.

    python run_all.py                                   the embedded sample, every stage that is not up to date
    python run_all.py --profile flickr8k --to 03a       up to the LSTM captioner, on Flickr8k
    python run_all.py --only 03a --set lstm_epochs=3
    python run_all.py --name holidays --set captions_folder=my_photos      a run that remembers its settings ...
    python run_all.py --name holidays                                      ... and goes on with them
    python run_all.py --processes 2                     each training shared among two processes
    python run_all.py --list                            what would run, and why, and the runs there are

A stage is up to date while its code, the helpers it imports, its parameters, the stages it needs, the folders it
reads and the files it wrote are as they were when it last succeeded; helpers/chain/freshness.py compares them, and
helpers/chain/notebook_runner.py runs one notebook. What is known of each stage's last success lies in
outputs/<name of the run>/run_state.json; helpers/chain/runs.py says what a run is called and what it remembers.

Stages that do not need each other run side by side, each on its share of the cores: small models gain little from a
second core, and half of a notebook is imports, pictures and scoring on one.
"""

import argparse
import ast
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from helpers.chain.freshness import (
    STATE,
    Record,
    Stage,
    changed_fact,
    changed_output,
    code_cells,
    declared_parameters,
    load_records,
    make_record,
    moved_helpers,
    stage_facts,
)
from helpers.chain.lock import run_lock
from helpers.chain.needs import check_network, features_size, missing
from helpers.chain.notebook_runner import Progress, execute, explain, lack
from helpers.chain.report import (
    REPORT,
    StageResult,
    duration,
    report_is_final,
    results_table,
    runs_table,
    stage_notices,
    write_report,
)
from helpers.chain.runs import open_run, remember
from helpers.chain.stop import stop_signals
from helpers.data.known_sets import expected_photos
from helpers.environment import COMMAND, available_cores, can_pin, cores, has_quota, pin_thread, project_root
from helpers.files import (
    CHECKPOINT,
    FINISHED,
    UNREAD,
    InputError,
    at_home,
    check_space,
    nobody_reads,
    sweep_temporary,
    there,
    write_json,
)
from helpers.profiles import PATHS, TEXTS, Profile, check_paths, each_path

NOTEBOOKS = project_root() / "notebooks"
STAGES = tuple(
    Stage(NOTEBOOKS / f"{name}.ipynb", *facts)
    for name, *facts in (  # the stages whose files it reads, its folder, seconds, what it writes into others' folders
        ("01_download", (), "dataset", 18),
        ("02_features", ("01",), "features", 35),
        ("03a_caption_lstm", ("01", "02"), "captioners/lstm", 50),
        ("03b_caption_attention", ("01", "02"), "captioners/attention", 55),
        ("03c_caption_transformer", ("01", "02", "03a", "03b"), "captioners/transformer", 85),
        ("04a_dual_encoder", ("01",), "dual_encoder", 100),
        ("04b_fusion_triplet", ("01", "02"), "fusion", 40),
        ("04c_pretrained_towers", ("01", "02", "03b"), "pretrained_encoder", 70),
        ("05_openvino", ("01", "02", "03a", "03b", "03c", "04a", "04b", "04c"), "openvino", 60, ("*.xml", "*.bin")),
        ("06_search", ("01", "02", "03b", "03c", "04a", "04b", "04c", "05"), "search", 20, ("*/vector_db/*",)),
        ("07_your_album", ("01", "02", "03a", "03b", "03c", "04a", "04b", "04c", "05"), "album", 60),
    )
)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the chain of notebooks; stages that are up to date are skipped.")
    parser.add_argument("--name", help="the run to go on with, or to begin; it remembers its settings")
    parser.add_argument("--profile", help="settings to begin with (default: sample)")
    parser.add_argument("--only", metavar="A,B", help="these stages and no others, such as 03a,05")
    parser.add_argument("--from", dest="first", metavar="A", help="begin with this stage")
    parser.add_argument("--to", dest="last", metavar="B", help="end with this stage")
    parser.add_argument("--before", metavar="A", help="only the stages that this one needs, and not itself")
    parser.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; repeatable")
    parser.add_argument("--list", action="store_true", help="say what would run, and which runs there are; run nothing")
    parser.add_argument("--keep-going", action="store_true", help="after a failure, run what does not depend on it")
    parser.add_argument(
        "--jobs",
        type=int,
        help=f"stages side by side, at most (default: {usual_jobs()}, with --processes 1; 1 takes the least memory)",
    )
    parser.add_argument(
        "--processes",
        dest="set",
        action="append",
        type="processes={}".format,
        metavar="N",
        help="share each training among so many processes (--set processes=N)",
    )
    arguments = parser.parse_args(argv)
    typed = sys.argv[1:] if argv is None else argv
    arguments.typed = [part for word in typed for part in re.sub("^--set=", "--set\0", word).split("\0")]
    return arguments


def choose(names: list[str], wanted: str, kind: str) -> str:
    """`wanted` if it is one of `names`, else an InputError with the closest of them."""
    if wanted in names:
        return wanted
    close = get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}."
    raise InputError(f"There is no {kind} {wanted!r}; {hint}")


def choose_stages(arguments: argparse.Namespace, stages: Sequence[Stage]) -> list[Stage]:
    names = [stage.short for stage in stages]

    def position(text: str) -> int:
        full = {stage.name: stage.short for stage in stages}
        return names.index(choose(names, full.get(text.strip(), text.strip()), "stage"))

    first = position(arguments.first) if arguments.first is not None else 0
    last = position(arguments.last) if arguments.last is not None else len(stages) - 1
    every = set(range(len(stages)))
    only = {position(text) for text in arguments.only.split(",")} if arguments.only is not None else every
    if arguments.before is not None:
        needs = all_needs(stages[position(arguments.before)], stages)
        only = {index for index in only if names[index] in needs}
    chosen = [stage for index, stage in enumerate(stages) if first <= index <= last and index in only]
    if not chosen:
        raise InputError("No stage is left to run: none is named by all of --from, --to, --only and --before.")
    for stage in chosen:
        if not stage.notebook.is_file():
            raise InputError(f"The notebook of stage {stage.short} does not exist: {stage.notebook}.")
    return chosen


def parse_settings(pairs: list[str], stages: Sequence[Stage]) -> dict[str, Any]:
    """`name=value` texts as a dict; a relative path in one of `PATHS` is meant from where the user stands."""
    notebooks = [stage.notebook for stage in stages if stage.notebook.is_file()]
    known = {"data_dir", "outputs_dir"}.union(*map(declared_parameters, notebooks)) - {"profile"}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set takes name=value, and {pair!r} has no equals sign.")
        if name == "profile":
            raise InputError("The profile is chosen with --profile, not with --set.")
        choose(sorted(known), name, "parameter")
        if "\0" in text:
            raise InputError(f"--set {name} holds a character without a meaning (NUL); leave it out.")
        if name in PATHS and not text.strip():
            raise InputError(f"--set {name} has no value; give it a path, or None for none.")
        given[name] = text
        if name not in TEXTS | PATHS or text == "None":  # a folder may be called 2024
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                given[name] = ast.literal_eval(text)
        if not isinstance(given[name], str | int | float | bool | None):
            given[name] = text
        if name in ("data_dir", "outputs_dir") and isinstance(given[name], str):
            given[name] = str(at_home(given[name]))
        if name in PATHS and isinstance(given[name], str):
            whole = at_home(given[name]).resolve()
            several = each_path(given[name], lambda part: str(at_home(part).resolve()))
            given[name] = str(whole) if there(whole.exists) else several
    return given


def passed_parameters(stage: Stage, profile: Profile, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters to hand to papermill: the profile, and what was given, where the notebook declares it."""
    wanted = {"profile": profile.title} | given
    if "backbone" in given:
        wanted = {"vector_backbone": profile.vector_backbone, "grid_backbone": profile.grid_backbone} | wanted
    declared = declared_parameters(stage.notebook)
    return {name: value for name, value in wanted.items() if name in declared}


def would_run(
    chosen: list[Stage], profile: Profile, given: dict[str, Any], records: dict[str, Record], force: bool
) -> tuple[dict[str, str], set[str]]:
    """Why each stage would run, by its short name, and those of them that will have another result for sure."""
    reasons: dict[str, str] = {}
    new: set[str] = set()
    for stage in chosen:
        record = records.get(stage.short, {})
        why = changed_fact(stage_facts(stage, profile, given, records), record)
        why = why or next((f"{need} would run" for need in stage.needs if need in new), None)
        if why:
            new.add(stage.short)
        else:
            why = "--force" if force else changed_output(profile.outputs, record)
        if why:
            reasons[stage.short] = why
    return reasons, new


def list_stages(
    chosen: list[Stage], profile: Profile, given: dict[str, Any], records: dict[str, Record], force: bool
) -> None:
    """Print what would run. New stages will have another result for sure, the others perhaps the same."""
    reasons, new = would_run(chosen, profile, given, records, force)
    for stage in chosen:
        why = reasons.get(stage.short)
        again = (need for need in stage.needs if need in reasons.keys() - new)
        sure = next((f", if {need} gives the same result" for need in again), "")
        print(f"{stage.name:22}  {f'would run  ({why})' if why else f'up to date{sure}'}")
    if reasons and (records or profile.name == "sample"):  # of other data nothing is known beforehand
        seconds = stage_seconds(chosen, records)
        print(f"About {duration(sum(seconds[name] for name in reasons))}, one at a time.")


def stage_result(stage: Stage, status: str, record: Record, **more: Any) -> StageResult:
    known = {key: record[key] for key in ("seconds", "memory", "headline", "finished") if key in record}
    return StageResult(name=stage.name, folder=stage.folder, status=status, **(known | more))


@dataclass
class Running:
    """A stage under way."""

    stage: Stage
    facts: Record
    why: str
    progress: Progress
    copy: Path
    lane: int


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Make a stage's folder, and see to it that the stage ends in the folder in which it began.

    Raises:
        InputError: it was removed, moved or replaced meanwhile, and half of the stage's files went with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Held open, so that no folder that takes its place gets its number; Windows opens no folders, and does not do that.
    held = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
    begun = folder.stat()
    try:
        yield
        if not (folder.is_dir() and os.path.samestat(begun, folder.stat())):
            raise InputError(f"{folder} was removed or moved while this stage ran; run the stage again.")
    finally:
        if held is not None:
            os.close(held)


def all_needs(stage: Stage, stages: Sequence[Stage]) -> set[str]:
    """Short names of the stages that `stage` needs, and of those that they need, and so on."""
    needs = set(stage.needs)
    for earlier in stages:
        if earlier.short in needs:
            needs |= all_needs(earlier, stages)
    return needs


def stage_seconds(stages: Sequence[Stage], records: dict[str, Record]) -> dict[str, float]:
    """How long each stage took when it last ran; where it has not, its own figure, in proportion to those that have."""
    known = {stage.short: records[stage.short]["seconds"] for stage in stages if stage.short in records}
    usual = sum(stage.seconds for stage in stages if stage.short in known)
    scale = sum(known.values()) / usual if usual else 1.0
    return {stage.short: known.get(stage.short, scale * stage.seconds) for stage in stages}


def urgency(stage: Stage, stages: Sequence[Stage], seconds: dict[str, float]) -> float:
    """Seconds from the start of `stage` to the end of the longest row of stages that wait for each other after it."""
    after = [urgency(other, stages, seconds) for other in stages if stage.short in other.needs]
    return seconds[stage.short] + max(after, default=0)


def cores_of(stage: Stage, chosen: Sequence[Stage], stages: Sequence[Stage], jobs: int) -> list[list[int]]:
    """The sets of cores that `stage` may have: a share, if another chosen stage could run beside it, else all.

    That is decided by the chain alone and not by what happens to run, since a training's last digits depend on the
    number of its threads: the same command gives the same result.
    """
    every = available_cores()
    needs = {other.short: all_needs(other, stages) for other in chosen}
    alone = all(
        other is stage or other.short in needs[stage.short] or stage.short in needs[other.short] for other in chosen
    )
    share = len(every) // jobs
    if alone or jobs == 1 or share == 0:
        return [every]
    return [every[lane * share : (lane + 1) * share] for lane in range(jobs)]


def usual_jobs(processes: int = 1) -> int:
    """Stages side by side, where nothing else is asked for: processes that share a training get all cores.

    A container's share of time cannot be divided as cores can.
    """
    return min(2, cores()) if can_pin() and not has_quota() and processes == 1 else 1


def run(arguments: argparse.Namespace, stages: Sequence[Stage]) -> int:
    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs}: at least one stage has to run at a time.")
    if arguments.jobs is not None and arguments.jobs > 1 and not can_pin():
        raise InputError("This system cannot give each stage its own cores; leave --jobs out.")
    chosen = choose_stages(arguments, stages)
    asked = parse_settings(arguments.set, stages)
    check_paths(asked)
    profile, given = open_run(arguments.name, arguments.profile, asked)
    check_paths(given)
    arguments.jobs = usual_jobs(profile.processes) if arguments.jobs is None else arguments.jobs
    os.environ[COMMAND] = shlex.join(["python", "run_all.py", *arguments.typed])
    used = {"data_dir", "outputs_dir"}.union(*(declared_parameters(stage.notebook) for stage in chosen))
    if idle := sorted(asked.keys() - used):
        print(f"No chosen stage has a parameter {' or '.join(idle)}; it changes nothing here.")
    with nullcontext() if arguments.list else run_lock(profile.outputs) as descriptors:
        records = load_records(profile.outputs / STATE)
        explain_moves(profile, records)
        if arguments.list:
            list_stages(chosen, profile, given, records, arguments.force)
            if table := runs_table(profile.outputs.parent, stages):
                print(f"\n{table}")
            return 0
        if missing(profile, used):  # and else, there is nothing to find out
            reasons, _ = would_run(chosen, profile, given, records, arguments.force)
            running = [stage for stage in chosen if stage.short in reasons]
            check_network(missing(profile, {name for one in running for name in declared_parameters(one.notebook)}))
        if any(stage.folder == "features" for stage in chosen):
            check_space(profile.outputs, features_size(profile, expected_photos(profile)), "features")
        remember(profile, given)
        for folder in (profile.outputs, profile.sample, profile.data / "unpacked"):
            sweep_temporary(folder)

        def report(results: list[StageResult]) -> Path:
            known = {result.name: result for result in results}
            others = [stage_result(stage, "not chosen", records.get(stage.short, {})) for stage in stages]
            return write_report(profile, [known.get(other.name, other) for other in others])

        results = run_stages(arguments, chosen, stages, profile, given, records, descriptors, report)
        print(f"\n{results_table(results)}\n")
        for result in results:
            if notices := stage_notices(profile.outputs / result.folder):
                print("\n  ".join([f"{result.name} has noticed:", *notices]), "\n")
        if any(result.status in ("ran", "failed") for result in results) or not report_is_final(profile.outputs):
            try:
                report(results)
            except InputError as error:  # a full disk: the command was right, and 1 is what says so
                print(error, file=sys.stderr)
                return 1
        print(f"Report: {profile.outputs / REPORT}")
    return 1 if any(result.status == "failed" for result in results) else 0


def explain_moves(profile: Profile, records: dict[str, Record]) -> None:
    """Say which stages run again because the helpers that they were made with are elsewhere now."""
    if gone := moved_helpers(records):
        first, *rest = sorted(set().union(*gone.values()))
        moved = f"{first} and {len(rest)} more" if rest else first
        print(f"{profile.outputs} was made when helpers/ was laid out otherwise ({moved} have moved);", end=" ")
        print(f"these stages run again when they are chosen: {', '.join(sorted(gone))}.")


def run_stages(
    arguments: argparse.Namespace,
    chosen: list[Stage],
    stages: Sequence[Stage],
    profile: Profile,
    given: dict[str, Any],
    records: dict[str, Record],
    descriptors: tuple[int, ...],
    report: Callable[[list[StageResult]], Path],
) -> list[StageResult]:
    """Run the chosen stages that are not up to date, each as soon as what it needs is there; their results in order.

    `records`, and run_state.json with them, are kept up to date from stage to stage. Kernels inherit `descriptors`.
    `report` writes the page of the run; it grows with each stage, so that there is something to look at soon.
    """
    from helpers.chain.pages import render_notebook  # here, since nbconvert takes long to load

    outputs, state = profile.outputs, profile.outputs / STATE
    results: dict[str, StageResult] = {}
    held: set[str] = set()  # failed, or in need of one that is held
    # Side by side, what others wait for longest goes first; one at a time, the order makes no difference.
    seconds = stage_seconds(stages, records)
    waiting = sorted(chosen, key=lambda stage: -urgency(stage, stages, seconds) if arguments.jobs > 1 else 0)
    running: dict[Future, Running] = {}
    begun: list[Progress] = []
    free = list(range(arguments.jobs))  # lanes

    def begin(stage: Stage, pool: ThreadPoolExecutor) -> None:
        record = records.get(stage.short, {})
        known = deepcopy(record)
        facts = stage_facts(stage, profile, given, records)
        why = changed_fact(facts, record) or changed_output(outputs, record) or ("--force" if arguments.force else None)
        label = f"[{chosen.index(stage) + 1}/{len(chosen)}] {stage.name}"
        if why is None:
            print(f"{label}  up to date")
            if record != known:  # the same files, in another place or of another time
                write_json(state, records, durable=True)
            results[stage.short] = stage_result(stage, "up to date", record)
            return
        if arguments.force:  # its models would be loaded instead of trained again, or gone on with
            for name in (FINISHED, f"{CHECKPOINT}*"):
                for mark in (outputs / stage.folder).rglob(name):
                    mark.unlink()
        # From here until it succeeds the stage counts as not run, whatever a crash leaves behind.
        records.pop(stage.short, None)
        write_json(state, records, durable=True)
        parameters = passed_parameters(stage, profile, given)
        progress = Progress(label, why, len(code_cells(stage.notebook)) + bool(parameters))
        if not begun:
            print(f"Report, growing with each stage: {outputs / REPORT}")
        begun.append(progress)
        copy = outputs / "notebooks" / stage.notebook.name
        lane = free.pop(0)
        choices = cores_of(stage, chosen, stages, arguments.jobs)

        def work() -> None:
            pin_thread(choices[lane % len(choices)])  # the kernel that this thread starts inherits it
            with kept(outputs / stage.folder):
                execute(stage.notebook, copy, parameters, progress, descriptors)

        running[pool.submit(work)] = Running(stage, facts, why, progress, copy, lane)

    def finish(future: Future) -> None:
        job = running.pop(future)
        free.append(job.lane)
        free.sort()
        stage, progress = job.stage, job.progress
        try:
            future.result()
        except Exception as error:
            progress.end(f"failed after {duration(progress.seconds)}")
            problem = explain(error, progress, job.copy)
            print(problem, file=sys.stderr)
            held.add(stage.short)
            spent = {"seconds": progress.seconds, "memory": progress.peak}
            results[stage.short] = stage_result(stage, "failed", {}, problem=problem, **spent)
        else:
            renderer.submit(render_notebook, job.copy)  # while others run; the report would do it at the end
            records[stage.short] = make_record(stage, stages, outputs, job.facts, progress.seconds, progress.peak)
            write_json(state, records, durable=True)
            progress.end(f"done in {duration(progress.seconds)}  ({job.why})")
            results[stage.short] = stage_result(stage, "ran", records[stage.short])

    def report_so_far(without_end: str, to_come: str) -> Future:
        """Have the report written beside the work, with these words for the stages that have not ended.

        Nobody waits for it: should a stage take away a picture as it is read, the next report comes out right.
        """
        under_way = [stage_result(job.stage, without_end, {}, seconds=job.progress.seconds) for job in running.values()]
        not_begun = [stage_result(stage, to_come, records.get(stage.short, {})) for stage in waiting]
        return renderer.submit(report, [*results.values(), *under_way, *not_begun])

    with ThreadPoolExecutor(arguments.jobs) as pool, ThreadPoolExecutor(1) as renderer:
        try:
            shown, writing = None, None
            while waiting or running:
                for stage in list(waiting):
                    if held and (not arguments.keep_going or held & set(stage.needs)):
                        held.add(stage.short)
                        results[stage.short] = stage_result(stage, "not run", {})
                        waiting.remove(stage)
                        continue
                    unfinished = {other.short for other in waiting} | {job.stage.short for job in running.values()}
                    if free and not unfinished & all_needs(stage, stages):
                        waiting.remove(stage)
                        begin(stage, pool)
                now = (len(begun), len(results), time.monotonic() // 15)  # a picture is on the page a little later
                # One at a time: on a busy machine writing may take longer than the quarter of a minute.
                if running and now != shown and (writing is None or writing.done()):
                    shown, writing = now, report_so_far("running", "waiting")
                # Woken each second, since on Windows Ctrl-C does not end a wait.
                for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                    finish(future)
        except BaseException:  # stopped by a signal, or the state cannot be written
            for progress in begun:
                progress.stop()
            for job in running.values():
                job.progress.end(f"interrupted after {duration(job.progress.seconds)}")
            if begun:
                report_so_far("interrupted", "not run")
            raise
    return [results[stage.short] for stage in chosen]


def main(argv: list[str] | None = None, stages: Sequence[Stage] = STAGES) -> int:
    """Run the command; returns the exit status.

    0 done, 1 a stage failed, 2 the command is wrong or another run holds the folder, 128 + n stopped by signal n
    (Ctrl-C: 130; 141: nobody reads its output any more).
    """
    arguments = parse_arguments(argv)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a shell may have closed one
        stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" rather than stopping the run
    try:
        with stop_signals():
            status = run(arguments, stages)
            print(end="", flush=True)  # here, where a pipe that is closed is noticed
            return status
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{stop or 'Interrupted'}. Finished stages are kept; the same command", file=sys.stderr, end=" ")
        again = "without --force goes on from there, and leaves alone what is up to date."
        print(again if arguments.force else "goes on from there.", file=sys.stderr)
        return getattr(stop, "status", 130)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            return UNREAD
        if (reason := lack(type(error).__name__, str(error))) is None:
            raise
        print(f"The run stopped: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
