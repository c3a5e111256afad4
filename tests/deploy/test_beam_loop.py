"""A beam search inside a graph against the loop in Python around PyTorch's own step."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_captioners import KINDS, prepared
from torch import Tensor

from helpers.captioning.captioner import WEIGHTS, Captioner, save_captioner
from helpers.captioning.decoding import Caption, Rules, beam_search
from helpers.deploy.export import save, variants
from helpers.deploy.models import OpenVINOCaptioner, export_captioner, load_openvino_captioner
from helpers.files import InputError, fingerprint_files
from helpers.graphs import core

PHOTOS = 8


@pytest.fixture(scope="module", params=KINDS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Captioner, Tensor, Path]:
    """A random captioner that knows its photos apart, saved and exported, and the features of some photos."""
    folder = tmp_path_factory.mktemp(request.param)
    captioner, train, _ = prepared(40, request.param)
    features = torch.from_numpy(train.features(np.arange(40)))
    model = captioner.model
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights *= 2.5  # so that captions differ and some words are likely
        model.train()(features, torch.ones(40, 1, dtype=torch.int64))  # batch normalisation settles
        model.eval()
    save_captioner(folder, captioner, [])
    export_captioner(captioner, folder, features.numpy(), [texts[0] for texts in train.captions])
    return captioner, features[:PHOTOS], folder


def one_by_one(model: torch.nn.Module, features: Tensor, rules: Rules, **settings: float) -> list[Caption]:
    return [beam_search(model, photo[None], rules, **settings)[0] for photo in features]


@pytest.mark.parametrize(("beam", "length_power"), [(1, 0.7), (3, 0.0), (5, 1.0)])
def test_the_graph_finds_the_captions_scores_and_attention_of_pytorch(
    exported: tuple[Captioner, Tensor, Path], beam: int, length_power: float
) -> None:
    captioner, features, folder = exported
    graphs = OpenVINOCaptioner(folder, "fp32", "f32")
    settings = {"beam": beam, "length_power": length_power}
    wanted = one_by_one(captioner.model, features, captioner.rules, **settings)
    found = one_by_one(graphs, features, captioner.rules, **settings)
    assert [caption.tokens for caption in found] == [caption.tokens for caption in wanted]
    assert [caption.score for caption in found] == pytest.approx([caption.score for caption in wanted], abs=1e-4)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.attention is None) == (theirs.attention is None)
        if ours.attention is not None:
            torch.testing.assert_close(ours.attention, theirs.attention, atol=1e-4, rtol=0)
    assert len({tuple(caption.tokens) for caption in wanted}) > 1


@pytest.mark.parametrize("way", variants())
def test_a_score_is_the_sum_of_what_the_steps_say_in_each_precision(
    exported: tuple[Captioner, Tensor, Path], way: str
) -> None:
    captioner, features, folder = exported
    rules, graphs = captioner.rules, OpenVINOCaptioner(folder, *variants()[way])
    for photo, caption in zip(features[:4], one_by_one(graphs, features[:4], rules), strict=True):
        memory = graphs.encode(photo[None])
        state, last, total = graphs.initial_state(memory), rules.sos_id, 0.0
        for token in [*caption.tokens, rules.eos_id]:
            log_probs, state, _ = graphs.step(torch.tensor([last]), state, memory)
            total, last = total + float(log_probs[0, token]), token
        # In few bits, rounding differs a little with the number of rows.
        assert caption.score == pytest.approx(total, abs=1e-3 if way in ("fp32", "fp16") else 0.3)


def test_rules_on_repeats_hold(exported: tuple[Captioner, Tensor, Path]) -> None:
    captioner, features, folder = exported
    graphs, strict = OpenVINOCaptioner(folder, "fp32", "f32"), replace(captioner.rules, no_repeat_ngram=1)
    found = one_by_one(graphs, features, strict)
    assert [c.tokens for c in found] == [c.tokens for c in one_by_one(captioner.model, features, strict)]
    assert all(len(set(caption.tokens)) == len(caption.tokens) for caption in found)


def test_graphs_from_before_photos_had_one_memory_for_all_their_captions_are_refused(
    exported: tuple[Captioner, Tensor, Path], tmp_path: Path
) -> None:
    _, _, folder = exported
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    load_openvino_captioner(tmp_path)
    only_weights = fingerprint_files([folder / WEIGHTS])  # what such a graph was marked with
    save(core().read_model(folder / "step.xml"), tmp_path / "step.xml", weights=only_weights)
    with pytest.raises(InputError, match="earlier version of this course; run notebook 05_openvino again"):
        load_openvino_captioner(tmp_path)
