"""The whole chain on a very small sample, in a copy of the project of its own, as a user starts it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.environment import project_root
from helpers.files import read_json

SMALL = {
    "scenes": 60,
    "pictures_per_class": 12,
    "lstm_epochs": 2,
    "lstm_hidden": 64,
    "attention_epochs": 1,
    "attention_hidden": 32,
    "transformer_epochs": 1,
    "transformer_width": 32,
    "self_critical_epochs": 1,
    "consensus_photos": 3,
    "mirrored": True,
    "encoder_epochs": 1,
    "encoder_photo_size": 64,
    "class_epochs": 1,
    "class_photo_size": 64,
    "fusion_epochs": 1,
    "pretrained_epochs": 1,
    "reranked_photos": 3,
    "calibration_photos": 8,
    "judged_photos": 6,
    "pictures": 10,  # of the drawn album, of each kind
    "threads": 1,  # the models are too small to share, and other work may be under way
}
NOWHERE = "http://127.0.0.1:9"


class Chain:
    """A copy of the project in a folder of its own, as after a fresh clone, and `run(...)`, its `run_all.py`.

    A copy that is there is used again, with what it has come to.
    """

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.cache = self.kaggle = folder / "cache"
        self.outputs = self.project / "outputs" / "sample"
        if (self.project / "run_all.py").exists():  # it is copied last
            return
        for name in ("helpers", "notebooks"):
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(project_root() / name, self.project / name, ignore=ignored, dirs_exist_ok=True)
        shutil.copy(project_root() / "run_all.py", self.project)

    def start(self, *arguments: str, wrap: Sequence[str] = (), **settings: object) -> subprocess.Popen[str]:
        """`run_all.py` with these arguments and settings, at work; what it prints comes through pipes.

        `wrap` is a command that runs another one, such as `prlimit` or `env`.
        """
        pairs = [f"--set={name}={value}" for name, value in (SMALL | settings).items()]
        environment = os.environ | {
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), NOWHERE),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
            **dict.fromkeys(("HF_HOME", "TORCH_HOME"), str(self.cache)),
            "KAGGLEHUB_CACHE": str(self.kaggle),
        }
        command = [*wrap, sys.executable, "run_all.py", *arguments, *pairs]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, cwd=self.project, **pipes)

    def run(self, *arguments: str, wrap: Sequence[str] = (), **settings: object) -> subprocess.CompletedProcess[str]:
        """The same, and how it ended."""
        process = self.start(*arguments, wrap=wrap, **settings)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def metrics(self, stage_folder: str) -> dict:
        return read_json(self.outputs / stage_folder / "metrics.json")
