"""The attention captioner against itself written in NumPy, step by step, and in what its captions share."""

import numpy as np
import pytest
import torch

from helpers.captioning.attention import AttentionCaptioner, AttentionConfig

CONFIG = AttentionConfig(vocab_size=11, feature_width=6, embedding=5, hidden=7, attention=4)
REGIONS = 49


@pytest.fixture
def model() -> AttentionCaptioner:
    torch.manual_seed(0)
    captioner = AttentionCaptioner(CONFIG)
    captioner.train()(*batch())  # gives batch normalisation something to remember
    return captioner.eval()


def batch(photos: int = 3, captions: int = 2, length: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(photos, REGIONS, CONFIG.feature_width, generator=generator)
    return grid, torch.randint(1, CONFIG.vocab_size, (photos * captions, length), generator=generator)


def cut(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Captions of different lengths, in no order: the tokens with 0 after each one's end, and where they are real."""
    lengths = torch.tensor([3, 6, 1, 4, 2, 5]).repeat(len(tokens))[: len(tokens)]
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    return tokens * real, real


@torch.no_grad()
def test_teacher_forcing_equals_the_model_written_in_numpy(model: AttentionCaptioner) -> None:
    grid, tokens = batch(photos=1, captions=1)
    weights = {name: weight.double().numpy() for name, weight in model.state_dict().items()}

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    x = grid[0].double().numpy()  # (R, C)
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    values = np.maximum(linear(x * weights["normalise.weight"] + weights["normalise.bias"], "values.0"), 0)  # (R, H)
    keys = linear(values, "keys")  # (R, A)
    start = linear(values.mean(0), "start.0") - weights["start.1.running_mean"]
    h, c = np.split(np.tanh(start / np.sqrt(weights["start.1.running_var"] + 1e-5)), 2)
    expected = []
    for token in tokens[0]:
        energy = np.tanh(keys + linear(h, "query")) @ weights["energy.weight"][0]  # (R,)
        context = (np.exp(energy) / np.exp(energy).sum()) @ values * sigmoid(linear(h, "gate"))  # (H,)
        gates = linear(weights["words.weight"][token], "word_gates") + linear(np.concatenate([context, h]), "gates")
        entry, forget, content, leave = np.split(gates, 4)
        c = sigmoid(forget) * c + sigmoid(entry) * np.tanh(content)
        h = sigmoid(leave) * np.tanh(c)
        expected.append(linear(h + linear(context, "context_out"), "output"))
    np.testing.assert_allclose(model(grid, tokens)[0].numpy(), np.stack(expected), atol=1e-5)


@torch.no_grad()
def test_step_by_step_equals_teacher_forcing_of_captions_of_different_lengths(model: AttentionCaptioner) -> None:
    grid, whole = batch()
    tokens, real = cut(whole)
    log_probs = model(grid, tokens).log_softmax(2)  # (B, T, V)
    memory = model.encode(grid).repeat_interleave(2, dim=0)
    state = model.initial_state(memory)
    for place in range(tokens.shape[1]):
        found, state, _ = model.step(whole[:, place], state, memory)
        torch.testing.assert_close(log_probs[real[:, place], place], found[real[:, place]])


@torch.no_grad()
def test_weights_are_shares_of_all_regions_and_follow_them(model: AttentionCaptioner) -> None:
    grid, tokens = batch(captions=1)
    memory, shuffle = model.encode(grid), torch.randperm(REGIONS)
    state, other = model.initial_state(memory), model.initial_state(memory)
    for place in range(tokens.shape[1]):
        log_probs, state, attention = model.step(tokens[:, place], state, memory)
        assert attention.shape == (3, REGIONS) and (attention >= 0).all()
        torch.testing.assert_close(attention.sum(1), torch.ones(3))
        assert attention.std(1).min() > 1e-5  # not every region alike
        # The same regions in another order: the same words, the weights in that order.
        same, other, moved = model.step(tokens[:, place], other, memory[:, shuffle])
        torch.testing.assert_close(same, log_probs)
        torch.testing.assert_close(moved, attention[:, shuffle])


@torch.no_grad()
def test_five_captions_of_a_photo_share_its_encoding(model: AttentionCaptioner) -> None:
    grid, tokens = batch(captions=5)
    tokens, _ = cut(tokens)
    before = model(grid, tokens)  # (15, T, V)
    torch.testing.assert_close(model(grid.repeat_interleave(5, dim=0), tokens), before)

    order = torch.arange(15)
    order[5:10] = torch.tensor([8, 5, 9, 7, 6])  # the second photo's captions change places
    torch.testing.assert_close(model(grid, tokens[order]), before[order])
    assert not torch.allclose(before[order], before)


@torch.no_grad()
def test_a_region_matters_to_its_own_photo_only(model: AttentionCaptioner) -> None:
    grid, tokens = batch()
    before = model(grid, tokens)
    for region in (0, 24, 48):
        changed = grid.clone()
        changed[1, region] += 3 * torch.randn(CONFIG.feature_width)
        difference = (model(changed, tokens) - before).abs().amax(2)  # (B, T)
        assert difference[2:4].min() > 1e-5
        assert difference[[0, 1, 4, 5]].max() < 1e-6


def test_a_photo_is_encoded_once_for_all_its_captions(
    model: AttentionCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, seen = model.encode, []
    monkeypatch.setattr(model, "encode", lambda grid: seen.append(len(grid)) or encode(grid))
    model(*batch(photos=3, captions=5))
    assert seen == [3]


@torch.no_grad()
def test_padding_changes_nothing_for_real_words(model: AttentionCaptioner) -> None:
    grid, tokens = batch()
    tokens, real = cut(tokens)
    padded = torch.nn.functional.pad(tokens, (0, 4))
    torch.testing.assert_close(model(grid, padded)[:, :6][real], model(grid, tokens)[real])


@torch.no_grad()
def test_a_place_sees_the_words_before_it_only(model: AttentionCaptioner) -> None:
    grid, tokens = batch()
    changed = tokens.clone()
    changed[:, 4:] = changed[:, 4:] % (CONFIG.vocab_size - 1) + 1
    before, after = model(grid, tokens), model(grid, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().amax(2).min() > 1e-4


def test_dropout_is_on_in_training_only(model: AttentionCaptioner) -> None:
    grid, tokens = batch()
    assert torch.equal(model(grid, tokens), model(grid, tokens))
    model.train()
    assert not torch.equal(model(grid, tokens), model(grid, tokens))


def test_a_channel_is_dropped_in_all_regions_of_a_photo_or_in_none(model: AttentionCaptioner) -> None:
    seen = []
    model.values.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.train().encode(batch()[0])
    dropped = seen[0] == 0  # (P, R, C)
    assert torch.equal(dropped.all(1), dropped.any(1))
    assert 0 < dropped.float().mean() < 1
    assert not torch.equal(dropped[0], dropped[1])


def test_every_weight_learns(model: AttentionCaptioner) -> None:
    model(*batch()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
