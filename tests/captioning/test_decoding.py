"""Decoders against brute force, against each other, and at the edges of their arguments."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from helpers.captioning.attention import AttentionCaptioner, AttentionConfig
from helpers.captioning.decoding import Caption, Rules, State, beam_search, greedy, sample, trim
from helpers.captioning.transformer import TransformerCaptioner, TransformerConfig
from helpers.files import InputError

PAD, SOS, EOS, UNK, VOCABULARY = 0, 1, 2, 3, 7
RULES = Rules(SOS, EOS, banned=(PAD, SOS, UNK), max_length=6)


class TableModel:
    """Log-probabilities depend on the photo and on the last two tokens, by a random table: no neural network.

    The state is the token before the last, so a decoder that does not carry or reorder it gives wrong captions.
    """

    def __init__(self, photos: int, seed: int, sharpness: float = 1.5) -> None:
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(photos, VOCABULARY, VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)
        self.table = (sharpness * table).log_softmax(-1)

    def encode(self, features: Tensor) -> Tensor:
        return features

    def initial_state(self, memory: Tensor) -> State:
        return (torch.full((len(memory),), SOS),)

    def step(self, tokens: Tensor, state: State, memory: Tensor) -> tuple[Tensor, State, Tensor]:
        photos = memory.repeat_interleave(len(tokens) // len(memory))  # of each caption
        log_probs = self.table[photos, state[0], tokens]
        # "Attention" that names the photo and the last token, to see that maps follow their captions.
        return log_probs, (tokens,), torch.stack([photos.double(), tokens.double()], 1)

    def score(self, photo: int, words: tuple[int, ...]) -> float:
        sequence = (SOS, SOS, *words, EOS)
        return sum(
            float(self.table[photo, a, b, c]) for a, b, c in zip(sequence, sequence[1:], sequence[2:], strict=False)
        )


def every_caption() -> list[tuple[int, ...]]:
    words = [token for token in range(VOCABULARY) if token not in (PAD, SOS, EOS, UNK)]
    return [c for length in range(RULES.max_length - 1) for c in itertools.product(words, repeat=length)]


def same(left: list[Caption], right: list[Caption]) -> bool:
    return all(
        a.tokens == b.tokens and math.isclose(a.score, b.score, abs_tol=1e-5) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("length_power", [0.0, 0.7, 1.0, 2.0])
def test_a_beam_that_holds_everything_finds_the_best_of_all_captions(length_power: float) -> None:
    model = TableModel(photos=5, seed=1)
    captions = beam_search(model, torch.arange(5), RULES, beam=len(every_caption()), length_power=length_power)
    for photo, caption in enumerate(captions):
        best = max(every_caption(), key=lambda c: model.score(photo, c) / (len(c) + 1) ** length_power)
        assert tuple(caption.tokens) == best
        assert caption.score == pytest.approx(model.score(photo, best), abs=1e-5)


@pytest.mark.parametrize("length_power", [0.0, 0.7, 1.0])
def test_a_narrow_beam_equals_a_plain_search_written_down_step_by_step(length_power: float) -> None:
    model, beam = TableModel(photos=12, seed=2), 3
    for photo, caption in enumerate(beam_search(model, torch.arange(12), RULES, beam=beam, length_power=length_power)):

        def following(words: tuple[int, ...], photo: int = photo) -> Tensor:
            before, last = (SOS, SOS, *words)[-2:]
            return model.table[photo, before, last]

        assert tuple(caption.tokens) == plain_beam(following, beam, length_power)


def plain_beam(following: Callable[[tuple[int, ...]], Tensor], beam: int, length_power: float) -> tuple[int, ...]:
    """The search for one photo with lists and no early end but that of `beam` finished captions.

    `following` gives the log-probabilities (V,) of what comes after some words.
    """
    running: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for place in range(RULES.max_length - 1):
        grown = []
        for score, words in running:
            log_probs = following(words)
            for token in range(VOCABULARY):
                if token not in RULES.banned and (token == EOS or place < RULES.max_length - 2):
                    grown.append((score + float(log_probs[token]), (*words, token)))
        grown.sort(reverse=True)
        finished += [
            (score / len(words) ** length_power, words[:-1]) for score, words in grown[:beam] if words[-1] == EOS
        ]
        running = [item for item in grown if item[1][-1] != EOS][:beam]
        if len(finished) >= beam:
            break
    return max(finished)[1]


@pytest.mark.parametrize("length_power", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(length_power: float) -> None:
    model, photos = TableModel(photos=40, seed=3), torch.arange(40)
    assert same(beam_search(model, photos, RULES, beam=1, length_power=length_power), greedy(model, photos, RULES))


def test_a_model_whose_weights_are_no_numbers_comes_to_an_end() -> None:
    model = TableModel(photos=2, seed=1)
    model.table[:] = math.nan
    for decode in (greedy, sample):
        with pytest.raises(InputError, match="no longer numbers"):
            decode(model, torch.arange(2), RULES)


def test_greedy_equals_a_loop_over_argmax() -> None:
    model = TableModel(photos=20, seed=4)
    for photo, caption in enumerate(greedy(model, torch.arange(20), RULES)):
        words: list[int] = []
        while len(words) < RULES.max_length - 2:
            before, last = (SOS, SOS, *words)[-2:]
            token = max((EOS, 4, 5, 6), key=lambda t: float(model.table[photo, before, last, t]))
            if token == EOS:
                break
            words.append(token)
        assert caption.tokens == words
        assert caption.score == pytest.approx(model.score(photo, tuple(words)), abs=1e-5)


def test_a_batch_gives_what_its_photos_give_alone() -> None:
    model, photos = TableModel(photos=30, seed=5), torch.arange(30)
    for decode in (greedy, beam_search):
        alone = [decode(model, photo[None], RULES)[0] for photo in photos]
        assert same(decode(model, photos, RULES), alone)
        assert len({len(caption.tokens) for caption in alone}) > 1  # photos do end at different places


def test_a_photo_has_one_memory_and_leaves_the_search_when_it_is_done() -> None:
    model, seen = TableModel(photos=30, seed=5), []
    step = model.step
    model.step = lambda tokens, state, memory: seen.append((len(tokens), len(memory))) or step(tokens, state, memory)
    beam_search(model, torch.arange(30), RULES, beam=3)
    assert all(rows == 3 * photos for rows, photos in seen)
    running = [photos for _, photos in seen]
    assert running[0] == 30 and running == sorted(running, reverse=True) and len(set(running)) > 2


def test_no_photos_have_no_captions() -> None:
    model, none = TableModel(photos=1, seed=5), torch.arange(0)
    assert beam_search(model, none, RULES) == []


def test_attention_belongs_to_the_caption_it_comes_with() -> None:
    model, photos = TableModel(photos=10, seed=6), torch.arange(10)
    for decode in (greedy, beam_search, sample):
        for photo, caption in enumerate(decode(model, photos, RULES)):
            # The made-up map of a token names its photo and the token before it.
            expected = [[photo, token] for token in [SOS, *caption.tokens][:-1]]
            assert caption.attention.tolist() == expected


def test_forbidden_tokens_never_come_out_and_every_caption_ends() -> None:
    model, photos = TableModel(photos=50, seed=7, sharpness=0.1), torch.arange(50)
    model.table[..., [PAD, SOS, UNK]] = 0.0  # the model wants nothing else
    for captions in (
        greedy(model, photos, RULES),
        beam_search(model, photos, RULES),
        *(sample(model, photos, RULES, temperature=3.0, seed=seed) for seed in range(5)),
    ):
        assert not {token for caption in captions for token in caption.tokens} & {PAD, SOS, EOS, UNK}
        assert max(len(caption.tokens) for caption in captions) <= RULES.max_length - 2
        assert all(math.isfinite(caption.score) for caption in captions)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_occurs_twice(n: int) -> None:
    model, photos = TableModel(photos=60, seed=8), torch.arange(60)
    model.table[..., EOS] -= 4  # long captions
    long = Rules(SOS, EOS, RULES.banned, max_length=12)
    strict = Rules(SOS, EOS, RULES.banned, max_length=12, no_repeat_ngram=n)

    def repeats(captions: list[Caption]) -> int:
        grams = [list(zip(*(c.tokens[i:] for i in range(n)), strict=False)) for c in captions]
        return sum(len(found) - len(set(found)) for found in grams)

    for decode in (greedy, beam_search, sample):
        assert repeats(decode(model, photos, long)) > 0
        assert repeats(decode(model, photos, strict)) == 0


def test_no_token_follows_itself() -> None:
    model, photos = TableModel(photos=60, seed=9), torch.arange(60)
    strict = Rules(SOS, EOS, RULES.banned, max_length=12, no_immediate_repeat=True)
    loose = Rules(SOS, EOS, RULES.banned, max_length=12)

    def repeats(captions: list[Caption]) -> int:
        return sum(a == b for c in captions for a, b in itertools.pairwise(c.tokens))

    assert repeats(greedy(model, photos, loose)) > 0
    assert repeats(greedy(model, photos, strict)) == 0


def test_trim_over_the_vocabulary_and_not_over_the_batch() -> None:
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], dtype=torch.float64)
    cooled = trim(probabilities.log(), temperature=0.5).exp()
    expected = probabilities**2 / (probabilities**2).sum(1, keepdim=True)
    assert torch.allclose(cooled, expected)


def test_top_k_and_top_p_keep_what_they_should() -> None:
    log_probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]], dtype=torch.float64).log()

    def kept(**arguments: float) -> list[int]:
        return trim(log_probs, **arguments)[0].isfinite().nonzero()[:, 0].tolist()

    assert kept(top_k=2) == [1, 3]
    assert kept(top_k=99) == kept(top_k=0) == kept(top_p=1.0) == [0, 1, 2, 3]
    assert kept(top_p=1e-9) == [1]  # the first token is always kept
    assert kept(top_p=0.49) == [1]
    assert kept(top_p=0.51) == [1, 3]  # the token that crosses p is kept
    assert kept(top_p=0.76) == [1, 2, 3]
    assert kept(top_k=3, top_p=0.9) == [1, 2, 3]  # p counts within the k: 0.5 / 0.9 + 0.25 / 0.9 < 0.9
    assert torch.allclose(trim(log_probs, top_k=2).exp(), torch.tensor([[0, 2 / 3, 0, 1 / 3]], dtype=torch.float64))


def test_equal_probabilities_leave_exactly_k() -> None:
    assert trim(torch.zeros(3, 6), top_k=2).isfinite().sum(1).tolist() == [2, 2, 2]


def test_sampling_follows_the_distribution_and_repeats_with_the_seed() -> None:
    model = TableModel(photos=1, seed=10)
    photos = torch.zeros(20_000, dtype=torch.int64)
    captions = sample(model, photos, RULES, temperature=0.8, seed=3)
    first = torch.tensor([caption.tokens[0] if caption.tokens else EOS for caption in captions])
    wanted = model.table[0, SOS, SOS, [EOS, 4, 5, 6]].div(0.8).softmax(0)
    found = torch.stack([(first == token).double().mean() for token in (EOS, 4, 5, 6)])
    assert torch.allclose(found, wanted, atol=0.015)
    assert same(captions[:50], sample(model, photos, RULES, temperature=0.8, seed=3)[:50])
    assert not same(captions[:50], sample(model, photos, RULES, temperature=0.8, seed=4)[:50])


def test_sampling_from_one_token_is_greedy() -> None:
    model, photos = TableModel(photos=20, seed=11), torch.arange(20)
    assert same(sample(model, photos, RULES, top_k=1), greedy(model, photos, RULES))
    assert same(sample(model, photos, RULES, top_p=1e-9, temperature=5.0), greedy(model, photos, RULES))


def test_several_captions_of_a_photo_come_one_after_another_and_share_its_encoding() -> None:
    model, encoded = TableModel(photos=8, seed=12), []
    model.table[:, SOS, SOS, EOS] = -torch.inf  # every caption has a word, and so a map that names its photo
    model.encode = lambda features: encoded.append(len(features)) or features
    captions = sample(model, torch.arange(8), RULES, count=3, seed=1)
    assert encoded == [8]
    assert [int(caption.attention[0, 0]) for caption in captions] == torch.arange(8).repeat_interleave(3).tolist()
    for photo in range(8):
        own = captions[3 * photo : 3 * photo + 3]
        assert [c.score for c in own] == pytest.approx([model.score(photo, tuple(c.tokens)) for c in own], abs=1e-4)
    assert sum(len({tuple(c.tokens) for c in captions[start : start + 3]}) > 1 for start in range(0, 24, 3)) > 4
    assert same(captions, sample(model, torch.arange(8), RULES, count=3, seed=1))


def neural(kind: str) -> tuple[nn.Module, Tensor]:
    """A small captioner with random weights, large enough to make its captions differ, and grids of five photos."""
    torch.manual_seed(0)
    if kind == "attention":
        model = AttentionCaptioner(AttentionConfig(VOCABULARY, 6, embedding=8, hidden=12, attention=8))
    else:
        model = TransformerCaptioner(TransformerConfig(VOCABULARY, 6, max_length=6, width=8, heads=2, decoder_layers=2))
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 3
    grid = 2 * torch.randn(5, 1, 6) + torch.randn(5, 49, 6)
    model.train()(grid, torch.ones(5, 1, dtype=torch.int64))  # gives batch normalisation something to remember
    return model.eval(), grid


@torch.no_grad()
@pytest.mark.parametrize("length_power", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_beams_of_networks_find_the_best_of_all_captions_by_teacher_forcing(kind: str, length_power: float) -> None:
    model, grid = neural(kind)
    everything = every_caption()
    tokens = nn.utils.rnn.pad_sequence([torch.tensor([SOS, *c, EOS]) for c in everything], batch_first=True)  # (N, T)
    log_probs = model(grid, tokens[:, :-1].repeat(5, 1)).log_softmax(2)  # (5 * N, T - 1, V)
    targets = tokens[:, 1:].repeat(5, 1)
    taken = log_probs.gather(2, targets[:, :, None])[:, :, 0] * (targets != PAD)
    scores = taken.sum(1).view(5, -1)  # (5, N)
    ranks = scores / torch.tensor([len(c) + 1 for c in everything]) ** length_power
    captions = beam_search(model, grid, RULES, beam=len(everything), length_power=length_power)
    for photo, caption in enumerate(captions):
        best = int(ranks[photo].argmax())
        assert tuple(caption.tokens) == everything[best]
        assert caption.score == pytest.approx(float(scores[photo, best]), abs=1e-4)
        assert caption.attention.shape == (len(caption.tokens), 49)


@torch.no_grad()
@pytest.mark.parametrize("beam", [2, 3])
@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_a_narrow_beam_of_networks_takes_their_states_along(kind: str, beam: int) -> None:
    model, grid = neural(kind)
    found = set()
    for photo, caption in enumerate(beam_search(model, grid, RULES, beam=beam, length_power=0.7)):

        def following(words: tuple[int, ...], photo: int = photo) -> Tensor:
            return model(grid[photo, None], torch.tensor([[SOS, *words]]))[0, -1].log_softmax(0)

        assert tuple(caption.tokens) == plain_beam(following, beam, 0.7)
        found.add(tuple(caption.tokens))
    assert len(found) > 1


@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_a_beam_of_one_is_greedy_for_networks(kind: str) -> None:
    model, grid = neural(kind)
    top_words = greedy(model, grid, RULES)
    assert same(beam_search(model, grid, RULES, beam=1), top_words)
    assert len({tuple(caption.tokens) for caption in top_words}) > 1


def test_bad_arguments_are_named() -> None:
    model, photos = TableModel(photos=1, seed=0), torch.arange(1)
    with pytest.raises(InputError, match="above 0"):
        sample(model, photos, RULES, temperature=0.0)
    with pytest.raises(InputError, match="top_p"):
        sample(model, photos, RULES, top_p=0.0)
    with pytest.raises(InputError, match="at least 1"):
        beam_search(model, photos, RULES, beam=0)
    with pytest.raises(InputError, match="no room"):
        Rules(SOS, EOS, (), max_length=2)
