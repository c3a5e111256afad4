"""The transformer captioner: its attention and positions against NumPy, its cache against all places at once."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers.captioning.captioner import new_captioner
from helpers.captioning.transformer import (
    TransformerCaptioner,
    TransformerConfig,
    attend,
    sinusoids,
)
from helpers.data.text import build_tokenizer
from helpers.features.backbones import load_backbone
from helpers.training.dropout import SharedDropout

SIZES = {"vocab_size": 11, "feature_width": 6, "max_length": 12, "width": 8, "heads": 2, "decoder_layers": 2}
REGIONS = 49


@pytest.fixture(params=[7, 4], ids=["49 regions", "pooled to 16"])
def model(request: pytest.FixtureRequest) -> TransformerCaptioner:
    torch.manual_seed(0)
    captioner = TransformerCaptioner(TransformerConfig(**SIZES, grid=request.param))
    captioner.train()(*batch())  # gives batch normalisation something to remember
    return captioner.eval()


def batch(photos: int = 3, captions: int = 2, length: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(photos, REGIONS, SIZES["feature_width"], generator=generator)
    return grid, torch.randint(1, SIZES["vocab_size"], (photos * captions, length), generator=generator)


def test_attend_with_one_head_equals_numpy() -> None:
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 4))
    mask = np.where(rng.random((3, 5)) < 0.4, -np.inf, 0.0)
    assert np.isinf(mask).any() and not np.isinf(mask).all(1).any()
    scores = np.exp(query @ key.transpose(0, 2, 1) / 2 + mask)  # 2: the root of the width
    weights = scores / scores.sum(2, keepdims=True)
    found, shares = attend(*map(torch.from_numpy, (query, key, value)), 1, torch.from_numpy(mask))
    np.testing.assert_allclose(shares[:, 0], weights, atol=1e-12)
    np.testing.assert_allclose(found, weights @ value, atol=1e-12)


def test_heads_are_separate_attentions_over_parts_of_the_width() -> None:
    query, key, value = torch.randn(2, 3, 6), torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    whole, weights = attend(query, key, value, 3)
    for head in range(3):
        part = slice(2 * head, 2 * head + 2)
        found, shares = attend(query[..., part], key[..., part], value[..., part], 1)
        torch.testing.assert_close(whole[..., part], found)
        torch.testing.assert_close(weights[:, head], shares[:, 0])


def test_attention_equals_pytorch_s() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x, y = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    expected, weights = layer(x, y, y, average_attn_weights=False)
    (q, k, v), (b_q, b_k, b_v) = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    found, shares = attend(x @ q.T + b_q, y @ k.T + b_k, y @ v.T + b_v, 2)
    torch.testing.assert_close(layer.out_proj(found), expected)
    torch.testing.assert_close(shares, weights)


def test_sinusoids_are_sine_and_cosine_of_falling_rates() -> None:
    expected = np.zeros((9, 6))
    for place in range(9):
        for pair in range(3):
            angle = place / 10_000 ** (2 * pair / 6)
            expected[place, 2 * pair : 2 * pair + 2] = math.sin(angle), math.cos(angle)
    np.testing.assert_allclose(sinusoids(9, 6), expected, atol=1e-6)


@torch.no_grad()
def test_step_with_the_cache_equals_teacher_forcing(model: TransformerCaptioner) -> None:
    grid, tokens = batch(captions=1, length=SIZES["max_length"])
    states = model.states(grid, tokens)  # (B, T, W)
    memory = model.encode(grid)
    state = model.initial_state(memory)
    assert state[0].shape == (3, 0, memory.shape[2])
    for place in range(tokens.shape[1]):
        log_probs, state, attention = model.step(tokens[:, place], state, memory)
        torch.testing.assert_close(log_probs, model.logits(states[:, place]).log_softmax(1), atol=1e-5, rtol=1e-5)
        assert state[0].shape == (3, place + 1, memory.shape[2])
        assert attention.shape == (3, model.config.grid**2) and (attention >= 0).all()
        torch.testing.assert_close(attention.sum(1), torch.ones(3))


@torch.no_grad()
def test_a_place_sees_the_words_before_it_only(model: TransformerCaptioner) -> None:
    grid, tokens = batch()
    before = model(grid, tokens)
    for place in range(1, 6):
        changed = tokens.clone()
        changed[:, place] = changed[:, place] % (SIZES["vocab_size"] - 1) + 1
        after = model(grid, changed)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert (after[:, place:] - before[:, place:]).abs().amax(2).min() > 1e-5


@torch.no_grad()
def test_padding_changes_nothing_for_real_words(model: TransformerCaptioner) -> None:
    grid, tokens = batch()
    padded = nn.functional.pad(tokens, (0, 4))
    torch.testing.assert_close(model(grid, padded)[:, :6], model(grid, tokens))


@torch.no_grad()
def test_the_order_of_words_matters(model: TransformerCaptioner) -> None:
    grid, _ = batch()
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]]).repeat(3, 1)
    swapped = tokens[:, [0, 2, 1, 3, 4, 5]]  # the last place has seen the same words
    assert (model(grid, swapped)[:, 5] - model(grid, tokens)[:, 5]).abs().amax(1).min() > 1e-5


@torch.no_grad()
def test_the_output_layer_is_the_word_embedding_turned_round(model: TransformerCaptioner) -> None:
    grid, tokens = batch()
    model.bias += torch.arange(11.0)
    expected = model.states(grid, tokens) @ model.words.weight.T + model.bias
    torch.testing.assert_close(model(grid, tokens), expected)
    assert model.bias.shape == (SIZES["vocab_size"],)
    assert sum(weight.numel() == model.words.weight.numel() for weight in model.parameters()) == 1


@torch.no_grad()
def test_five_captions_of_a_photo_share_its_encoding(
    model: TransformerCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, tokens = batch(captions=5)
    repeated = model(grid.repeat_interleave(5, dim=0), tokens)
    encode, seen = model.encode, []
    monkeypatch.setattr(model, "encode", lambda grid: seen.append(len(grid)) or encode(grid))
    before = model(grid, tokens)
    assert seen == [3]
    torch.testing.assert_close(before, repeated)
    order = torch.arange(15)
    order[5:10] = torch.tensor([8, 5, 9, 7, 6])  # the second photo's captions change places
    torch.testing.assert_close(model(grid, tokens[order]), before[order])


@torch.no_grad()
def test_a_region_matters_to_its_own_photo_and_so_does_its_place(model: TransformerCaptioner) -> None:
    grid, tokens = batch()
    before = model(grid, tokens)
    for region in (0, 24, 48):
        changed = grid.clone()
        changed[1, region] += 3 * torch.randn(SIZES["feature_width"])
        difference = (model(changed, tokens) - before).abs().amax(2)  # (B, T)
        assert difference[2:4].min() > 1e-6
        assert difference[[0, 1, 4, 5]].max() < 1e-6
    upside_down = grid.flip(1)
    assert (model(upside_down, tokens) - before).abs().amax(2).min() > 1e-5


@torch.no_grad()
def test_regions_are_pooled_by_where_they_are() -> None:
    torch.manual_seed(0)
    model = TransformerCaptioner(TransformerConfig(**SIZES, grid=1, encoder_layers=0)).eval()
    grid = batch()[0]
    # One region of all: their order no longer matters.
    torch.testing.assert_close(model.encode(grid), model.encode(grid[:, torch.randperm(REGIONS)]))
    assert model.encode(grid).shape == (3, 1, 2 * 2 * SIZES["width"])


def test_dropout_is_on_in_training_only_with_one_mask_for_all_places(model: TransformerCaptioner) -> None:
    grid, tokens = batch()
    assert torch.equal(model(grid, tokens), model(grid, tokens))
    model.train()
    assert not torch.equal(model(grid, tokens), model(grid, tokens))
    dropped = SharedDropout(0.5)(torch.ones(4, 3, 20))
    assert torch.equal(dropped, dropped[:, :1].expand(4, 3, 20))
    assert set(dropped.unique().tolist()) == {0.0, 2.0} and not torch.equal(dropped[0], dropped[1])


def test_every_weight_learns(model: TransformerCaptioner) -> None:
    model(*batch()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_a_tail_turns_the_stems_grid_into_the_backbones_and_learns() -> None:
    tokenizer = build_tokenizer("word", ["a dog runs"])
    small = {"width": 16, "heads": 2, "decoder_layers": 1, "grid": 4, "dropout": 0.0}
    plain = new_captioner("transformer", tokenizer, 1280, "efficientnet_lite0", 9, **small)
    tuned = new_captioner(
        "transformer", tokenizer, 112, "efficientnet_lite0_stem", 9, tail="efficientnet_lite0", **small
    )
    rest = {name: weight for name, weight in plain.model.state_dict().items() if not name.startswith("tail")}
    tuned.model.load_state_dict(rest, strict=False)

    photos = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        grid, stem_grid = load_backbone("efficientnet_lite0")(photos)[1], load_backbone(tuned.backbone)(photos)[1]
        expected = plain.model.eval().encode(grid)
        torch.testing.assert_close(tuned.model.eval().encode(stem_grid), expected, rtol=1e-3, atol=1e-4)

    tokens = torch.tensor([[1, 4, 5, 2], [1, 5, 6, 2]])
    tuned.model.train()(stem_grid, tokens).sum().backward()
    assert all(weight.grad is not None for weight in tuned.model.tail.parameters())
