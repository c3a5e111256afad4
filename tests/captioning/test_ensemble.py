"""Captioners that write together: against the models' own probabilities, averaged by hand."""

import numpy as np
import pytest
import torch

from helpers.captioning.captioner import Captioner, new_captioner
from helpers.captioning.ensemble import can_join, ensemble
from helpers.data.text import build_tokenizer
from helpers.files import InputError

TEXTS = ["a dog runs in the snow", "two cats sleep on a sofa", "the dog jumps"]
SMALL = {
    "lstm": {"embedding": 8, "hidden": 16},
    "attention": {"embedding": 8, "hidden": 16, "attention": 8},
    "transformer": {"width": 16, "heads": 2, "grid": 2},
}


def captioner(
    kind: str, seed: int = 0, backbone: str = "resnet50", texts: list[str] = TEXTS, length: int = 9
) -> Captioner:
    made = new_captioner(kind, build_tokenizer("word", texts), 6, backbone, length, beam=3, seed=seed, **SMALL[kind])
    made.model.eval()
    return made


@pytest.fixture
def grid() -> torch.Tensor:
    return torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(3))


def scores_of(member: Captioner, grid: torch.Tensor, tokens: list[int]) -> list[np.ndarray]:
    """Log-probabilities (V,) after each of `tokens`, by teacher forcing, of the first photo."""
    features = grid[:1].mean(1) if member.kind == "lstm" else grid[:1]
    with torch.no_grad():
        return list(member.model(features, torch.tensor([tokens]))[0].log_softmax(1).numpy())


def test_every_word_is_chosen_by_the_mean_of_all(grid: torch.Tensor) -> None:
    members = [captioner("lstm"), captioner("attention", 1), captioner("transformer", 2)]
    together = ensemble(members)
    tokens = [together.tokenizer.sos_id, 5, 7, 4]
    expected = np.mean([scores_of(member, grid, tokens) for member in members], axis=0)
    with torch.inference_mode():
        memory = together.model.encode(grid)
        state = together.model.initial_state(memory)
        for token, wanted in zip(tokens, expected, strict=True):
            found, state, _ = together.model.step(torch.full((5,), token), state, memory)
            np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(SMALL))
def test_one_alone_writes_as_before(kind: str, grid: torch.Tensor) -> None:
    alone = captioner(kind)
    features = grid.mean(1) if kind == "lstm" else grid
    expected = [caption.tokens for caption in alone.decode(features)]
    assert [caption.tokens for caption in ensemble([alone, alone]).decode(grid)] == expected


def test_captions_are_as_long_as_all_can_write(grid: torch.Tensor) -> None:
    members = [captioner("transformer", length=5), captioner("lstm", 1, length=26)]
    for order in (members, members[::-1]):
        together = ensemble(order)
        assert together.max_length == 5
        assert max(len(caption.tokens) for caption in together.decode(grid)) == 3  # with <SOS> and <EOS>, 5


def test_only_those_that_fit_together_write_together() -> None:
    with pytest.raises(InputError, match="same vocabulary"):
        ensemble([captioner("lstm"), captioner("attention", texts=["a horse"])])
    with pytest.raises(InputError, match="resnet50, vgg16"):
        ensemble([captioner("transformer"), captioner("attention", backbone="vgg16")])
    with pytest.raises(InputError, match="vector of vgg16"):
        ensemble([captioner("lstm", backbone="vgg16"), captioner("attention", backbone="vgg16")])


@pytest.mark.parametrize(
    ("kinds", "backbone", "expected"),
    [
        (("lstm", "transformer"), "resnet50", True),
        (("lstm", "transformer"), "vgg16", False),
        (("lstm", "lstm"), "vgg16", False),
        (("lstm", "transformer"), "openai/clip-vit-base-patch16", False),
        (("attention", "transformer"), "openai/clip-vit-base-patch16", True),
        (("attention", "transformer"), "vgg16", True),
    ],
)
def test_a_vector_that_is_no_mean_of_the_grid_joins_no_ensemble(
    kinds: tuple[str, str], backbone: str, expected: bool
) -> None:
    first, second = (captioner(kind, backbone=backbone) for kind in kinds)
    assert can_join(first, second) == expected
    assert not can_join(first, captioner("transformer", backbone="efficientnet_lite0"))
