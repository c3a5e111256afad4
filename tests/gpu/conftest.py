"""What runs on a GPU: `make test-gpu`. Where PyTorch sees none, another device stands in, see other_device.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent)]

from other_device import NAME, register  # noqa: E402

from helpers import devices  # noqa: E402

if not torch.cuda.is_available():
    register()  # before a first gradient is computed


@pytest.fixture
def gpu() -> torch.device:
    """The device that is not the processor."""
    return torch.device("cuda") if torch.cuda.is_available() else torch.device(NAME, 0)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that the processor and a GPU can be compared."""
    monkeypatch.setattr(devices, "short_floats", lambda device: None)
    monkeypatch.setattr(devices, "_chosen", devices.CPU)
    yield
