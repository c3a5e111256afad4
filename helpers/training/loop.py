"""The loop of a training: epochs of shuffled batches, the best epoch kept, and a killed run that goes on where it was.

class FusionTraining(Training): ...      # says what the `loss_of` a batch is, and how to `judge`
history = FusionTraining(model, optimizer, settings, count).run(folder, fingerprint)
"""

import copy
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from helpers.devices import device_of, gradient_scaler
from helpers.environment import keep_freed_memory, progress
from helpers.files import CHECKPOINT, InputError
from helpers.training.checkpoints import resume, save_checkpoint, seed_epoch
from helpers.training.optimizer import descend, load_moments, load_scale, set_learning_rate, warmup_cosine
from helpers.training.processes import agreed, share_statistics, together


class LoopSettings(Protocol):
    """What the loop needs to know of a training's settings."""

    epochs: int
    batch: int  # photos a step
    learning_rate: float  # at the end of the warm-up
    warmup: float  # share of the steps
    seed: int


class Training(ABC):
    """Everything that an epoch changes, and the epoch itself.

    Args:
        model: what learns, where it is to be trained.
        optimizer: of all that learns.
        settings: the recipe.
        count: training photos.
        clip: largest norm of all gradients together; None leaves them alone.
        others: what else learns, such as a loss with a temperature, by the name it has in a checkpoint.

    Raises:
        InputError: there are no epochs.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: LoopSettings,
        count: int,
        clip: float | None = None,
        **others: nn.Module,
    ) -> None:
        if settings.epochs < 1:
            raise InputError(f"{settings.epochs} epochs train nothing; give at least 1.")
        self.model, self.optimizer, self.settings, self.count = model, optimizer, settings, count
        self.clip = clip
        self.scaler = gradient_scaler(device_of(model))
        self.epochs: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"score": math.nan}
        self._modules = {"model": model, **others}

    @abstractmethod
    def loss_of(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """The loss of one batch, the training photos `rows`, each with what `rng` draws for it.

        Where several processes train, the model sees this one's `share` of the batch, and the loss all of it.
        """

    @abstractmethod
    def judge(self) -> tuple[dict[str, float], float]:
        """Figures of the model as it is, on validation data, and the one by which epochs are compared."""

    def step(self, rows: np.ndarray, rng: np.random.Generator) -> float:
        """One batch; returns the loss.

        Raises:
            InputError: it is no longer a number.
        """
        loss = self.loss_of(rows, rng)
        if not loss.isfinite():
            raise InputError("The loss is no longer a number; use a lower learning rate.")
        descend(self.model, self.optimizer, loss, self.clip, self.scaler)
        return loss.item()

    def run_epoch(self, epoch: int) -> None:
        """Train on every photo once, judge, and remember the weights if they are the best so far."""
        started = time.perf_counter()
        rng = seed_epoch(self.settings.seed, epoch)
        order = rng.permutation(self.count)
        # Batches of equal size: a small last one would have fewer negatives, or none, and poor batch statistics.
        batches = np.array_split(order, max(1, min(round(len(order) / self.settings.batch), len(order) // 2)))
        steps = self.settings.epochs * len(batches)
        self.model.train()
        losses = []
        for number, rows in enumerate(batches):
            rate = warmup_cosine(epoch * len(batches) + number, steps, self.settings.warmup)
            set_learning_rate(self.optimizer, self.settings.learning_rate * rate)
            losses.append(self.step(rows, rng))
        seconds = time.perf_counter() - started
        share_statistics(self.model)
        figures, score = agreed(self.judge)
        self.epochs.append({"train_loss": float(np.mean(losses)), "seconds": seconds} | figures)
        if score > self.best["score"] or math.isnan(self.best["score"]):  # where none is a number, the last is kept
            self.best = {"score": score, "epoch": epoch + 1, "model": copy.deepcopy(self.model.state_dict())}

    def run(self, folder: Path, fingerprint: str) -> dict[str, Any]:
        """Train to the end, in as many processes as were chosen, and give the model its best weights.

        It goes on from the checkpoint in `folder`, if that is of this run.

        Returns:
            The history: `epochs` (a mapping each), best_epoch (from 1), train_seconds,
            photos_per_second, parameters.
        """
        return together(self._run, folder, fingerprint)

    def _run(self, folder: Path, fingerprint: str) -> dict[str, Any]:
        """`run`, in one of the processes."""
        keep_freed_memory()
        if resume(folder / CHECKPOINT, fingerprint, self._restore):
            print(f"Continuing after epoch {len(self.epochs)} of {self.settings.epochs}.")
        for epoch in progress(range(len(self.epochs), self.settings.epochs), "training", unit="epoch"):
            self.run_epoch(epoch)
            parts = self._modules | {"optimizer": self.optimizer, "scaler": self.scaler}
            state = {name: part.state_dict() for name, part in parts.items()}
            save_checkpoint(folder / CHECKPOINT, fingerprint, state | {"epochs": self.epochs, "best": self.best})
        self.model.load_state_dict(self.best["model"])
        self.model.eval()
        seconds = sum(row["seconds"] for row in self.epochs)
        return {
            "epochs": self.epochs,
            "best_epoch": self.best["epoch"],
            "train_seconds": round(seconds, 1),
            "photos_per_second": round(len(self.epochs) * self.count / seconds, 1),
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint holds; any exception says that it is not of this training."""
        self.model.load_state_dict(state["best"]["model"])  # which `run` ends with
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        load_moments(self.optimizer, state["optimizer"])
        load_scale(self.scaler, state)
        self.epochs = TypeAdapter(list[dict[str, int | float]]).validate_python(state["epochs"], strict=True)
        self.best = state["best"]
        if min(row["seconds"] for row in self.epochs) <= 0 or not 1 <= self.best["epoch"] <= len(self.epochs):
            raise ValueError("no epochs as this training counts them")
        float(self.best["score"])
