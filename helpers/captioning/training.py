"""Training a captioner, whichever of the three: cross-entropy on whole captions, the best epoch kept.

The recipe, and why:

- A step takes a few photos with all their captions. Each photo is encoded once, and each caption is one sequence; a
  row for every prefix would compute the same states a dozen times over.
- Photos whose longest captions are about as long go together, so that little of a batch is padding, and only the
  states of real words reach the output layer, which is the most expensive one.
- AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), warm-up, then half a cosine down (arXiv:1608.03983), gradients
  clipped (Pascanu et al. 2013, arXiv:1211.5063), smoothed labels (Szegedy et al. 2016, arXiv:1512.00567), products in
  bfloat16 where the processor has it.
- Which epoch is kept is decided by CIDEr-D of captions decoded freely on validation photos. Teacher-forced loss says
  how well the model continues the truth, and it turns up epochs before the captions stop getting better.

A second stage can follow, in which the model is rewarded for captions of its own: see `self_critical.py`. It starts
from the best epoch of the first. Last, the weights halfway between the best of both are tried: they cost nothing, and
often write better than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903). The
second stage sharpens what is drawn and what is likeliest; halfway back a wider search has more to choose from. So here,
unlike after an epoch, the validation photos are captioned as the captioner will be used.

A killed run continues at its next epoch and ends with the same weights (see `training/checkpoints.py`).
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import seal
from helpers.captioning.captioner import WEIGHTS, Captioner, features_of, save_captioner
from helpers.captioning.decoding import greedy
from helpers.captioning.scoring import score_captions
from helpers.captioning.self_critical import CiderReward, self_critical_loss
from helpers.data.manifest import Photo
from helpers.data.text import Tokenizer
from helpers.devices import autocast, chosen_device, device_of, gradient_scaler, to_device
from helpers.environment import keep_freed_memory, progress
from helpers.features.rows import Rows, told_by
from helpers.features.store import Features
from helpers.files import CHECKPOINT, InputError, read_json, write_json
from helpers.training.checkpoints import (
    CONFIG,
    fingerprint_run,
    finished_history,
    load_finished,
    mark_finished,
    resume,
    save_checkpoint,
    seed_epoch,
)
from helpers.training.optimizer import adamw, descend, load_moments, load_scale, set_learning_rate, warmup_cosine
from helpers.training.processes import (
    agreed,
    process_index,
    several,
    share,
    share_statistics,
    sum_of_all,
    together,
    weighed,
)

History = list[dict[str, Any]]  # an entry an epoch
PART = 100  # photos decoded from one reading of their features: a wide grid of each is a megabyte and more
_POOL = 16  # batches' worth of photos that are sorted by length together


@dataclass(frozen=True)
class CaptionTraining:
    """What a training run is made of."""

    epochs: int
    batch: int = 32  # photos a step
    learning_rate: float = 1e-3  # at the end of the warm-up
    warmup: float = 0.05  # share of the steps
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    clip: float = 1.0  # largest norm of all gradients together
    patience: int = 4  # epochs without a better CIDEr-D after which a stage ends
    self_critical_epochs: int = 0  # of the second stage, see `self_critical.py`
    self_critical_rate: float = 3e-5  # its learning rate, at the end of its warm-up
    self_critical_captions: int = 5  # drawn for each photo
    seed: int = 42


@dataclass(frozen=True)
class CaptionData:
    """The photos of one split, ready for training.

    Attributes:
        ids: photo ids.
        views: (M, D) or (M, R, C) of all photos of the data set, as they are and, where there are more, seen in other
            ways, such as mirrored; may lie on disk.
        rows: (N,), where in each view these photos are.
        tokens: int64 (N, k, T), padded with 0. A photo with fewer than k captions has rows of `<SOS>` alone.
        captions: the captions as their authors wrote them, for scoring.
        origins: the data set that each photo comes from.
    """

    ids: list[str]
    views: list[np.ndarray | Rows]
    rows: np.ndarray
    tokens: np.ndarray
    captions: list[tuple[str, ...]]
    origins: Sequence[str] = ()

    def batch(self, places: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Features float32 (P, ...) and tokens (P * k, T) of the photos at `places` (P,), T as short as it can be.

        With `rng` each photo is seen in one of its views, drawn at random; else in the first, as it is. And with it
        they are, where several processes train, this one's share of the photos.
        """
        tokens = self.tokens[places if rng is None else share(places)]
        longest = int((tokens != 0).sum(2).max())
        tokens = tokens[:, :, :longest].reshape(-1, longest)
        return torch.from_numpy(self.features(places, rng)), torch.from_numpy(tokens)

    def features(self, places: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Float32 (P, D) or (P, R, C) of the photos at `places` (P,); see `batch`."""
        drawn = np.zeros(len(places), int)
        if rng is not None:
            drawn, places = share(rng.integers(len(self.views), size=len(places))), share(places)
        rows = zip(drawn, self.rows[places], strict=True)
        return np.stack([self.views[view][row] for view, row in rows]).astype(np.float32)

    def parts(self) -> Iterator[np.ndarray]:
        """Features float32 (P, ...) of all photos, some at a time: those of 5,000 grids are 2 GB."""
        for start in range(0, len(self.ids), PART):
            yield self.features(np.arange(start, min(start + PART, len(self.ids))))


def caption_data(
    kind: str, photos: Sequence[Photo], views: Sequence[Features], tokenizer: Tokenizer, max_length: int
) -> CaptionData:
    """What a captioner of this `kind` trains on.

    `views` are the photos' features as they are and, to train on, in other ways: see `CaptionData`.

    Raises:
        InputError: there are no photos, or one has no features.
    """
    if not photos:
        raise InputError("There are no photos to train on or to validate with; check the split in notebook 01.")
    most = max(len(photo.captions) for photo in photos)
    encoded = tokenizer.encode_batch([text for photo in photos for text in photo.captions], max_length)
    tokens = np.full((len(photos), most, encoded.shape[1]), tokenizer.pad_id, np.int64)
    tokens[:, :, 0] = tokenizer.sos_id
    ends = np.cumsum([len(photo.captions) for photo in photos])
    for place, (photo, end) in enumerate(zip(photos, ends, strict=True)):
        tokens[place, : len(photo.captions)] = encoded[end - len(photo.captions) : end]
    ids = [photo.id for photo in photos]
    arrays = [features_of(kind, features) for features in views]
    captions, origins = [photo.captions for photo in photos], [photo.origin for photo in photos]
    return CaptionData(ids, arrays, views[0].rows(ids), tokens, captions, origins)


def split_data(
    kind: str, splits: Mapping[str, Sequence[Photo]], views: Sequence[Features], tokenizer: Tokenizer, max_length: int
) -> dict[str, CaptionData]:
    """`caption_data` by split: photos to train on in all their views, those that judge as they are."""
    return {
        split: caption_data(kind, photos, views if split == "train" else views[:1], tokenizer, max_length)
        for split, photos in splits.items()
    }


def caption_loss(
    model: nn.Module, features: Tensor, tokens: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, int]:
    """Teacher-forced cross-entropy, mean over the words, and how many words there are.

    `<SOS> a dog runs` goes in, and `a dog runs <EOS>` must come out.
    """
    features, tokens = to_device(features, model), to_device(tokens, model)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]  # (P * k, T - 1)
    real = targets != 0
    with autocast(tokens.device):
        states = model.states(features, inputs)  # (P * k, T - 1, H)
        logits = model.logits(states[real])  # (words, V)
    return F.cross_entropy(logits.float(), targets[real], label_smoothing=label_smoothing), int(real.sum())


def batches(data: CaptionData, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All photos in random order, in batches of about `size`, photos with captions of similar length together."""
    longest = (data.tokens != 0).sum(2).max(1)  # (N,)
    order = rng.permutation(len(data.ids))
    pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
    order = np.concatenate([pool[np.argsort(longest[pool], kind="stable")] for pool in pools])
    # Equal parts, of two at least: a batch of a single photo would have no spread for batch normalisation.
    parts = np.array_split(order, max(1, min(math.ceil(len(order) / size), len(order) // 2)))
    return [parts[place] for place in rng.permutation(len(parts))]


def padding_share(data: CaptionData, parts: Sequence[np.ndarray]) -> float:
    """The share of the places in batches `parts` that hold padding, from 0 to 1."""
    lengths = (data.tokens != 0).sum(2)  # (N, k)
    places = sum(lengths[part].max() * lengths[part].size for part in parts)
    return 1 - float(sum(lengths[part].sum() for part in parts) / places)


@torch.inference_mode()
def validate(captioner: Captioner, data: CaptionData, batch: int = 100) -> dict[str, float]:
    """Teacher-forced loss, and BLEU-4 and CIDEr-D of greedy captions."""
    captioner.model.eval()
    total = words = 0
    texts: list[str] = []
    for start in range(0, len(data.ids), batch):
        features, tokens = data.batch(np.arange(start, min(start + batch, len(data.ids))))
        loss, count = caption_loss(captioner.model, features, tokens)
        total, words = total + loss.item() * count, words + count
        texts += captioner.texts(greedy(captioner.model, features, captioner.rules))
    scores = score_captions(dict(zip(data.ids, texts, strict=True)), dict(zip(data.ids, data.captions, strict=True)))
    return {"val_loss": total / words, "bleu_4": scores["bleu_4"], "cider_d": scores["cider_d"]}


def caption_photos(captioner: Captioner, data: CaptionData) -> dict[str, str]:
    """Photo id -> caption of each photo in `data`, decoded as `captioner` is set."""
    texts = [text for part in data.parts() for text in captioner.texts(captioner.decode(part))]
    return dict(zip(data.ids, texts, strict=True))


def cider_as_used(captioner: Captioner, data: CaptionData) -> float:
    """CIDEr-D of captions that are decoded as `captioner` is set."""
    return score_captions(caption_photos(captioner, data), dict(zip(data.ids, data.captions, strict=True)))["cider_d"]


def train_captioner(
    captioner: Captioner, train: CaptionData, val: CaptionData, settings: CaptionTraining, folder: Path
) -> History:
    """Train `captioner` in place, on the chosen device, and write it to `folder`; one dict of figures an epoch.

    Until training has ended, `folder` receives nothing but `checkpoint.pt`: a finished captioner that is already
    there stays usable. A checkpoint of the same run is continued, one of another run is set aside. Where the same run
    has ended before, its model is loaded instead.

    Raises:
        InputError: the loss is no longer a number, or there are no epochs to train for.
    """
    if settings.epochs < 1:
        raise InputError(f"{settings.epochs} epochs train nothing; give at least 1.")
    keep_freed_memory()
    model = captioner.model.to(chosen_device())
    run = fingerprint_run(
        **several(),
        settings=asdict(settings),
        model=[captioner.kind, asdict(model.config), captioner.backbone, captioner.max_length],
        initial=torch.cat([weight.detach().flatten() for weight in model.state_dict().values()]),
        frozen=[name for name, weight in model.named_parameters() if not weight.requires_grad],
        captions=[train.captions, val.captions],
        tokens=train.tokens,
        # Of the whole data set, and which rows of it: those of some photos would be copied first, gigabytes of COCO's.
        features=[told_by(view) for data in (train, val) for view in data.views],
        train_rows=train.rows,
        val_rows=val.rows,
    )
    ended: History | None = finished_history(folder / WEIGHTS, run)
    if ended is not None:
        load_finished(model, folder / WEIGHTS)
        config = read_json(folder / CONFIG)  # how it decodes is no part of the training, and may have changed
        write_json(folder / CONFIG, config | {"beam": captioner.beam, "length_power": captioner.length_power})
        seal(folder, CONFIG)
        mark_finished(folder / WEIGHTS, run)
        return ended
    history, best, likelihood = together(_train, captioner, train, val, settings, folder, run)
    model.load_state_dict(best)
    model.eval()
    save_captioner(folder, captioner, history, likelihood)
    mark_finished(folder / WEIGHTS, run)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return history


def _train(
    captioner: Captioner, train: CaptionData, val: CaptionData, settings: CaptionTraining, folder: Path, run: str
) -> tuple[History, dict[str, Any], dict[str, Any] | None]:
    """The epochs, in one of the processes: their figures, the best weights, and those from before the second stage."""
    model = captioner.model
    tail = list(getattr(model, "tail", nn.Identity()).parameters())  # of the backbone, where it is trained on
    optimizer = adamw(model.parameters(), settings.learning_rate, settings.weight_decay, pretrained=tail)
    scaler = gradient_scaler(device_of(model))
    history: History = []
    best: dict[str, Any] = {}
    likelihood: dict[str, Any] | None = None  # the best weights of the first stage, once the second has begun

    def restore(state: dict[str, Any]) -> None:
        nonlocal history, best, likelihood
        for weights in (state["likelihood"], state["best"], state["model"]):  # all three have to fit, and one stays
            if weights is not None:
                model.load_state_dict(weights)
        load_moments(optimizer, state["optimizer"])
        load_scale(scaler, state)
        history, best, likelihood = state["history"], state["best"], state["likelihood"]
        told = [_in_words(figures) for figures in history]  # which takes what an epoch has
        print(f"continuing after epoch {len(told)}")

    resume(folder / CHECKPOINT, run, restore)

    reward: CiderReward | None = None
    while (stage := _next_stage(history, settings)) is not None:
        start = time.perf_counter()
        rng = seed_epoch(settings.seed, len(history))
        if stage == "halfway":
            figures = _try_halfway(captioner, val, likelihood, best)
        elif stage == "self-critical":
            reward = reward or CiderReward(train.captions)
            if history[-1]["stage"] != stage:  # the second stage starts from the best of the first
                likelihood = best
                model.load_state_dict(best)
                optimizer = adamw(
                    model.parameters(), settings.self_critical_rate, settings.weight_decay, pretrained=tail
                )
            figures = _self_critical_epoch(captioner, optimizer, scaler, train, settings, history, rng, reward)
        else:
            figures = _cross_entropy_epoch(model, optimizer, scaler, train, settings, len(history), rng)
        seconds = time.perf_counter() - start
        share_statistics(model)
        judged = agreed(lambda: validate(captioner, val))
        history.append({"epoch": len(history) + 1, "stage": stage} | figures | {"train_seconds": seconds} | judged)
        history[-1]["seconds"] = time.perf_counter() - start
        print(_in_words(history[-1]))
        if best_epoch(history) == len(history):
            best = {name: weight.clone() for name, weight in model.state_dict().items()}
        save_checkpoint(
            folder / CHECKPOINT,
            run,
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "history": history,
                "best": best,
                "likelihood": likelihood,
            },
        )
    return history, best, likelihood


def best_epoch(history: History) -> int:
    """The epoch, counted from 1, whose weights are kept; 0 before the first.

    It is the one with the highest validation CIDEr-D (of equals, the one with the lowest loss there: of a single photo,
    CIDEr-D is always 0), or the weights halfway, if these write better as they are used.
    """
    if history and "cider_d_as_used" in history[-1]:
        *epochs, last = history
        return len(history) if last["cider_d_as_used"] > last["cider_d_as_used_before"] else best_epoch(epochs)
    worth = [(figures["cider_d"], -figures["val_loss"]) for figures in history]
    return worth.index(max(worth)) + 1 if worth else 0


def halfway(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of two models' weights, name by name; of numbers that count something, those of the second."""
    return {
        name: (first[name] + weight) / 2 if weight.is_floating_point() else weight for name, weight in second.items()
    }


def _next_stage(history: History, settings: CaptionTraining) -> str | None:
    """The stage that the next epoch belongs to; None when training has ended."""
    stages = {"cross-entropy": settings.epochs, "self-critical": settings.self_critical_epochs}
    for stage, epochs in (stages | {"halfway": min(1, settings.self_critical_epochs)}).items():
        done = [epoch for epoch in history if epoch["stage"] == stage]
        if len(done) < epochs and len(done) - best_epoch(done) < settings.patience:
            return stage
    return None


def _cross_entropy_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    data: CaptionData,
    settings: CaptionTraining,
    epoch: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One pass over all photos with their own captions."""
    start = time.perf_counter()
    model.train()
    total = words = 0
    parts = batches(data, settings.batch, rng)
    for number, places in enumerate(progress(parts, f"epoch {epoch + 1} of {settings.epochs}", unit="step")):
        rate = warmup_cosine(epoch * len(parts) + number, settings.epochs * len(parts), settings.warmup)
        set_learning_rate(optimizer, settings.learning_rate * rate)
        loss, count = caption_loss(model, *data.batch(places, rng), settings.label_smoothing)
        descend(model, optimizer, weighed(loss, count), settings.clip, scaler)
        total, words = total + loss.item() * count, words + count
    total, words = sum_of_all(total, words)
    _check_loss(total, f"epoch {epoch + 1}", settings.learning_rate)
    return {"train_loss": total / words, "tokens_per_second": words / (time.perf_counter() - start)}


def _self_critical_epoch(
    captioner: Captioner,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    data: CaptionData,
    settings: CaptionTraining,
    history: History,
    rng: np.random.Generator,
    reward: CiderReward,
) -> dict[str, float]:
    """One pass over all photos with captions that the model draws itself."""
    epoch = sum(figures["stage"] == "self-critical" for figures in history)
    total = 0.0
    parts = batches(data, settings.batch, rng)
    bar = progress(parts, f"self-critical epoch {epoch + 1} of {settings.self_critical_epochs}", unit="step")
    for number, places in enumerate(bar):
        rate = warmup_cosine(epoch * len(parts) + number, settings.self_critical_epochs * len(parts), settings.warmup)
        set_learning_rate(optimizer, settings.self_critical_rate * rate)
        features = torch.from_numpy(data.features(places, rng))
        own, seed = share(places), int(rng.integers(2**31)) + process_index()
        loss, mean_reward = self_critical_loss(captioner, features, own, reward, settings.self_critical_captions, seed)
        _check_loss(loss.item(), f"self-critical epoch {epoch + 1}", settings.self_critical_rate)
        descend(captioner.model, optimizer, loss, settings.clip, scaler)
        total += mean_reward * len(own)
    (total,) = sum_of_all(total)
    return {"train_reward": total / len(data.ids)}


def _check_loss(loss: float, epoch: str, rate: float) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"The training loss is no longer a number in {epoch}; lower the learning rate (it is {rate:g}) and train "
            "again."
        )


def _try_halfway(
    captioner: Captioner, val: CaptionData, first: dict[str, Tensor], second: dict[str, Tensor]
) -> dict[str, Any]:
    """How well the best weights write as they are used, and those halfway, which the model has from then on."""
    figures = {"decoding": captioner.decoding}  # which may change, and these figures stay
    for name, weights in {"cider_d_as_used_before": second, "cider_d_as_used": halfway(first, second)}.items():
        captioner.model.load_state_dict(weights)
        figures[name] = agreed(partial(cider_as_used, captioner, val))
    return figures


def _in_words(figures: dict[str, Any]) -> str:
    """An epoch's figures as a line of text."""
    trained = {
        "cross-entropy": "loss {train_loss:.3f} train, {val_loss:.3f} val; {tokens_per_second:,.0f} words/s",
        "self-critical": "CIDEr-D of drawn captions {train_reward:.2f} of 10; {val_loss:.3f} val",
        "halfway": "halfway between both stages, {decoding}: CIDEr-D {cider_d_as_used:.1f}, before "
        "{cider_d_as_used_before:.1f}",
    }
    judged = "greedy on val: BLEU-4 {bleu_4:.1f}, CIDEr-D {cider_d:.1f}"
    return f"epoch {{epoch:2d}}: {trained[figures['stage']]}; {judged}".format(**figures)
