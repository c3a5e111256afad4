"""Where things run: the choice, what is said of it, and that a training leaves nothing behind on the processor."""

import os
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import run_all
from helpers import devices
from helpers.devices import CPU, autocast, choose_device, device_of, in_words, on_cpu, short_floats, to_device
from helpers.environment import COMMAND, project_root, start, supports_bf16
from helpers.files import InputError
from helpers.training.optimizer import adamw, descend


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_chosen", CPU)
    short_floats.cache_clear()


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """PyTorch says that there is one; nothing is computed on it."""
    gpu = SimpleNamespace(bfloat16=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    return gpu


def test_auto_is_a_gpu_where_there_is_one(a_gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == devices.chosen_device() == torch.device("cuda")
    assert choose_device("cpu") == devices.chosen_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == CPU  # a Mac's GPU is asked for by name
    assert choose_device("mps") == torch.device("mps")


def test_fewer_processes_are_asked_for_where_they_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 4)
    with pytest.raises(InputError, match=r"the 4 cores .*; use fewer: set processes = 4 in the notebook\.$"):
        choose_device("cpu", 5)
    monkeypatch.setenv(COMMAND, "python run_all.py --processes 5")
    with pytest.raises(InputError) as raised:
        choose_device("cpu", 5)
    words = shlex.split(str(raised.value).split("`")[1])
    settings = run_all.parse_settings(run_all.parse_arguments(words[2:]).set, run_all.STAGES)
    assert words[:2] == ["python", "run_all.py"] and settings == {"processes": 4}


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=rf"{name} cannot be used: PyTorch sees no .* GPU.* set device = 'cpu'"):
        choose_device(name)
    assert devices.chosen_device() == CPU


def test_a_notebook_says_where_it_runs(capsys: pytest.CaptureFixture[str], a_gpu: SimpleNamespace) -> None:
    start(7, 1)
    assert "seed 7, 1 thread, bfloat16" in capsys.readouterr().out
    assert in_words(choose_device("cuda")) == "training on cuda (Tesla T4) in bfloat16, else 1 thread"
    a_gpu.bfloat16 = False
    short_floats.cache_clear()
    assert in_words(choose_device("cuda")) == "training on cuda (Tesla T4) in float16, else 1 thread"


def test_float16_is_scaled_and_nothing_else(a_gpu: SimpleNamespace) -> None:
    cuda = torch.device("cuda")
    assert short_floats(cuda) is torch.bfloat16 and not devices.gradient_scaler(cuda).is_enabled()
    a_gpu.bfloat16 = False
    short_floats.cache_clear()
    assert short_floats(cuda) is torch.float16 and devices.gradient_scaler(cuda).is_enabled()
    assert not devices.gradient_scaler(CPU).is_enabled()
    assert short_floats(torch.device("mps")) is None


def test_a_scaled_step_is_the_step() -> None:
    # Scaling by a power of two changes no digit; what is clipped is the gradient and not the scaled one.
    torch.manual_seed(0)
    rows, first = torch.randn(16, 8), nn.Linear(8, 4)
    second = nn.Linear(8, 4)
    second.load_state_dict(first.state_dict())
    for model, scaler in ((first, None), (second, torch.amp.GradScaler("cpu", init_scale=1024.0))):
        optimizer = adamw(model.parameters(), 0.1, 0.01)
        for _ in range(5):
            descend(model, optimizer, model(rows).pow(2).sum(), clip=0.5, scaler=scaler)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)


def test_autocast_changes_matrix_products_only_where_it_pays() -> None:
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if supports_bf16() else torch.float32)


def test_a_processor_held_to_less_gets_no_bfloat16() -> None:
    code = """
import torch
from helpers.devices import CPU, autocast
with autocast(CPU):
    print((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
"""
    held = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root(), env=held)
    assert run.stdout.strip() == "torch.float32", run.stderr


def test_what_is_there_is_not_copied() -> None:
    rows = np.arange(6.0)
    assert to_device(rows, nn.Linear(2, 2)).data_ptr() == rows.ctypes.data
    assert device_of(nn.BatchNorm1d(2, affine=False)) == device_of(object()) == CPU


def test_states_come_to_the_processor_as_they_are() -> None:
    state = {"model": nn.BatchNorm1d(2).state_dict(), "epochs": [{"loss": 0.5}], "best": None}
    copied = on_cpu(state)
    assert copied.keys() == state.keys() and copied["epochs"] == state["epochs"] and copied["best"] is None
    assert type(copied["model"]) is type(state["model"])
    assert copied["model"]._metadata == state["model"]._metadata
    assert all(copied["model"][name].data_ptr() == tensor.data_ptr() for name, tensor in state["model"].items())
    there = on_cpu({"meta": [torch.ones(2)]})
    assert there["meta"][0].device == CPU


def test_trainings_decoders_and_features_run_on_another_device() -> None:
    # In a process of their own, since PyTorch has to know all its devices before it computes a first gradient.
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:]
