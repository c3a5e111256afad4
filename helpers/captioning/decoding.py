"""Decoders: from a photo's features to a caption, word by word. One module for every captioner.

A captioner offers three functions (`StepModel`), in PyTorch or on OpenVINO. `step` carries a cached state, so no
prefix is ever run twice, and all photos of a batch advance together. A decoder works where the model is, and takes
features from anywhere.

- `greedy` takes the most probable token each time.
- `beam_search` keeps the `beam` best beginnings a photo. A longer caption multiplies more probabilities and so always
  looks worse; the log-probability is divided by length ** length_power to make up for it (Wu et al. 2016,
  arXiv:1609.08144, section 7, in its plain form).
- `sample` draws: `temperature` flattens or sharpens, `top_k` (Fan et al. 2018, arXiv:1805.04833) and `top_p` (nucleus,
  Holtzman et al. 2020, arXiv:1904.09751) cut the tail off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from helpers.data.text import Tokenizer
from helpers.devices import to_device
from helpers.files import InputError

State = tuple[Tensor, ...]


class StepModel(Protocol):
    """What a decoder needs of a captioner. Every tensor has the batch first, so that beams reorder by index."""

    def encode(self, features: Tensor) -> Tensor:
        """Photo features (B, D) or (B, R, C) -> memory (B, ...)."""

    def initial_state(self, memory: Tensor) -> State:
        """The state before the first token."""

    def step(self, tokens: Tensor, state: State, memory: Tensor) -> tuple[Tensor, State, Tensor | None]:
        """Last tokens (B,) -> log-probabilities of the next (B, V), new state, attention (B, R) or None."""


@dataclass(frozen=True)
class Caption:
    """A decoded caption.

    Attributes:
        tokens: ids without `<SOS>` and `<EOS>`.
        score: natural logarithm of the caption's probability, `<EOS>` included, after `Rules`.
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

    def apply(self, log_probs: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities (B, V) after `tokens` (B, t), with -inf wherever a token may not come next."""
        if tokens.shape[1] == self.max_length - 1:
            end = torch.full_like(log_probs, -torch.inf)
            end[:, self.eos_id] = log_probs[:, self.eos_id]
            return end
        allowed = log_probs.clone()
        allowed[:, list(self.banned)] = -torch.inf
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
    """Extend `count` captions of every photo by what `choose` picks from (B, V), until all have ended."""
    memory = model.encode(to_device(features, model))
    state = model.initial_state(memory)
    device = memory.device
    if count > 1:  # a photo is encoded once for all its captions
        memory, *state = (part.repeat_interleave(count, dim=0) for part in (memory, *state))
    tokens = torch.full((len(memory), 1), rules.sos_id, device=device)  # (B, 1)
    scores = torch.zeros(len(memory), device=device)
    running = torch.ones(len(memory), dtype=torch.bool, device=device)
    maps = []
    while running.any():
        log_probs, state, attention = model.step(tokens[:, -1], state, memory)
        log_probs = rules.apply(log_probs.float(), tokens)  # (B, V)
        chosen = torch.where(running, choose(log_probs), rules.eos_id)  # (B,)
        scores += torch.where(running, log_probs.gather(1, chosen[:, None])[:, 0], 0.0)
        tokens = torch.cat([tokens, chosen[:, None]], 1)  # (B, t + 1)
        running &= chosen != rules.eos_id
        maps.append(attention)
    attention = None if maps[0] is None else torch.stack(maps, 1)  # (B, t, R)
    return [_caption(rules, row, tokens, scores[row], attention) for row in range(len(memory))]


@torch.inference_mode()
def beam_search(
    model: StepModel, features: Tensor, rules: Rules, *, beam: int = 5, length_power: float = 0.7
) -> list[Caption]:
    """The best of the captions that `beam` parallel beginnings lead to, for each row of `features` (B, ...).

    A beginning is set aside as finished when `<EOS>` ranks among the photo's `beam` best continuations. A photo is
    done with `beam` finished captions, or when no running one can overtake; so beam=1 is greedy.

    Args:
        beam: beginnings kept for each photo, K below.
        length_power: 0 compares log-probabilities (and favours short captions), 1 their mean for each token.
    """
    if beam < 1:
        raise InputError(f"A beam must hold at least 1 caption, and {beam} is less.")
    photos = len(features)
    memory = model.encode(to_device(features, model))
    state = model.initial_state(memory)
    device = memory.device
    # A photo's K beginnings lie side by side, in rows photo * K .. photo * K + K - 1.
    rows = torch.arange(photos, device=device).repeat_interleave(beam)  # (B * K,)
    memory, state = memory[rows], tuple(part[rows] for part in state)
    tokens = torch.full((photos * beam, 1), rules.sos_id, device=device)  # (B * K, 1)
    # All K start equal, so only the first may count.
    scores = torch.full((photos, beam), -torch.inf, device=device)  # (B, K)
    scores[:, 0] = 0
    maps: Tensor | None = None
    winners: list[Caption | None] = [None] * photos
    record = torch.full((photos,), -torch.inf, device=device)  # the winner's score over its length
    finished = torch.zeros(photos, dtype=torch.int64, device=device)
    done = torch.zeros(photos, dtype=torch.bool, device=device)

    while not done.all():
        log_probs, state, attention = model.step(tokens[:, -1], state, memory)
        log_probs = rules.apply(log_probs.float(), tokens)  # (B * K, V)
        if attention is not None:
            maps = attention[:, None] if maps is None else torch.cat([maps, attention[:, None]], 1)  # (B * K, t, R)

        # Of 2 K continuations at most K end, since a beginning can end in one way only: K are left to go on.
        width = log_probs.shape[1]
        totals = (scores.view(-1, 1) + log_probs).view(photos, -1)  # (B, K * V)
        best, index = totals.topk(2 * beam)  # (B, 2 * K)
        parents = index // width + torch.arange(photos, device=device)[:, None] * beam  # rows, (B, 2 * K)
        following = index % width
        ends = following == rules.eos_id

        length = tokens.shape[1]  # of a caption that ends here, <EOS> counted
        accepted = ends[:, :beam] & best[:, :beam].isfinite() & ~done[:, None]
        for photo, rank in accepted.nonzero().tolist():
            score = best[photo, rank] / length**length_power
            if winners[photo] is None or score > record[photo]:
                record[photo] = score
                winners[photo] = _caption(rules, int(parents[photo, rank]), tokens, best[photo, rank], maps)
        finished += accepted.sum(1)

        scores, kept = best.masked_fill(ends, -torch.inf).topk(beam)  # (B, K)
        rows = parents.gather(1, kept).view(-1)  # (B * K,)
        tokens = torch.cat([tokens[rows], following.gather(1, kept).view(-1, 1)], 1)  # (B * K, t + 1)
        state = tuple(part[rows] for part in state)
        maps = None if maps is None else maps[rows]
        # A log-probability only falls from here on; over the greatest length it looks best.
        reachable = scores[:, 0] / (rules.max_length - 1) ** length_power
        done |= (finished >= beam) | (record >= reachable)
    return winners


def _caption(rules: Rules, row: int, tokens: Tensor, score: Tensor, maps: Tensor | None) -> Caption:
    """The caption in row `row` of tokens (B, t), up to its `<EOS>`, with as much of maps (B, t, R)."""
    words = tokens[row, 1:].tolist()
    if rules.eos_id in words:
        words = words[: words.index(rules.eos_id)]
    return Caption(words, float(score), None if maps is None else maps[row, : len(words)].clone().cpu())
