"""Freshness: whether a stage of the chain has to run again, and why.

A stage's result is decided by its facts (the code cells of its notebook, the helpers they import, its parameters
and profile settings), by the stages it needs, and by the folders it reads outside the chain. When a stage succeeds,
all of these go into a record, together with each file it wrote. As long as everything is as recorded, the stage is up
to date; the first difference is the reason to run it, told to the user in a few words.

Prose cells and the parameters in `HOW_NOT_WHAT` do not count: they change how or where, not what. Nor do places and
times: a run that was copied or unpacked elsewhere is up to date. Sizes and times of files only save reading them, as
long as they are as they were; where they are not, contents are compared. Somebody's photos of notebook 07, which take
long to read, are known by sizes and times alone.
"""

import ast
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from helpers.artefacts import CHECKSUMS, MEBIBYTES
from helpers.environment import located, portable, project_root
from helpers.files import (
    CHECKPOINT,
    FINISHED,
    InputError,
    below,
    digest,
    fingerprint,
    fingerprint_files,
    read_json,
    stamp,
)
from helpers.profiles import PATHS, SETTING_NAMES, Profile, portable_paths

STATE = "run_state.json"
Record = dict[str, Any]  # what run_state.json remembers of a stage's last success

HOW_NOT_WHAT = {"threads", "device", "data_dir", "outputs_dir", "run_missing"}  # parameters whose change reruns nothing
# Files that are no stage's input, or say where and when: pictures, times, the mark of a finished training, which has a
# fingerprint of times, and the folders that the photos are in.
FOR_PEOPLE = (".png", "metrics.json", "history.json", "roots.json", FINISHED)


@dataclass(frozen=True)
class Stage:
    """A notebook and its place in the chain."""

    notebook: Path
    needs: tuple[str, ...]  # short names of the stages whose files it reads
    folder: str  # its folder in outputs/<profile>
    seconds: float = 0  # about how long it takes on the sample; where it has run, its record knows better
    also: tuple[str, ...] = ()  # patterns of files it writes into the folders of earlier stages

    @property
    def name(self) -> str:
        return self.notebook.stem

    @property
    def short(self) -> str:
        return self.name.split("_")[0]


# --- Facts: what decides the result ---


def code_cells(notebook: Path) -> list[tuple[str, bool]]:
    """(source, whether it is tagged `parameters`) of each code cell that is not empty."""
    cells = read_json(notebook, made_by="the editor that wrote it")["cells"]
    return [
        ("".join(cell["source"]), "parameters" in cell["metadata"].get("tags", ()))
        for cell in cells
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]


def declared_parameters(notebook: Path) -> list[str]:
    """Names assigned in the cell tagged `parameters`.

    Raises:
        InputError: the notebook is not there, or that cell is not Python.
    """
    source = "\n".join(source for source, tagged in code_cells(notebook) if tagged)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InputError(f"The parameters cell of {notebook} is not valid Python: {error}.") from None
    assigned = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def imported_helpers(source: str, helpers: Path) -> set[Path]:
    """Files below the folder `helpers` that `source` imports; lines of IPython (%magic, !shell) are passed over.

    The `__init__.py` of a wing is not among them: it holds words for the reader and nothing else.
    """
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
    parts = (name.split(".") for name in names)
    files = {helpers.joinpath(*rest).with_suffix(".py") for top, *rest in parts if top == "helpers" and rest}
    return {file for file in files if file.is_file()}


def source_hashes(notebook: Path) -> dict[str, str]:
    """A hash of the notebook's code cells and of each helper it imports, directly or through others.

    `helpers` is the folder beside the notebook's own. Data beside a module (descriptions.json beside descriptions.py)
    counts as part of it. profiles.py is left out, because its values are compared one by one: editing one field must
    not rerun every stage.
    """
    helpers = notebook.parent.parent / "helpers"
    sources = [source for source, _ in code_cells(notebook)]
    hashes = {f"{notebook.parent.name}/{notebook.name}": key_of(sources)}
    pending, seen = {file for source in sources for file in imported_helpers(source, helpers)}, set()
    while pending - seen:
        file = min(pending - seen)
        seen.add(file)
        pending |= imported_helpers(file.read_text(encoding="utf-8"), helpers)
    for file in sorted(seen - {helpers / "profiles.py"}):
        for path in sorted(file.parent.glob(f"{file.stem}.*")):
            hashes[path.relative_to(helpers.parent).as_posix()] = fingerprint_files([path])
    return hashes


def stage_facts(stage: Stage, profile: Profile, given: dict[str, Any], records: dict[str, Record]) -> Record:
    """Everything but files that decides the stage's result, in a form that JSON gives back unchanged.

    `given` are the parameters set on the command line, `records` those of all stages by short name.
    """
    settings: dict[str, Any] = {}
    for name in declared_parameters(stage.notebook):
        if name == "backbone":
            settings |= {"vector_backbone": profile.vector_backbone, "grid_backbone": profile.grid_backbone}
        elif name in SETTING_NAMES and name not in HOW_NOT_WHAT:
            settings[name] = getattr(profile, name)
        elif name in given and name not in HOW_NOT_WHAT:
            settings[name] = given[name]
    settings |= {name: portable_paths(settings[name]) for name in PATHS & settings.keys() if settings[name]}
    needs = {need: records.get(need, {}).get("key") for need in stage.needs}
    facts = {"code": source_hashes(stage.notebook), "parameters": settings, "needs": needs}
    return json.loads(json.dumps(facts, default=str))


def key_of(content: Any) -> str:
    """Twelve hex digits of SHA-256 over `content` as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


# --- Records: what was so when a stage last succeeded ---


def owned_files(stage: Stage, stages: Sequence[Stage], outputs: Path) -> dict[str, Path]:
    """The files that `stage` wrote, by path relative to `outputs`. Where claims overlap, the later stage owns.

    What lies beside the folders of the stages, such as models of others that an album uses, is nobody's; nor is what a
    training left that was stopped.
    """
    files: dict[str, Path] = {}
    # Other stages may be at work in their folders: those are looked into only where this stage writes there, too.
    earlier = stages[: stages.index(stage)] if stage.also else ()
    for path in sorted(path for one in (*earlier, stage) for path in below(outputs / one.folder)):
        name = path.relative_to(outputs).as_posix()
        claims = [s for s in stages if any(fnmatchcase(name, claim) for claim in (f"{s.folder}/*", *s.also))]
        if claims and claims[-1] == stage and path.name != CHECKSUMS and not path.name.startswith(CHECKPOINT):
            files[name] = path
    return files


def make_record(
    stage: Stage, stages: Sequence[Stage], outputs: Path, facts: Record, seconds: float, memory: int
) -> Record:
    """What to remember of a stage that has just succeeded.

    The key stands for the stage in its dependents' facts. It covers the contents of its files and of what it read, so
    that a stage run again with the same result (an output was deleted, the user's photos have moved, `--force`) does
    not send the stages after it round again.
    """
    metrics_file = outputs / stage.folder / "metrics.json"
    metrics = read_json(metrics_file) if metrics_file.is_file() else {}
    files = {name: noted(path) for name, path in owned_files(stage, stages, outputs).items()}
    inputs = {portable(located(path)): known for path, known in metrics.get("inputs", {}).items()}
    settings = {name: value for name, value in facts.get("parameters", {}).items() if name not in PATHS}
    read = sorted(known.partition(" ")[0] for known in inputs.values())
    result = [content for name, (*_, content) in files.items() if not name.endswith(FOR_PEOPLE)]
    return {
        "key": key_of([facts | {"parameters": settings}, read, result]),
        "facts": facts,
        "inputs": inputs,
        "outputs": files,
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


def noted(path: Path) -> list[Any]:
    """Size, time and content of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, digest(path, MEBIBYTES).hex()]


def moved_helpers(records: dict[str, Record]) -> dict[str, list[str]]:
    """Stages that were made with helpers which are no longer where they were -> these helpers."""
    root, gone = project_root(), {}
    for short, record in records.items():
        helpers = (name for name in record["facts"]["code"] if name.startswith("helpers/"))
        gone[short] = [name for name in helpers if not (root / name).exists()]
    return {short: names for short, names in gone.items() if names}


# --- Comparison: the reason to run a stage again ---


def changed_fact(facts: Record, record: Record) -> str | None:
    """The first reason why the result would be another one than `record` tells of, else None.

    Times of what is the same in another place, or since another time, are brought up to date in `record`.
    """
    if not record:
        return "has not finished before"
    kinds = {"code": "{} changed", "parameters": "parameter {} changed", "needs": "{} ran again"}
    for kind, reason in kinds.items():
        now, before = facts[kind], record["facts"][kind]
        for name in now | before:
            if now.get(name) != before.get(name):
                return reason.format(name)
    for path, known in record["inputs"].items():
        content, _, times = known.partition(" ")
        place = located(path)
        if not place.exists():
            return f"{place} is gone"
        if (now := stamp(place)) != times:
            if not content or fingerprint(place) != content:
                return f"{place} changed"
            record["inputs"][path] = f"{content} {now}"
    return None


def changed_output(outputs: Path, record: Record) -> str | None:
    """Which of the files that the stage wrote is not there as it was written, else None; `record` as above."""
    for name, known in record["outputs"].items():
        path = outputs / name
        if not path.is_file():
            return f"an output is missing: {name}"
        status = path.stat()
        if [status.st_size, status.st_mtime_ns] != known[:2]:
            if (now := noted(path))[2:] != known[2:]:
                return f"an output was changed: {name}"
            record["outputs"][name] = now
    return None
