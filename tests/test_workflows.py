"""Workflows, as far as they can be tried without GitHub: what they run, and with which Pythons."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

from helpers.environment import project_root
from helpers.files import write_json

WORKFLOWS = project_root() / ".github" / "workflows"
TEMPLATE = project_root() / "docs" / "ci" / "papermill_batch.yml"


def jobs(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def test_the_oldest_and_the_newest_python_that_the_project_allows_are_tested_on_three_systems() -> None:
    matrix = jobs(WORKFLOWS / "tests.yml")["tests"]["strategy"]["matrix"]
    project = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = [f"3.{minor}" for minor in range(8, 30) if f"3.{minor}" in SpecifierSet(project["requires-python"])]
    assert matrix["python"] == [allowed[0], allowed[-1]]
    assert matrix["system"] == ["ubuntu-latest", "windows-latest", "macos-latest"]


def test_the_template_collects_the_figures_of_all_runs_in_one_table(tmp_path: Path) -> None:
    write_json(tmp_path / "results" / "epochs_4" / "metrics.json", {"headline": {"BLEU-4": 59.6, "CIDEr-D": 313}})
    write_json(tmp_path / "results" / "epochs_6" / "metrics.json", {"headline": {"BLEU-4": 60.1}})
    (script,) = [step["run"] for step in jobs(TEMPLATE)["collect"]["steps"] if step.get("shell") == "python"]
    environment = os.environ | {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    table = (tmp_path / "results" / "table.md").read_text()
    assert table == (tmp_path / "summary.md").read_text()
    assert table.splitlines()[0] == "| run | BLEU-4 | CIDEr-D |"
    assert table.splitlines()[2:] == ["| epochs_4 | 59.6 | 313 |", "| epochs_6 | 60.1 |  |"]


def files_named(command: str) -> set[str]:
    """Files that a command names and that the project should have, as they are or as modules to run."""
    words = re.findall(r"[^\s\"',;()\[\]]+", command)
    tops = {module: module.partition(".")[0] for word, module in pairwise(words) if word == "-m"}
    ours = [module for module, top in tops.items() if (project_root() / top).is_dir() or find_spec(top) is None]
    paths = {word for word in words if re.fullmatch(r"[\w.-][\w./-]*\.(py|txt|lock|toml|md)", word)}
    return paths | {f"{module.replace('.', '/')}.py" for module in ours}


def test_every_file_that_a_workflow_or_the_container_names_is_there() -> None:
    named: dict[str, set[str]] = {}
    for path in (*WORKFLOWS.glob("*.yml"), TEMPLATE):
        steps = [step for job in jobs(path).values() for step in job["steps"]]
        commands = [step["run"] for step in steps if "run" in step and step.get("shell") != "python"]
        caches = [step["with"]["cache-dependency-path"] for step in steps if "setup-python" in step.get("uses", "")]
        named[path.name] = files_named("\n".join(commands + caches))
    text = (project_root() / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"(?m)^#.*\n|\\\n", "", text).splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1] if word[:2] != "--"]
    named["Containerfile"] = files_named("\n".join(lines)) | set(copied)
    assert {"requirements.txt", "requirements.lock"} <= set.intersection(*named.values())
    assert {"run_all.py", "docs/book/build.py", "."} <= set.union(*named.values())
    assert [name for names in named.values() for name in names if not (project_root() / name).exists()] == []
    assert files_named("python -m docs.bok.build && python run_al.py -m pytest") == {"docs/bok/build.py", "run_al.py"}
    assert len(text.splitlines()) < 30 and any("--require-hashes" in line for line in lines)


def test_the_container_can_be_run_as_any_user() -> None:
    """Whoever mounts a folder of theirs gives their number with it, and it may be another than the image's."""
    text = (project_root() / "Containerfile").read_text(encoding="utf-8")
    made, _, run = text.partition("\nUSER ")
    assert 'docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/outputs:/course/outputs" course' in made
    assert run.startswith("1000\n") and "pip install" in made and "pip install" not in run  # not into somebody's home
    assert re.search(r"chmod -R a\+rX \.", made) and "chmod a+rwx outputs data /home/learner" in made
    assert "ENV HOME=/home/learner USER=learner" in run  # which the system does not know of another user
