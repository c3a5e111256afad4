"""Files of weights: the same bytes for the same weights."""

import os
from pathlib import Path

import pytest
import torch

from helpers.training.checkpoints import load_checkpoint, save_checkpoint


def test_the_same_weights_are_the_same_bytes_whoever_saves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.nn.Linear(3, 2).state_dict()
    save_checkpoint(tmp_path / "one.pt", "abc", weights)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    save_checkpoint(tmp_path / "other.pth", "abc", load_checkpoint(tmp_path / "one.pt", "abc"))
    assert (tmp_path / "other.pth").read_bytes() == (tmp_path / "one.pt").read_bytes()
