"""Captioners that write together: each sees the photo in its own way, and every word is chosen by all of them.

Models trained apart make different mistakes. The mean of their log-probabilities, the logarithm of the geometric mean
of their probabilities, is high only for words that all of them find likely; it usually beats the best of them
(Sutskever et al. 2014, arXiv:1409.3215; Vinyals et al. 2015, arXiv:1411.4555). The price is the time of all of them.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from helpers.captioning.captioner import LOOKS_AT, Captioner
from helpers.features.backbones import vector_is_mean
from helpers.files import InputError


class Ensemble(nn.Module):
    """Models with one vocabulary behind the interface of one model; all of them look at the same grid."""

    def __init__(self, models: Sequence[nn.Module], sees_vector: Sequence[bool]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.sees_vector = list(sees_vector)
        self.sizes: list[int] = []  # how many tensors each model's memory and state are

    def encode(self, features: Tensor) -> Tensor:
        """The grid (B, R, C) itself; what the models make of it is part of the state, which may hold many tensors."""
        return features

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Each model's memory and state, one model after another."""
        parts = []
        for model, vector in zip(self.models, self.sees_vector, strict=True):
            own = model.encode(memory.mean(1) if vector else memory)
            parts.append((own, *model.initial_state(own)))
        self.sizes = [len(part) for part in parts]
        return tuple(tensor for part in parts for tensor in part)

    def step(
        self, tokens: Tensor, state: tuple[Tensor, ...], memory: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], None]:
        """Last tokens (B,) -> mean log-probabilities of the next (B, V), all the models' new states, no attention."""
        total, grown, start = 0, [], 0
        for model, size in zip(self.models, self.sizes, strict=True):
            own, *rest = state[start : start + size]
            log_probs, rest, _ = model.step(tokens, tuple(rest), own)
            total = total + log_probs
            grown += [own, *rest]
            start += size
        return total / len(self.models), tuple(grown), None


def can_join(captioner: Captioner, other: Captioner) -> bool:
    """Whether the two could write together: with one vocabulary, and from one grid of a photo.

    A captioner that looks at a vector is given the mean of the grid, which not every backbone's vector is.
    """
    same = captioner.tokenizer.vocabulary == other.tokenizer.vocabulary and captioner.backbone == other.backbone
    sights = {LOOKS_AT[one.kind] for one in (captioner, other)}
    return same and (sights == {"grid"} or vector_is_mean(captioner.backbone))


def ensemble(captioners: Sequence[Captioner]) -> Captioner:
    """One captioner of several, with the decoding of the last.

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
    return replace(captioners[-1], kind="ensemble", model=model)
