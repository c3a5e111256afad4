"""Captioners that write together: each sees the photo in its own way, and every word is chosen by all of them.

Models trained apart make different mistakes. The mean of their log-probabilities, the logarithm of the geometric mean
of their probabilities, is high only for words that all of them find likely; it usually beats the best of them
(Sutskever et al. 2014, arXiv:1409.3215; Vinyals et al. 2015, arXiv:1411.4555). The price is the time of all of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Size, Tensor, nn

from helpers.backbone_names import vector_is_mean
from helpers.captioning.captioner import LOOKS_AT, Captioner
from helpers.files import InputError


class Ensemble(nn.Module):
    """Models with one vocabulary behind the interface of one model; all of them look at the same grid."""

    def __init__(self, models: Sequence[nn.Module], sees_vector: Sequence[bool]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.sees_vector = list(sees_vector)
        self.shapes: list[Size] = []  # of what each model remembers of a photo
        self.counts: list[int] = []  # how many tensors each model's state has

    def encode(self, features: Tensor) -> Tensor:
        """Grids (P, R, C) -> what all models remember of each photo, side by side in one row: (P, sum)."""
        parts = [
            model.encode(features.mean(1) if vector else features)
            for model, vector in zip(self.models, self.sees_vector, strict=True)
        ]
        self.shapes = [part.shape[1:] for part in parts]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Each model's state, one model after another."""
        states = [model.initial_state(own) for model, own in zip(self.models, self._split(memory), strict=True)]
        self.counts = [len(state) for state in states]
        return tuple(part for state in states for part in state)

    def step(
        self, tokens: Tensor, state: tuple[Tensor, ...], memory: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], None]:
        """Last tokens (B,) -> mean log-probabilities of the next (B, V), all the models' new states, no attention."""
        total, grown, start = 0, [], 0
        for model, count, own in zip(self.models, self.counts, self._split(memory), strict=True):
            log_probs, new, _ = model.step(tokens, state[start : start + count], own)
            total = total + log_probs
            grown += new
            start += count
        return total / len(self.models), tuple(grown), None

    def _split(self, memory: Tensor) -> list[Tensor]:
        """Each model's own memory, from the row in which they stand side by side."""
        parts = memory.split([shape.numel() for shape in self.shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]


def can_join(captioner: Captioner, other: Captioner) -> bool:
    """Whether the two could write together: with one vocabulary, and from one grid of a photo.

    A captioner that looks at a vector is given the mean of the grid, which not every backbone's vector is.
    """
    same = captioner.tokenizer.vocabulary == other.tokenizer.vocabulary and captioner.backbone == other.backbone
    sights = {LOOKS_AT[one.kind] for one in (captioner, other)}
    return same and (sights == {"grid"} or vector_is_mean(captioner.backbone))


def ensemble(captioners: Sequence[Captioner]) -> Captioner:
    """One captioner of several, with the decoding of the last; its captions are as long as all of them can write.

    Raises:
        InputError: they do not share vocabulary and backbone, or one's vector is not the mean of the grid.
    """
    vocabularies = {captioner.tokenizer.vocabulary for captioner in captioners}
    backbones = {captioner.backbone for captioner in captioners}
    if len(vocabularies) > 1 or len(backbones) > 1:
        raise InputError(
            "Only captioners with the same vocabulary and backbone can write together; train them with the same "
            f"settings (these look through {', '.join(sorted(backbones))})."
        )
    if not all(can_join(captioner, captioners[-1]) for captioner in captioners):
        raise InputError(
            f"The vector of {captioners[-1].backbone} is not the mean of its grid; leave the LSTM out of the ensemble."
        )
    sees_vector = [LOOKS_AT[captioner.kind] == "vectors" for captioner in captioners]
    model = Ensemble([captioner.model for captioner in captioners], sees_vector).eval()
    shortest = min(captioner.max_length for captioner in captioners)  # a transformer has no more places for words
    return replace(captioners[-1], kind="ensemble", model=model, max_length=shortest)
