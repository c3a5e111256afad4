"""What processes do together in tests; a module of its own, since the others have to import it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from small_captioners import prepared
from torch import Tensor, nn

from helpers.captioning.training import CaptionData, batches, caption_loss
from helpers.encoders.fusion import Fusion, FusionConfig
from helpers.encoders.fusion_training import FusionData, FusionSettings, _FusionTraining
from helpers.encoders.pretrained import PretrainedConfig, PretrainedEncoder, ViewData
from helpers.encoders.training import EncoderSettings, _EncoderTraining
from helpers.training.checkpoints import resume, seed_epoch
from helpers.training.loop import Training
from helpers.training.optimizer import adamw, descend
from helpers.training.processes import process_index, sum_of_all, weighed

STEPS = 10
Steps = dict[str, list[float]]  # losses, norms of the gradients, and the weights at the end


def fusion() -> Training:
    rng = np.random.default_rng(0)
    keywords = rng.random((95, 8)).argsort(axis=1) < 2
    owners = np.repeat(np.arange(95), 2)
    vectors, sentences = keywords @ rng.normal(size=(8, 20)), keywords[owners] @ rng.normal(size=(8, 512))
    data = FusionData(vectors, sentences, owners, keywords, np.ones(8))
    torch.manual_seed(0)
    model = Fusion(FusionConfig("none", 20, side=32, embedding=16, photo_dropout=0.0, dropout=0.0))
    return _FusionTraining(model.double(), data, data, FusionSettings(epochs=1, batch=9))


def towers() -> Training:
    """Two texts a photo, and photos that share them."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 95)
    groups[:40] = np.arange(40)
    photos, texts = rng.normal(size=(95, 1, 20)), rng.normal(size=(120, 16))
    data = ViewData(photos, texts, groups, np.repeat(np.arange(40), 3), by_class=False)
    torch.manual_seed(0)
    model = PretrainedEncoder(PretrainedConfig("none", 20, "use", 16, 32, 0.0)).double()
    training = _EncoderTraining(model, data, data, EncoderSettings(epochs=1, batch=9, texts=2))
    training.loss.double()
    return training


def norm(model: nn.Module) -> float:
    return float(torch.stack([weight.grad.norm() for weight in model.parameters()]).norm())


def of_loop(training: Training) -> Steps:
    rng = seed_epoch(0, 0)
    training.model.train()
    steps: Steps = {"losses": [], "norms": []}
    for rows in np.array_split(rng.permutation(training.count), STEPS):  # of 9 and 10 photos
        steps["losses"].append(training.step(rows, rng))
        steps["norms"].append(norm(training.model))
    return steps | {"weights": weights(training.model)}


def of_captioner(kind: str) -> Steps:
    captioner, data, _ = prepared(45, kind=kind, dropout=0.0)
    model = captioner.model.double().train()
    without_batch_norm(model)
    optimizer, rng = adamw(model.parameters(), 1e-3, 1e-4), seed_epoch(0, 0)
    steps: Steps = {"losses": [], "norms": []}
    for places in batches(data, 5, rng)[:STEPS]:
        loss, count = caption_loss(model, *in_double(*data.batch(places, rng)), 0.1)
        descend(model, optimizer, weighed(loss, count), clip=1.0)
        total, words = sum_of_all(loss.item() * count, count)
        steps["losses"].append(total / words)
        steps["norms"].append(norm(model))
    return steps | {"weights": weights(model)}


def without_batch_norm(model: nn.Module) -> None:
    for name, part in list(model.named_children()):
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(model, name, nn.Identity())
        without_batch_norm(part)


def in_double(features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    return features.double(), tokens


def weights(model: nn.Module) -> list[float]:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]).tolist()


def ten_steps() -> dict[str, Steps]:
    """Of four trainings in double precision, from the same beginnings."""
    plain = Tensor.float
    Tensor.float = Tensor.double  # losses are computed in float32 on purpose
    try:
        found = {name: of_loop(make()) for name, make in TRAININGS.items()}
        return found | {kind: of_captioner(kind) for kind in ("lstm", "transformer")}
    finally:
        Tensor.float = plain


TRAININGS: dict[str, Callable[[], Training]] = {"fusion": fusion, "towers": towers}


class Deadly(CaptionData):
    """Photos at whose ninth batch the second process is killed, if `DEADLY` is in the environment."""

    calls: Iterator[int] = iter(range(10**6))

    def features(self, places: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        if os.environ.get("DEADLY") and process_index() == 1 and next(self.calls) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().features(places, rng)


def fail_alone(index: int, error: Exception) -> None:
    """This error in one of the processes, for which the others wait."""
    if process_index() == index:
        raise error
    sum_of_all(1.0)


def go_on(checkpoint: Path, stumbling: tuple[int, ...]) -> bool:
    """From a checkpoint over which some of the processes stumble, the main one last."""

    def restore(state: dict[str, int]) -> None:
        if process_index() == 0:
            time.sleep(1)
        if process_index() in stumbling:
            raise ValueError("it does not fit")

    return resume(checkpoint, "run", restore)


def wait_for_ever(note: Path) -> None:
    """Note who is here; the main process then does something else, and the others wait for it."""
    (note / str(process_index())).write_text(str(os.getpid()))
    if process_index() == 0:
        signal.pause()
    sum_of_all(1.0)
