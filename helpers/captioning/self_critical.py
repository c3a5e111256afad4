"""Self-critical training: after cross-entropy, the model is rewarded for the captions it writes itself.

Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563) with the leave-one-out baseline of Luo (2020,
arXiv:2003.09971): several captions are drawn for each photo, each is worth its CIDEr-D less the mean of the others',
and the probability of what was worth more than its rivals goes up. CIDEr-D's document frequencies come from the
training captions; nothing of the validation or test split enters the reward.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.captioning.captioner import Captioner
from helpers.captioning.decoding import Caption, Rules, sample
from helpers.captioning.scoring import tokenize
from helpers.environment import autocast

Ngram = tuple[str, ...]
_TEMPERATURE = 0.8  # smoothed labels leave a tenth of the probability to any word at all: draw fewer of those
_END = "<EOS>"  # the end counts as a word: without it, captions that stop after "in a" would be worth as much


class CiderReward:
    """CIDEr-D of captions of training photos, with everything about the references computed once.

    The formula is that of `pycocoevalcap`, whose scorer would compute all reference vectors again in every step.
    """

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        counted = [[_ngrams(text) for text in photo] for photo in captions]
        holders = Counter(ngram for photo in counted for ngram in set().union(*photo))
        self.unseen = math.log(len(captions))  # the weight of an n-gram that no reference has
        self.weights = {ngram: self.unseen - math.log(count) for ngram, count in holders.items()}
        self.references = [[self._vector(counts) for counts in photo] for photo in counted]

    def _vector(self, counts: Counter[Ngram]) -> tuple[dict[Ngram, float], list[float], int]:
        """Weighted counts, their norm for each n, and the number of pairs, by which lengths are compared."""
        vector = {ngram: count * self.weights.get(ngram, self.unseen) for ngram, count in counts.items()}
        norms = [0.0] * 4
        for ngram, value in vector.items():
            norms[len(ngram) - 1] += value * value
        pairs = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return vector, [math.sqrt(norm) for norm in norms], pairs

    def __call__(self, photo: int, caption: str) -> float:
        """CIDEr-D (10 is the best) of one caption for the photo with this number."""
        return self.mean([photo], caption)

    def mean(self, photos: Sequence[int], caption: str) -> float:
        """Mean CIDEr-D of one caption, whose n-grams are counted once, for several photos."""
        counted = self._vector(_ngrams(caption))
        return sum(self._worth(photo, *counted) for photo in photos) / len(photos)

    def _worth(self, photo: int, vector: dict[Ngram, float], norms: list[float], pairs: int) -> float:
        """CIDEr-D of a caption, as `_vector` gives it, for one photo."""
        total = 0.0
        for truth, truth_norms, truth_pairs in self.references[photo]:
            overlap = [0.0] * 4
            for ngram, value in vector.items():
                if ngram in truth:
                    overlap[len(ngram) - 1] += min(value, truth[ngram]) * truth[ngram]
            penalty = math.exp(-((pairs - truth_pairs) ** 2) / 72)
            total += penalty * sum(o / (a * b) for o, a, b in zip(overlap, norms, truth_norms, strict=True) if a and b)
        return 10 * total / 4 / len(self.references[photo])


def _ngrams(caption: str) -> Counter[Ngram]:
    """Counts of all 1- to 4-grams of a caption and its end."""
    words = [*tokenize(caption), _END]
    return Counter(tuple(words[start : start + n]) for n in range(1, 5) for start in range(len(words) - n + 1))


def advantages(rewards: np.ndarray) -> np.ndarray:
    """Rewards (P, k) less the mean of the other k - 1 captions of the same photo (P, k)."""
    k = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdims=True)) * k / (k - 1)


def self_critical_loss(
    captioner: Captioner, features: Tensor, photos: Sequence[int], reward: CiderReward, count: int, seed: int
) -> tuple[Tensor, float]:
    """One step's loss for a few photos, and the mean CIDEr-D of the captions drawn for it.

    Drawing needs no gradients: the captions are drawn word by word from the cached state, and then their
    probabilities are computed once more as in teacher forcing, all places in one call. Both times the distribution must
    be the same: no dropout, the same temperature, the same words banned. With captions from another distribution than
    the one whose gradient is taken, a transformer fell apart after a few epochs.

    Args:
        captioner: its model is left in evaluation mode.
        features: (P, D) or (P, R, C).
        photos: the P photos' numbers in `reward`.
        count: captions drawn for each photo, at least 2, k below.
        seed: decides what is drawn.
    """
    model = captioner.model.eval()
    with autocast():
        captions = sample(model, features, captioner.rules, temperature=_TEMPERATURE, count=count, seed=seed)
    texts = captioner.texts(captions)
    owners = np.repeat(photos, count)  # (P * k,)
    rewards = np.array([reward(photo, text) for photo, text in zip(owners, texts, strict=True)])
    advantage = torch.from_numpy(advantages(rewards.reshape(-1, count)).astype(np.float32)).view(-1)  # (P * k,)

    tokens = _tokens(captions, captioner.rules)  # (P * k, T)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    chosen = targets != 0
    chosen[:, captioner.max_length - 2 :] = False  # an end at the last place is forced
    row, place = chosen.nonzero(as_tuple=True)  # (words,)
    with autocast():
        logits = model.logits(model.states(features, inputs)[row, place])  # (words, V)
    logits = (logits.float() / _TEMPERATURE).index_fill(1, torch.tensor(captioner.rules.banned), -torch.inf)
    surprise = F.cross_entropy(logits, targets[row, place], reduction="none")  # -log p of each word, (words,)
    return (advantage[row] * surprise).mean(), float(rewards.mean())


def _tokens(captions: Sequence[Caption], rules: Rules) -> Tensor:
    """Drawn captions as (B, T) with `<SOS>` and `<EOS>`, padded with 0."""
    rows = [torch.tensor([rules.sos_id, *caption.tokens, rules.eos_id]) for caption in captions]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)
