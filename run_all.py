"""Run the chain of notebooks from one command, and only the part of it that needs to run.

    python run_all.py                                   the embedded sample, every stage that is not up to date
    python run_all.py --profile flickr8k --to 03a       up to the LSTM captioner, on Flickr8k
    python run_all.py --only 03a --set caption_epochs=3
    python run_all.py --list                            what would run, and why

A stage is up to date while its code cells, the helpers they import, its parameters and profile settings, the
stages it needs, the folders it reads and the files it wrote are as they were when it last succeeded. Prose cells
and `threads`, `data_dir`, `outputs_dir` do not count: they change how or where, not what. What is known about the
last success of each stage lies in outputs/<profile>/run_state.json.
"""

import argparse
import ast
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from helpers.environment import project_root
from helpers.files import InputError, fingerprint_files, fingerprint_folder, read_json, write_json
from helpers.profiles import SETTING_NAMES, Profile, get_profile
from helpers.report import StageResult, duration, gigabytes, results_table, write_report

Record = dict[str, Any]  # what run_state.json remembers of a stage's last success


@dataclass(frozen=True)
class Stage:
    name: str  # the notebook's file name without .ipynb
    needs: tuple[str, ...]  # short names of the stages whose files it reads
    folder: str  # its folder in outputs/<profile>
    also: tuple[str, ...] = ()  # patterns of files it writes into the folders of earlier stages

    @property
    def short(self) -> str:
        return self.name.split("_")[0]

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{self.name}.ipynb"


STAGES = (
    Stage("01_download", (), "dataset"),
    Stage("02_features", ("01",), "features"),
    Stage("03a_caption_lstm", ("02",), "captioners/lstm"),
    Stage("04a_dual_encoder", ("01", "02"), "dual_encoder"),
    Stage("05_openvino", ("03a", "04a"), "openvino", also=("*.xml", "*.bin")),
    Stage("06_search", ("03a", "04a", "05"), "search", also=("*/vector_db/*",)),
)
ROOT = project_root()
NOTEBOOKS = ROOT / "notebooks"
HELPERS = ROOT / "helpers"

HOW_NOT_WHAT = {"threads", "data_dir", "outputs_dir"}  # parameters whose change reruns nothing
FOR_PEOPLE = (".png", "metrics.json", "history.json")  # files that hold times and pictures, no stage's input


# --- What a stage depends on ---


def code_cells(notebook: Path) -> list[tuple[str, bool]]:
    """(source, whether it is tagged `parameters`) of each code cell that is not empty."""
    cells = read_json(notebook, made_by="the editor that wrote it")["cells"]
    return [
        ("".join(cell["source"]), "parameters" in cell["metadata"].get("tags", ()))
        for cell in cells
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]


def declared_parameters(notebook: Path) -> list[str]:
    """Names assigned in the cell tagged `parameters`."""
    source = "\n".join(source for source, tagged in code_cells(notebook) if tagged)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InputError(f"The parameters cell of {notebook} is not valid Python: {error}.") from None
    assigned = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def imported_helpers(source: str) -> set[str]:
    """Modules of `helpers` that `source` imports; lines of IPython (%magic, !shell) are passed over."""
    try:
        tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))
    except SyntaxError:  # not Python, such as a %%bash cell; if it is a mistake, running it will say so
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("helpers.")]
    return {part[1] for part in parts if (HELPERS / f"{part[1]}.py").is_file()}


def source_hashes(notebook: Path) -> dict[str, str]:
    """A hash of the notebook's code cells and of each helper it imports, directly or through others.

    Data beside a module (descriptions.json beside descriptions.py) counts as part of it. profiles.py is left out,
    because its values are compared one by one: editing one field must not rerun every stage.
    """
    sources = [source for source, _ in code_cells(notebook)]
    hashes = {f"{notebook.parent.name}/{notebook.name}": digest(sources)}
    pending, seen = set().union(*map(imported_helpers, sources)), set()
    while pending - seen:
        module = min(pending - seen)
        seen.add(module)
        pending |= imported_helpers((HELPERS / f"{module}.py").read_text(encoding="utf-8"))
    for module in sorted(seen - {"profiles"}):
        hashes |= {f"helpers/{path.name}": fingerprint_files([path]) for path in sorted(HELPERS.glob(f"{module}.*"))}
    return hashes


def stage_facts(stage: Stage, profile: Profile, given: dict[str, Any], records: dict[str, Record]) -> Record:
    """Everything but files that decides the stage's result, in a form that JSON gives back unchanged."""
    settings: dict[str, Any] = {}
    for name in declared_parameters(stage.notebook):
        if name == "backbone":
            settings |= {"vector_backbone": profile.vector_backbone, "grid_backbone": profile.grid_backbone}
        elif name in SETTING_NAMES and name not in HOW_NOT_WHAT:
            settings[name] = getattr(profile, name)
        elif name in given and name not in HOW_NOT_WHAT:
            settings[name] = given[name]
    needs = {need: records.get(need, {}).get("key") for need in stage.needs}
    facts = {"code": source_hashes(stage.notebook), "parameters": settings, "needs": needs}
    return json.loads(json.dumps(facts, default=str))


def owned_files(stage: Stage, outputs: Path) -> dict[str, Path]:
    """The files that `stage` wrote, by path relative to `outputs`. Where claims overlap, the later stage owns."""
    files: dict[str, Path] = {}
    for path in sorted(outputs.rglob("*")):
        name = path.relative_to(outputs).as_posix()
        claims = [s for s in STAGES if any(fnmatchcase(name, claim) for claim in (f"{s.folder}/*", *s.also))]
        if claims and claims[-1] == stage and path.is_file() and not path.name.startswith("."):
            files[name] = path
    return files


def fingerprint(path: str) -> str | None:
    """Of a folder or file outside the chain, such as the user's own photos; None when it has gone."""
    place = Path(path)
    if not place.exists():
        return None
    return fingerprint_folder(place) if place.is_dir() else fingerprint_files([place])


def changed_fact(facts: Record, record: Record) -> str | None:
    """The first reason why the result would be another one than `record` tells of, else None."""
    if not record:
        return "has not finished before"
    kinds = {"code": "{} changed", "parameters": "parameter {} changed", "needs": "{} ran again"}
    for kind, reason in kinds.items():
        now, before = facts[kind], record["facts"][kind]
        for name in now | before:
            if now.get(name) != before.get(name):
                return reason.format(name)
    for path, known in record["inputs"].items():
        if fingerprint(path) != known:
            return f"{path} changed"
    return None


def changed_output(outputs: Path, record: Record) -> str | None:
    """Which of the files that the stage wrote is not there as it was written, else None."""
    for name, stamp in record["outputs"].items():
        if not (outputs / name).is_file():
            return f"an output is missing: {name}"
        if file_stamp(outputs / name) != stamp:
            return f"an output was changed: {name}"
    return None


def file_stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def make_record(stage: Stage, outputs: Path, facts: Record, seconds: float, memory: int) -> Record:
    """What to remember of a stage that has just succeeded.

    The key stands for the stage in its dependents' facts. It covers the contents of its files, so that a stage run
    again with the same result (an output was deleted, `--force`) does not send the stages after it round again.
    """
    metrics_file = outputs / stage.folder / "metrics.json"
    metrics = read_json(metrics_file) if metrics_file.is_file() else {}
    files = owned_files(stage, outputs)
    result = fingerprint_files(path for path in files.values() if not path.name.endswith(FOR_PEOPLE))
    inputs = metrics.get("inputs", {})
    return {
        "key": digest([facts, inputs, result]),
        "facts": facts,
        "inputs": inputs,
        "outputs": {name: file_stamp(path) for name, path in files.items()},
        "seconds": round(seconds, 1),
        "memory": memory,
        "headline": metrics.get("headline", {}),
        "finished": time.strftime("%Y-%m-%d %H:%M"),
    }


def load_records(state: Path) -> dict[str, Record]:
    """run_state.json; empty when there is none, and, with a notice, when it is torn."""
    if not state.exists():
        return {}
    try:
        return dict(read_json(state))
    except (InputError, TypeError, ValueError):
        print(f"{state} is not readable, so every stage counts as not run.")
        return {}


# --- Running one notebook ---


@dataclass
class Progress:
    """One stage under way: what the progress line shows, and what is measured on the way."""

    label: str
    why: str
    cells: int
    cell: int = 0
    peak: int = 0  # bytes
    last_words: str = ""  # what the kernel's process wrote past Jupyter, such as why a library aborted
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def show(self, status: str, end: str = "\n") -> None:
        """Print the line; on a terminal over the one before."""
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{f'{self.label}  {status}'[:width]:{width}}", end=end, flush=True)
        elif end:
            print(f"{self.label}  {status}", flush=True)


@contextmanager
def watch(progress: Progress) -> Iterator[None]:
    """Twice a second: redraw the line, and sample the resident memory of the kernel and its children."""
    import psutil

    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # it ended meanwhile
                    continue
            progress.peak = max(progress.peak, total)
            running = f"running  {duration(progress.seconds)}  cell {progress.cell}/{progress.cells}"
            progress.show(f"{running}  ({progress.why})", end="")

    if not sys.stdout.isatty():
        progress.show(f"running  ({progress.why})")
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def execute(notebook: Path, copy: Path, parameters: dict[str, Any], progress: Progress) -> None:
    """Execute `notebook` with papermill in a kernel of this very interpreter, from the project root."""
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        # "python3" is looked up in the user's kernel folders first, where it may be another interpreter. With no
        # folder to look in, what remains is the kernel that ipykernel itself describes: sys.executable.
        def __init__(self, **options: Any) -> None:
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)

        # Jupyter carries the output to the executed copy; its echo here would tear the progress line.
        async def start_kernel(self, **options: Any) -> None:
            await super().start_kernel(stdout=echo, stderr=echo, **options)

    def count(**_: Any) -> None:
        progress.cell += 1

    if sys.platform == "darwin":
        # The macOS wheels of PyTorch and FAISS each bring an OpenMP runtime, and the second to load would abort.
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is reported below, in our words
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as echo, watch(progress):
        try:
            papermill.execute_notebook(
                notebook,
                copy,
                parameters=parameters,
                kernel_name="python3",
                language="python",
                cwd=ROOT,
                progress_bar=False,
                log_output=False,
                start_timeout=180,
                kernel_manager_class=ThisPython,
                on_cell_execute=count,
                extra_arguments=["--log-level=ERROR"],
            )
        finally:
            echo.seek(0)
            progress.last_words = "\n".join(echo.read().decode(errors="replace").splitlines()[-3:])


def explain(stage: Stage, error: Exception, progress: Progress, copy: Path) -> str:
    """What went wrong, for the user: one sentence for a mistake of theirs, the last frame for one of ours."""
    where = f"{stage.name} stopped in cell [{progress.cell}]"
    name, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    frames = [re.sub(r"\x1b\[[0-9;]*m", "", frame) for frame in getattr(error, "traceback", [])]
    details = frames[-2] if len(frames) > 1 else progress.last_words
    if name == "InputError":
        text, details = f"{where}: {message}", ""
    elif name == "DeadKernelError":
        text = (
            f"{where}: its Python process ended at once, as it does when memory runs out "
            f"(it had used {gigabytes(progress.peak)})."
        )
    else:
        text = f"{where} with {name}: {message}"
    return "\n".join([text, *(f"    {line}" for line in details.splitlines()), f"Executed copy: {copy}"])


# --- The command ---


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the chain of notebooks; stages that are up to date are skipped.")
    parser.add_argument("--profile", default="sample", help="settings to run with (default: sample)")
    parser.add_argument("--only", metavar="A,B", help="these stages and no others, such as 03a,05")
    parser.add_argument("--from", dest="first", metavar="A", help="begin with this stage")
    parser.add_argument("--to", dest="last", metavar="B", help="end with this stage")
    parser.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; repeatable")
    parser.add_argument("--list", action="store_true", help="say what would run, and why, and run nothing")
    parser.add_argument("--keep-going", action="store_true", help="after a failure, run what does not depend on it")
    return parser.parse_args(argv)


def choose(names: list[str], wanted: str, kind: str) -> str:
    """`wanted` if it is one of `names`, else an InputError with the closest of them."""
    if wanted in names:
        return wanted
    close = get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}."
    raise InputError(f"There is no {kind} {wanted!r}; {hint}")


def choose_stages(arguments: argparse.Namespace) -> list[Stage]:
    names = [stage.short for stage in STAGES]

    def position(text: str) -> int:
        full = {stage.name: stage.short for stage in STAGES}
        return names.index(choose(names, full.get(text.strip(), text.strip()), "stage"))

    first = position(arguments.first) if arguments.first else 0
    last = position(arguments.last) if arguments.last else len(STAGES) - 1
    only = {position(text) for text in arguments.only.split(",")} if arguments.only else set(range(len(STAGES)))
    chosen = [stage for index, stage in enumerate(STAGES) if first <= index <= last and index in only]
    if not chosen:
        raise InputError("No stage is left to run; --from, --to and --only exclude each other.")
    for stage in chosen:
        if not stage.notebook.is_file():
            raise InputError(f"The notebook of stage {stage.short} does not exist: {stage.notebook}.")
    return chosen


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`name=value` texts as a dict; a relative path in `..._folder` is meant from where the user stands."""
    notebooks = [stage.notebook for stage in STAGES if stage.notebook.is_file()]
    known = {"data_dir", "outputs_dir"}.union(*map(declared_parameters, notebooks)) - {"profile"}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set takes name=value, and {pair!r} has no equals sign.")
        if name == "profile":
            raise InputError("The profile is chosen with --profile, not with --set.")
        choose(sorted(known), name, "parameter")
        try:
            given[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            given[name] = text
        if name.endswith("_folder") and isinstance(given[name], str):
            given[name] = str(Path(given[name]).expanduser().resolve())
    return given


def passed_parameters(stage: Stage, profile: Profile, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters to hand to papermill: the profile, and what was given, where the notebook declares it."""
    wanted = {"profile": profile.name} | given
    if "backbone" in given:
        wanted = {"vector_backbone": profile.vector_backbone, "grid_backbone": profile.grid_backbone} | wanted
    declared = declared_parameters(stage.notebook)
    return {name: value for name, value in wanted.items() if name in declared}


def list_stages(
    chosen: list[Stage], profile: Profile, given: dict[str, Any], records: dict[str, Record], force: bool
) -> None:
    """Print what would run. `new` stages will have another result for sure, `again` ones perhaps the same."""
    new, again = set(), set()
    for stage in chosen:
        record = records.get(stage.short, {})
        why = changed_fact(stage_facts(stage, profile, given, records), record)
        why = why or next((f"{need} would run" for need in stage.needs if need in new), None)
        if why:
            new.add(stage.short)
        else:
            why = "--force" if force else changed_output(profile.outputs, record)
            if why:
                again.add(stage.short)
        sure = next((f", if {need} gives the same result" for need in stage.needs if need in again), "")
        print(f"{stage.name:22}  {f'would run  ({why})' if why else f'up to date{sure}'}")


def stage_result(stage: Stage, status: str, record: Record, **more: Any) -> StageResult:
    known = {key: record[key] for key in ("seconds", "memory", "headline", "finished") if key in record}
    return StageResult(name=stage.name, folder=stage.folder, status=status, **(known | more))


def run(arguments: argparse.Namespace) -> int:
    chosen = choose_stages(arguments)
    given = parse_settings(arguments.set)
    settings = {name: value for name, value in given.items() if name in (*SETTING_NAMES, "backbone")}
    profile = get_profile(arguments.profile, **settings)
    outputs, state = profile.outputs, profile.outputs / "run_state.json"
    records = load_records(state)
    used = {"data_dir", "outputs_dir"}.union(*(declared_parameters(stage.notebook) for stage in chosen))
    if idle := sorted(given.keys() - used):
        print(f"No chosen stage has a parameter {' or '.join(idle)}; it changes nothing here.")
    if arguments.list:
        list_stages(chosen, profile, given, records, arguments.force)
        return 0

    results: dict[str, StageResult] = {}
    held: set[str] = set()  # failed, or in need of one that is held
    for position, stage in enumerate(chosen, 1):
        if held and (not arguments.keep_going or held & set(stage.needs)):
            held.add(stage.short)
            results[stage.short] = stage_result(stage, "not run", {})
            continue
        record = records.get(stage.short, {})
        facts = stage_facts(stage, profile, given, records)
        why = changed_fact(facts, record) or changed_output(outputs, record) or ("--force" if arguments.force else None)
        label = f"[{position}/{len(chosen)}] {stage.name}"
        if why is None:
            print(f"{label}  up to date")
            results[stage.short] = stage_result(stage, "up to date", record)
            continue

        # From here until it succeeds the stage counts as not run, whatever a crash leaves behind.
        records.pop(stage.short, None)
        write_json(state, records)
        parameters = passed_parameters(stage, profile, given)
        copy = outputs / "notebooks" / stage.notebook.name
        progress = Progress(label, why, len(code_cells(stage.notebook)) + bool(parameters))
        try:
            execute(stage.notebook, copy, parameters, progress)
        except KeyboardInterrupt:
            progress.show(f"interrupted after {duration(progress.seconds)}")
            raise
        except Exception as error:
            progress.show(f"failed after {duration(progress.seconds)}")
            problem = explain(stage, error, progress, copy)
            print(problem, file=sys.stderr)
            held.add(stage.short)
            spent = {"seconds": progress.seconds, "memory": progress.peak}
            results[stage.short] = stage_result(stage, "failed", {}, problem=problem, **spent)
        else:
            records[stage.short] = make_record(stage, outputs, facts, progress.seconds, progress.peak)
            write_json(state, records)
            progress.show(f"done in {duration(progress.seconds)}  ({why})")
            results[stage.short] = stage_result(stage, "ran", records[stage.short])

    print(f"\n{results_table(list(results.values()))}\n")
    report = outputs / "report.html"
    if any(result.status in ("ran", "failed") for result in results.values()) or not report.exists():
        others = {s.short: stage_result(s, "not chosen", records.get(s.short, {})) for s in STAGES}
        report = write_report(profile, list((others | results).values()))
    print(f"Report: {report}")
    return 1 if held else 0


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 a stage failed, 2 the command is wrong, 130 interrupted."""
    arguments = parse_arguments(argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" rather than stopping the run
    try:
        return run(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        without = " without --force" if arguments.force else ""
        print(f"Interrupted. Finished stages are kept; the same command{without} goes on from there.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
