"""Decoders: from a photo's features to a caption, word by word. One module for every captioner.

A captioner offers three functions (`StepModel`), in PyTorch or on OpenVINO. `step` carries a cached state, so no
prefix is ever run twice, and all photos of a batch advance together. A decoder works where the model is, and takes
features from anywhere. For a single photo, a model on OpenVINO takes a whole beam search upon itself (`SearchModel`):
its graph repeats the same `advance` that the loop in Python repeats here, and returns the same `Trail`.

- `greedy` takes the most probable token each time.
- `beam_search` keeps the `beam` best beginnings a photo. A longer caption multiplies more probabilities and so always
  looks worse; the log-probability is divided by length ** length_power to make up for it (Wu et al. 2016,
  arXiv:1609.08144, section 7, in its plain form).
- `sample` draws: `temperature` flattens or sharpens, `top_k` (Fan et al. 2018, arXiv:1805.04833) and `top_p` (nucleus,
  Holtzman et al. 2020, arXiv:1904.09751) cut the tail off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from helpers.data.text import Tokenizer
from helpers.devices import to_device
from helpers.files import InputError

State = tuple[Tensor, ...]


class StepModel(Protocol):
    """What a decoder needs of a captioner. Every tensor has the batch first, so that beams reorder by index.

    P photos have B = P * k captions under way, those of a photo side by side: the state is the captions', the memory
    the photos', so that what is seen of a photo is never copied.
    """

    def encode(self, features: Tensor) -> Tensor:
        """Photo features (P, D) or (P, R, C) -> memory (P, ...)."""

    def initial_state(self, memory: Tensor) -> State:
        """The state before the first token, a row a photo."""

    def step(self, tokens: Tensor, state: State, memory: Tensor) -> tuple[Tensor, State, Tensor | None]:
        """Last tokens (B,) -> log-probabilities of the next (B, V), new state, attention (B, R) or None."""


@dataclass(frozen=True)
class Caption:
    """A decoded caption.

    Attributes:
        tokens: ids without `<SOS>` and `<EOS>`.
        score: natural logarithm of the caption's probability, `<EOS>` included, after `Rules`; of an ensemble, the mean
            of its models' logarithms, which is that of no probability.
        attention: (len(tokens), R), where the model looked for each token; None if it has no attention.
    """

    tokens: list[int]
    score: float
    attention: Tensor | None = None


@dataclass(frozen=True)
class Rules:
    """What a caption may be, whatever the decoder.

    Attributes:
        sos_id, eos_id: ids of `<SOS>` and `<EOS>`.
        banned: ids that are never emitted: `<PAD>`, `<SOS>`, `<UNK>`.
        max_length: tokens at most, `<SOS>` and `<EOS>` included, as in `Tokenizer.encode`. At the last place only
            `<EOS>` is admitted, so that every caption ends and its score counts the end.
        no_repeat_ngram: no sequence of this many tokens occurs twice; 0 allows repeats.
        no_immediate_repeat: no token follows itself.
    """

    sos_id: int
    eos_id: int
    banned: tuple[int, ...]
    max_length: int
    no_repeat_ngram: int = 0
    no_immediate_repeat: bool = False

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise InputError(f"A length limit of {self.max_length} leaves no room for a word; use 3 or more.")

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_length: int, **repetition: int) -> "Rules":
        """Rules for the vocabulary of `tokenizer`."""
        banned = (tokenizer.pad_id, tokenizer.sos_id, tokenizer.unk_id)
        return cls(tokenizer.sos_id, tokenizer.eos_id, banned, max_length, **repetition)

    @property
    def allow_repeats(self) -> bool:
        """Whether what may come next depends on the length so far alone, not on the tokens."""
        return not (self.no_immediate_repeat or self.no_repeat_ngram)

    def masks(self, vocabulary: int, device: torch.device | None = None) -> Tensor:
        """What to add to log-probabilities, 0 or -inf, (2, V): at any place, and at the last. Repeats are not in it."""
        return _masks(self, vocabulary, device)

    def apply(self, log_probs: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities (B, V) after `tokens` (B, t), with -inf wherever a token may not come next."""
        words, end = self.masks(log_probs.shape[1], log_probs.device)
        if tokens.shape[1] == self.max_length - 1:
            return log_probs + end
        allowed = log_probs + words
        if self.no_immediate_repeat:
            allowed.scatter_(1, tokens[:, -1:], -torch.inf)
        n = self.no_repeat_ngram
        if n and tokens.shape[1] >= n:
            windows = tokens.unfold(1, n, 1)  # (B, t - n + 1, n), every n-gram so far
            last = tokens[:, tokens.shape[1] - n + 1 :]  # (B, n - 1), what the next token would complete
            repeated = (windows[:, :, :-1] == last[:, None]).all(2)  # (B, t - n + 1)
            row, place = repeated.nonzero(as_tuple=True)
            allowed[row, windows[row, place, -1]] = -torch.inf
        return allowed


@cache
def _masks(rules: Rules, vocabulary: int, device: torch.device | None) -> Tensor:
    masks = torch.zeros(2, vocabulary, device=device)
    masks[0, list(rules.banned)] = -torch.inf
    masks[1] = -torch.inf
    masks[1, rules.eos_id] = 0
    return masks


def greedy(model: StepModel, features: Tensor, rules: Rules) -> list[Caption]:
    """The most probable token each time: one caption for each row of `features` (B, ...)."""
    return _walk(model, features, rules, lambda log_probs: log_probs.argmax(1))


def sample(
    model: StepModel,
    features: Tensor,
    rules: Rules,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    count: int = 1,
    seed: int = 0,
) -> list[Caption]:
    """`count` captions drawn at random for each row of `features` (B, ...), those of a photo one after another.

    `temperature`, `top_k` and `top_p` are those of `trim`.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(log_probs: Tensor) -> Tensor:
        # One random number a row, looked up in the running sum; `torch.multinomial` would need one a word.
        reached = trim(log_probs, temperature, top_k, top_p).exp().cumsum(1)  # (B, V)
        # In (0, 1], so that nothing impossible is drawn; on the processor, so that all devices draw the same.
        drawn = to_device(1 - torch.rand(len(reached), 1, generator=generator), reached.device)
        return torch.searchsorted(reached, drawn * reached[:, -1:])[:, 0]

    return _walk(model, features, rules, draw, count)


def trim(log_probs: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """The distribution that `sample` draws from, as log-probabilities (B, V) again.

    Args:
        log_probs: (B, V).
        temperature: above 1 is flatter, below 1 is sharper.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the fewest most probable tokens whose probabilities reach p; the first is always kept.

    Raises:
        InputError: an argument is out of range.

    >>> trim(torch.tensor([[0.5, 0.3, 0.2]]).log(), top_p=0.6).exp()
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    if temperature <= 0:
        raise InputError(f"A temperature must be above 0, and {temperature} is not; use `greedy` for the limit at 0.")
    if top_k < 0 or not 0 < top_p <= 1:
        raise InputError(f"top_k must be 0 or more and top_p in (0, 1]; got top_k={top_k} and top_p={top_p}.")
    if top_k == 0 and top_p == 1:  # sorting takes longer than all the rest
        return (log_probs / temperature).log_softmax(1)
    ranked, order = (log_probs / temperature).log_softmax(1).sort(dim=1, descending=True, stable=True)  # (B, V)
    if top_k:
        ranked[:, top_k:] = -torch.inf
    if top_p < 1:
        probabilities = ranked.softmax(1)
        before = probabilities.cumsum(1) - probabilities  # how much the more probable tokens already hold
        ranked[:, 1:] = ranked[:, 1:].masked_fill(before[:, 1:] >= top_p, -torch.inf)
    return torch.empty_like(ranked).scatter_(1, order, ranked).log_softmax(1)


@torch.inference_mode()
def _walk(
    model: StepModel, features: Tensor, rules: Rules, choose: Callable[[Tensor], Tensor], count: int = 1
) -> list[Caption]:
    """Extend `count` captions of every photo by what `choose` picks from (B, V), until all have ended.

    Raises:
        InputError: the model's weights are no longer numbers.
    """
    memory = model.encode(to_device(features, model))
    state = model.initial_state(memory)
    device = memory.device
    if count > 1:  # a photo is encoded once for all its captions
        state = tuple(part.repeat_interleave(count, dim=0) for part in state)
    tokens = torch.full((count * len(memory), 1), rules.sos_id, device=device)  # (B, 1), B = P * count
    scores = torch.zeros(len(tokens), device=device)
    running = torch.ones(len(tokens), dtype=torch.bool, device=device)
    maps = []
    while running.any():
        log_probs, state, attention = model.step(tokens[:, -1], state, memory)
        log_probs = rules.apply(log_probs.float(), tokens)  # (B, V)
        if log_probs[:, rules.eos_id].isnan().any():  # then all are, and the end never comes
            raise InputError("The captioner's probabilities are no longer numbers; train it again, at a lower rate.")
        chosen = torch.where(running, choose(log_probs), rules.eos_id)  # (B,)
        scores += torch.where(running, log_probs.gather(1, chosen[:, None])[:, 0], 0.0)
        tokens = torch.cat([tokens, chosen[:, None]], 1)  # (B, t + 1)
        running &= chosen != rules.eos_id
        maps.append(attention)
    attention = None if maps[0] is None else torch.stack(maps, 1).cpu()  # (B, t, R)
    captions = []
    for row, (_, *words) in enumerate(tokens.tolist()):
        words = words[: words.index(rules.eos_id)]  # every caption ends
        captions.append(Caption(words, float(scores[row]), None if attention is None else attention[row, : len(words)]))
    return captions


@torch.inference_mode()
def beam_search(
    model: StepModel, features: Tensor, rules: Rules, *, beam: int = 5, length_power: float = 0.7
) -> list[Caption]:
    """The best of the captions that `beam` parallel beginnings lead to, for each row of `features` (P, ...).

    A beginning is set aside as finished when `<EOS>` ranks among the photo's `beam` best continuations. A photo is
    done with `beam` finished captions, or when no running one can overtake; so beam=1 is greedy.

    Args:
        beam: beginnings kept for each photo, K below.
        length_power: 0 compares log-probabilities (and favours short captions), 1 their mean for each token.
    """
    if beam < 1:
        raise InputError(f"A beam must hold at least 1 caption, and {beam} is less.")
    search = Search(rules, beam, length_power)
    features = to_device(features, model)
    alone = len(features) == 1 and rules.allow_repeats and isinstance(model, SearchModel)
    trail = model.search(features, search) if alone else _search(model, features, search)
    return trail.captions()


class Beams(NamedTuple):
    """How far the search for P photos has come: K beginnings of each, best first, and the best finished caption."""

    scores: Tensor  # (P, K), log-probabilities of the beginnings
    length: Tensor  # (P,), their tokens, <SOS> included
    record: Tensor  # (P,), the winner's score over its length; -inf before there is one
    won_score: Tensor  # (P,), its log-probability
    won_length: Tensor  # (P,), its tokens, <SOS> included
    won_row: Tensor  # (P,), the row, among P * K, that it had before its <EOS>
    finished: Tensor  # (P,), how many captions have ended
    done: Tensor  # (P,), whether the winner is certain


@cache
def _powers(max_length: int, length_power: float, device: torch.device) -> Tensor:
    """n ** length_power for n = 0 .. max_length - 1."""
    return torch.tensor([n**length_power for n in range(max_length)], dtype=torch.float32, device=device)


class Search(NamedTuple):
    """The settings of a beam search, and one step of it in operations on tensors alone, which a graph can repeat."""

    rules: Rules
    beam: int
    length_power: float

    def begin(self, memory: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Beams]:
        """Memory (P, ...) and state -> first tokens (P * K,), state (P * K, ...), beams."""
        photos = torch.arange(memory.shape[0], device=memory.device)
        zeros = torch.zeros_like(photos)  # (P,)
        # A photo's K beginnings lie side by side, in rows photo * K .. photo * K + K - 1.
        rows = photos[:, None].expand(-1, self.beam).flatten()  # (P * K,)
        tokens, state = torch.full_like(rows, self.rules.sos_id), tuple(part[rows] for part in state)
        # All K start equal, so only the first may count.
        first = torch.tensor([0.0] + [-torch.inf] * (self.beam - 1), device=memory.device)
        never = zeros - torch.inf
        beams = Beams(zeros[:, None] + first, zeros + 1, never, never, zeros, zeros, zeros, zeros > 0)
        return tokens, state, beams

    def advance(self, log_probs: Tensor, beams: Beams) -> tuple[Tensor, Tensor, Beams]:
        """Log-probabilities of the next tokens (P * K, V) -> rows to go on from, their tokens (P * K,), beams."""
        beam, width = self.beam, log_probs.shape[1]
        # Of 2 K continuations at most K end, since a beginning can end in one way only: K are left to go on.
        totals = (beams.scores.flatten()[:, None] + log_probs).view(-1, beam * width)  # (P, K * V)
        # Not fewer than 16: for 6 among 90,000 OpenVINO's kernel takes 4.2 ms, and 0.12 for 16.
        most = min(max(2 * beam, 16), beam * int(width))
        best, index = (part[:, : 2 * beam] for part in totals.topk(most))  # (P, 2 * K)
        parents, following = index // width, index % width  # the beginning, among the photo's K, and its next token
        first = torch.arange(beams.scores.shape[0], device=index.device)[:, None] * beam  # (P, 1), a photo's first row
        ends = following == self.rules.eos_id

        accepted = ends[:, :beam] & (best[:, :beam] > -torch.inf) & ~beams.done[:, None]
        ended, rank = best[:, :beam].masked_fill(~accepted, -torch.inf).max(1)  # (P,)
        # The length of a caption that ends here, <EOS> counted, is that of its beginning with <SOS>.
        relative = ended / _powers(self.rules.max_length, self.length_power, index.device)[beams.length]
        better = relative > beams.record
        finished = beams.finished + accepted.sum(1)

        scores, kept = best.masked_fill(ends, -torch.inf).topk(beam)  # (P, K)
        record = torch.where(better, relative, beams.record)
        # A log-probability only falls from here on; over the greatest length it looks best.
        reachable = scores[:, 0] / (self.rules.max_length - 1) ** self.length_power
        grown = Beams(
            scores,
            beams.length + 1,
            record,
            torch.where(better, ended, beams.won_score),
            torch.where(better, beams.length, beams.won_length),
            torch.where(better, (first + parents).gather(1, rank[:, None])[:, 0], beams.won_row),
            finished,
            beams.done | (finished >= beam) | (record >= reachable),
        )
        return (first + parents.gather(1, kept)).flatten(), following.gather(1, kept).flatten(), grown


@dataclass(frozen=True)
class Trail:
    """Every beginning that a search of T steps has had, and which of them won.

    A step's rows stand in the order in which the model ran them; a beginning is found by going back from its last row.

    Attributes:
        rows: T lists, the row in the step before from which each row came.
        tokens: T lists, each row's last token.
        attention: T arrays (rows, R), where each row looked for its next token; None, T times, without attention.
        won_score, won_length, won_row: as in `Beams`, a number a photo.
    """

    rows: list[list[int]]
    tokens: list[list[int]]
    attention: list[np.ndarray | None]
    won_score: list[float]
    won_length: list[int]
    won_row: list[int]

    def captions(self) -> list[Caption]:
        """The winner of each photo."""
        return [self._caption(*won) for won in zip(self.won_score, self.won_length, self.won_row, strict=True)]

    def _caption(self, score: float, length: int, row: int) -> Caption:
        path = [row]  # its row in each step, from the last to the first
        for step in range(length - 1, 0, -1):
            path.append(self.rows[step][path[-1]])
        path.reverse()
        tokens = [self.tokens[step][row] for step, row in enumerate(path)][1:]
        if self.attention[0] is None:
            return Caption(tokens, score)
        looked = np.stack([self.attention[step][row] for step, row in enumerate(path)])  # the last for <EOS>
        return Caption(tokens, score, torch.from_numpy(looked[:-1]))


@runtime_checkable
class SearchModel(Protocol):
    """A model that can run the whole beam search for one photo by itself, where `rules.allow_repeats`.

    Not for many photos: from the loop in Python they leave when they are done, and each step has fewer of them.
    """

    def search(self, features: Tensor, search: Search) -> Trail:
        """A photo's features (1, D) or (1, R, C) -> all beginnings and the winner."""


def _search(model: StepModel, features: Tensor, search: Search) -> Trail:
    """The loop around `Search.advance`. A photo that is done leaves the batch."""
    memory = model.encode(features)
    last, state, beams = search.begin(memory, *model.initial_state(memory))
    tokens = last[:, None]  # (P * K, 1)
    rows, photos = torch.arange(len(tokens)), list(range(len(memory)))
    trail = Trail([], [], [], [0.0] * len(photos), [0] * len(photos), [0] * len(photos))
    while photos:
        log_probs, state, attention = model.step(tokens[:, -1], state, memory)
        trail.rows.append(rows.tolist())
        trail.tokens.append(tokens[:, -1].tolist())
        trail.attention.append(None if attention is None else attention.cpu().numpy())
        log_probs = search.rules.apply(log_probs.float(), tokens)  # (P * K, V)
        rows, following, beams = search.advance(log_probs, beams)
        if beams.done.any():
            for place in beams.done.nonzero()[:, 0].tolist():
                trail.won_score[photos[place]] = float(beams.won_score[place])
                trail.won_length[photos[place]] = int(beams.won_length[place])
                trail.won_row[photos[place]] = int(beams.won_row[place])
            going = ~beams.done
            beams, memory = Beams(*(part[going] for part in beams)), memory[going]
            rows, following = (part.view(-1, search.beam)[going].flatten() for part in (rows, following))
            photos = [photo for photo, goes_on in zip(photos, going.tolist(), strict=True) if goes_on]
        tokens = torch.cat([tokens[rows], following[:, None]], 1)  # (P * K, t + 1)
        state = tuple(part[rows] for part in state)
    return trail
