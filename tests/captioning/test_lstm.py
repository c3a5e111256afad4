"""The LSTM captioner against a NumPy LSTM, against itself step by step, and in its shapes."""

import numpy as np
import openvino as ov
import pytest
import torch

from helpers.captioning.lstm import LSTMCaptioner, LSTMConfig

CONFIG = LSTMConfig(vocab_size=11, feature_width=6, embedding=5, hidden=7)


@pytest.fixture
def model() -> LSTMCaptioner:
    torch.manual_seed(0)
    captioner = LSTMCaptioner(CONFIG)
    captioner.train()(*batch())  # gives batch normalisation something to remember
    return captioner.eval()


def batch(photos: int = 3, captions: int = 2, length: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(photos, CONFIG.feature_width, generator=generator)
    return features, torch.randint(1, CONFIG.vocab_size, (photos * captions, length), generator=generator)


@torch.no_grad()
def test_teacher_forcing_equals_an_lstm_written_in_numpy(model: LSTMCaptioner) -> None:
    features, tokens = batch(captions=1)
    weights = {name: weight.double().numpy() for name, weight in model.state_dict().items()}

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = features.double().numpy()
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    memory = np.maximum(linear(x * weights["photo.0.weight"] + weights["photo.0.bias"], "photo.2"), 0)
    start = linear(memory, "start.0") - weights["start.1.running_mean"]
    h, c = np.split(np.tanh(start / np.sqrt(weights["start.1.running_var"] + 1e-5)), 2, axis=1)
    expected = []
    for token in tokens.T:
        gates = weights["words.weight"][token] @ weights["lstm.weight_ih_l0"].T + weights["lstm.bias_ih_l0"]
        gates += h @ weights["lstm.weight_hh_l0"].T + weights["lstm.bias_hh_l0"]
        entry, forget, content, exit_ = np.split(gates, 4, axis=1)
        c = sigmoid(forget) * c + sigmoid(entry) * np.tanh(content)
        h = sigmoid(exit_) * np.tanh(c)
        expected.append(linear(h, "output"))
    np.testing.assert_allclose(model(features, tokens).numpy(), np.stack(expected, 1), atol=1e-5)


@torch.no_grad()
def test_step_by_step_equals_teacher_forcing(model: LSTMCaptioner) -> None:
    features, tokens = batch(captions=1)
    whole = model(features, tokens).log_softmax(2)  # (B, T, V)
    memory = model.encode(features)
    state = model.initial_state(memory)
    for place in range(tokens.shape[1]):
        log_probs, state, attention = model.step(tokens[:, place], state, memory)
        torch.testing.assert_close(log_probs, whole[:, place])
        assert attention is None


@torch.no_grad()
def test_photos_start_apart_however_large_what_they_share() -> None:
    torch.manual_seed(0)
    model = LSTMCaptioner(CONFIG)
    model.start[0].bias += 50.0  # without normalisation every h and c would be tanh(50) = 1
    h, c = model.train().initial_state(model.encode(batch(photos=16)[0]))
    assert h.std(0).mean() > 0.2 and c.std(0).mean() > 0.2


@torch.no_grad()
def test_captions_of_a_photo_share_its_encoding(model: LSTMCaptioner) -> None:
    features, tokens = batch(captions=4)
    repeated = model(features.repeat_interleave(4, dim=0), tokens)
    assert model(features, tokens).shape == (12, 6, CONFIG.vocab_size)
    torch.testing.assert_close(model(features, tokens), repeated)


@torch.no_grad()
def test_a_place_sees_the_photo_and_the_words_before_it_only(model: LSTMCaptioner) -> None:
    features, tokens = batch(captions=1)
    before = model(features, tokens)
    changed = tokens.clone()
    changed[:, 4:] = 0  # padding, too
    torch.testing.assert_close(model(features, changed)[:, :4], before[:, :4])
    assert not torch.allclose(model(features, changed)[:, 4:], before[:, 4:])
    assert (model(features + torch.randn(6), tokens) - before).abs().amax(2).min() > 1e-4


def test_dropout_is_on_in_training_only(model: LSTMCaptioner) -> None:
    features, tokens = batch()
    assert torch.equal(model(features, tokens), model(features, tokens))
    model.train()
    assert not torch.equal(model(features, tokens), model(features, tokens))


def test_every_weight_learns(model: LSTMCaptioner) -> None:
    model(*batch()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@torch.no_grad()
def test_the_three_functions_export_to_openvino(model: LSTMCaptioner) -> None:
    features, tokens = batch(captions=1)

    class Functions(torch.nn.Module):
        def __init__(self, function: object) -> None:
            super().__init__()
            self.model, self.function = model, function

        def forward(self, *inputs: torch.Tensor) -> object:
            return self.function(*inputs)

    def step(tokens: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        log_probs, state, _ = model.step(tokens, (h, c), None)
        return log_probs, *state

    memory = model.encode(features)
    state = model.initial_state(memory)
    calls = [(model.encode, (features,)), (model.initial_state, (memory,)), (step, (tokens[:, 0], *state))]
    for function, inputs in calls:
        # Traced with two photos, run with three: the batch is not baked in.
        graph = ov.convert_model(Functions(function), example_input=tuple(part[:2] for part in inputs))
        compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled([part.numpy() for part in inputs])
        expected = function(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for place, tensor in enumerate(expected):
            np.testing.assert_allclose(found[place], tensor.numpy(), atol=1e-5)
