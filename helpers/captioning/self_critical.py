"""Self-critical training: after cross-entropy, the model is rewarded for the captions it writes itself.

Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563) with the leave-one-out baseline of Luo (2020,
arXiv:2003.09971): several captions are drawn for each photo, each is worth its CIDEr-D less the mean of the others',
and the probability of what was worth more than its rivals goes up. CIDEr-D's document frequencies come from the
training captions; nothing of the validation or test split enters the reward.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.captioning.captioner import Captioner
from helpers.captioning.decoding import Caption, Rules, sample
from helpers.captioning.scoring import tokenize
from helpers.devices import autocast, to_device
from helpers.training.processes import weighed

_TEMPERATURE = 0.8  # smoothed labels leave a tenth of the probability to any word at all: draw fewer of those
_END = "<EOS>"  # the end counts as a word: without it, captions that stop after "in a" would be worth as much


class CiderReward:
    """CIDEr-D of captions of training photos, with everything about the references computed once.

    The formula is that of `pycocoevalcap`, whose scorer would compute all reference vectors again in every step. Each
    n-gram of the references has a number, and a reference is the numbers it has and how often: 6 bytes for each of its
    n-grams, where dictionaries of words take 150.
    """

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        texts = [[*tokenize(text), _END] for photo in captions for text in photo]
        self._words = {word: number for number, word in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
        lengths = np.array([len(text) for text in texts])
        words = np.array([self._words[word] for word in chain.from_iterable(texts)])  # one text behind the other
        text_of = np.repeat(np.arange(len(texts)), lengths)  # of each word
        # An n-gram is the (n - 1)-gram that it begins with, and one more word: both numbers make its code.
        self._codes = [np.arange(len(self._words))]  # for each n, those there are, in order
        rows, numbers, shorter = [text_of], [words], words
        for n in range(2, 5):
            codes = shorter[:-1] * len(self._words) + words[n - 1 :]
            inside = text_of[: len(codes)] == text_of[n - 1 :]  # not from one text into the next
            self._codes.append(np.unique(codes[inside]))
            shorter = np.searchsorted(self._codes[-1], codes)
            rows.append(text_of[: len(codes)][inside])
            numbers.append(shorter[inside])
        self._begin = np.cumsum([0, *map(len, self._codes)])  # numbers of n-grams of 1, 2, 3, 4 words
        every = self._begin[-1]
        keys = [row * every + begin + number for row, begin, number in zip(rows, self._begin, numbers, strict=False)]
        keys, counts = np.unique(np.concatenate(keys), return_counts=True)  # once for each text
        rows = keys // every
        self._numbers, self._counts = (keys % every).astype(np.int32), counts.astype(np.uint16)
        self._text = np.searchsorted(rows, np.arange(len(texts) + 1))  # where each begins in these
        self._pairs = lengths - 1  # by which lengths are compared
        owners = np.repeat(np.arange(len(captions)), [len(photo) for photo in captions])
        self._photo = np.searchsorted(owners, np.arange(len(captions) + 1))  # where the texts of each begin
        holders = np.unique(owners[rows] * every + self._numbers) % every  # of each n-gram, once a photo
        self._unseen = math.log(len(captions))  # the weight of an n-gram that no reference has
        self._weights = self._unseen - np.log(np.bincount(holders, minlength=every))
        self._last: tuple[int, Any] = (-1, None)

    def __call__(self, photo: int, caption: str) -> float:
        """CIDEr-D (10 is the best) of one caption for the photo with this number."""
        return self.mean([photo], caption)

    def mean(self, photos: Sequence[int], caption: str) -> float:
        """Mean CIDEr-D of one caption, whose n-grams are counted once, for several photos."""
        words = [*tokenize(caption), _END]
        numbers, counts, sizes = self._counted(words)
        values = counts * np.where(numbers < 0, self._unseen, self._weights[numbers])  # (k,)
        norms = np.sqrt(np.bincount(sizes - 1, values**2, minlength=4))  # (4,), of the n-grams of each n
        known = np.flatnonzero(numbers >= 0)
        known = known[np.argsort(numbers[known])]
        counted = numbers[known], values[known], norms, len(words) - 1
        return sum(self._worth(photo, *counted) for photo in photos) / len(photos)

    def _counted(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a text's different n-grams: numbers (-1: no reference has it), counts, how many words; (k,) each."""
        numbers, counts, sizes = [], [], []
        single = shorter = np.array([self._words.get(word, -1) for word in words])
        for n in range(1, min(4, len(words)) + 1):
            if n > 1:
                shorter = self._longer(n, shorter[:-1], single[n - 1 :])
            ngrams = list(zip(*(words[start:] for start in range(n)), strict=False))
            found = Counter(ngrams)
            first = dict(zip(reversed(ngrams), reversed(range(len(ngrams))), strict=True))  # where each is met first
            own = shorter[[first[ngram] for ngram in found]]
            numbers.append(np.where(own < 0, -1, own + self._begin[n - 1]))
            counts += found.values()
            sizes += [n] * len(found)
        return np.concatenate(numbers), np.array(counts), np.array(sizes)

    def _longer(self, n: int, ahead: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Numbers of n-grams, given those of the n - 1 words ahead and of the last word; -1 for those that are none."""
        codes, there = ahead * len(self._words) + last, (ahead >= 0) & (last >= 0)
        places = np.searchsorted(self._codes[n - 1], codes)
        there &= places < len(self._codes[n - 1])
        there[there] = self._codes[n - 1][places[there]] == codes[there]
        return np.where(there, places, -1)

    def _reference(self, photo: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """A photo's texts: numbers of all their n-grams, values, cells 4 * text + n - 1, and the norms of all cells.

        Captions of one photo are asked about in turn, so that the last answer is kept.
        """
        if self._last[0] != photo:
            begin = self._text[self._photo[photo] : self._photo[photo + 1] + 1]
            numbers = self._numbers[begin[0] : begin[-1]]
            values = self._counts[begin[0] : begin[-1]] * self._weights[numbers]
            sizes = np.searchsorted(self._begin, numbers, side="right") - 1
            cells = 4 * np.repeat(np.arange(len(begin) - 1), np.diff(begin)) + sizes
            norms = np.sqrt(np.bincount(cells, values**2, minlength=4 * (len(begin) - 1)))
            self._last = photo, (numbers, values, cells, norms)
        return self._last[1]

    def _worth(self, photo: int, known: np.ndarray, values: np.ndarray, norms: np.ndarray, pairs: int) -> float:
        """CIDEr-D for one photo of a caption, given its n-grams that references have, in order, and their values."""
        numbers, truth, cells, truth_norms = self._reference(photo)
        places = np.searchsorted(known, numbers)
        shared = places < len(known)
        shared[shared] = known[places[shared]] == numbers[shared]
        both, own = truth[shared], values[places[shared]]
        overlap = np.bincount(cells[shared], np.minimum(own, both) * both, minlength=len(truth_norms)).reshape(-1, 4)
        lengths = truth_norms.reshape(-1, 4) * norms
        alike = np.divide(overlap, lengths, out=np.zeros_like(overlap), where=lengths > 0).sum(1)  # (texts,)
        penalty = np.exp(-((pairs - self._pairs[self._photo[photo] : self._photo[photo + 1]]) ** 2) / 72)
        return 10 * float(penalty @ alike) / 4 / len(alike)


def advantages(rewards: np.ndarray) -> np.ndarray:
    """Rewards (P, k) less the mean of the other k - 1 captions of the same photo (P, k)."""
    k = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdims=True)) * k / (k - 1)


def self_critical_loss(
    captioner: Captioner, features: Tensor, photos: Sequence[int], reward: CiderReward, count: int, seed: int
) -> tuple[Tensor, float]:
    """One step's loss for a few photos, and the mean CIDEr-D of the captions drawn for it.

    Where several processes train, it is that of this one's photos, weighed by their words.

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
    features = to_device(features, model)
    device = features.device
    with autocast(device):
        captions = sample(model, features, captioner.rules, temperature=_TEMPERATURE, count=count, seed=seed)
    texts = captioner.texts(captions)
    owners = np.repeat(photos, count)  # (P * k,)
    rewards = np.array([reward(photo, text) for photo, text in zip(owners, texts, strict=True)])
    advantage = to_device(advantages(rewards.reshape(-1, count)).astype(np.float32), device).view(-1)  # (P * k,)

    tokens = to_device(_tokens(captions, captioner.rules), device)  # (P * k, T)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    chosen = targets != 0
    chosen[:, captioner.max_length - 2 :] = False  # an end at the last place is forced
    row, place = chosen.nonzero(as_tuple=True)  # (words,)
    with autocast(device):
        logits = model.logits(model.states(features, inputs)[row, place])  # (words, V)
    banned = torch.tensor(captioner.rules.banned, device=device)
    logits = (logits.float() / _TEMPERATURE).index_fill(1, banned, -torch.inf)
    surprise = F.cross_entropy(logits, targets[row, place], reduction="none")  # -log p of each word, (words,)
    return weighed((advantage[row] * surprise).mean(), len(surprise)), float(rewards.mean())


def _tokens(captions: Sequence[Caption], rules: Rules) -> Tensor:
    """Drawn captions as (B, T) with `<SOS>` and `<EOS>`, padded with 0."""
    rows = [torch.tensor([rules.sos_id, *caption.tokens, rules.eos_id]) for caption in captions]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)
