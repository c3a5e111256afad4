"""Models of the hub as a whole: all their weights, no code of theirs, and squares; against transformers itself."""

import json
from pathlib import Path

import pytest
import torch

from helpers.environment import prepare_torchvision
from helpers.files import InputError
from helpers.hugging_face import Preparation, load_pretrained

LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_a_pooler_that_was_not_saved_is_none_and_not_drawn(tmp_path: Path) -> None:
    """As in a ViT with GPT-2 behind it, whose words come from the patches."""
    prepare_torchvision()
    import transformers

    vision = transformers.ViTConfig(**LAYERS, image_size=32, patch_size=8)
    encoder = transformers.ViTModel(vision, add_pooling_layer=False)
    words = {"vocab_size": 10, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    decoder = transformers.GPT2LMHeadModel(transformers.GPT2Config(**words, add_cross_attention=True))
    whole = transformers.VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    whole.save_pretrained(tmp_path)
    loaded, again = (
        load_pretrained(str(tmp_path), ("AutoModelForImageTextToText",), "The captioner", "stop")[0] for _ in range(2)
    )
    assert loaded.encoder.pooler is None
    weights = whole.state_dict()
    for other in (loaded.state_dict(), again.state_dict()):
        assert other.keys() == weights.keys() and all(torch.equal(other[name], weights[name]) for name in weights)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    prepare_torchvision()
    import transformers

    layers = LAYERS | {"vocab_size": 10}
    transformers.BertModel(transformers.BertConfig(**layers)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        load_pretrained(str(tmp_path), ("AutoModel",), "The sentence encoder", "use another")
    assert str(caught.value) == (
        f"The sentence encoder {tmp_path} comes without 16 of the weights of a BertModel, such as "
        "encoder.layer.1.attention.output.LayerNorm.bias; take one that was saved as such a model, or use another."
    )


def test_code_that_a_model_brings_is_not_run_nor_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    ran = tmp_path / "ran"
    (tmp_path / "own.py").write_text(
        f"open({str(ran)!r}, 'w').close()\n"
        "from transformers import PretrainedConfig\n"
        "class Own(PretrainedConfig):\n    model_type = 'own'\n"
    )
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        load_pretrained(str(tmp_path), ("AutoModel",), "The backbone", "use another")
    assert str(caught.value) == (
        f"The backbone {tmp_path} brings code of its own, which is not run here; take another model, or use another."
    )
    assert asked == [] and not ran.exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Qwen2VLImageProcessor", r"of two it makes \(\d+, 1176\)"),
        ("SmolVLMImageProcessor", r"of two it makes \(1, \d+, 3, \d+, \d+\)"),
        ("MllamaImageProcessor", r"of two it makes \(1, 2, 4, 3, 224, 224\)"),
        ("Pix2StructImageProcessor", r"\(Pix2StructImageProcessor: "),
        ("FuyuImageProcessor", r"\(FuyuImageProcessor: "),
        ("VitPoseImageProcessor", r"\(VitPoseImageProcessor: "),
    ],
)
def test_processors_that_make_no_squares_are_refused(kind: str, reason: str) -> None:
    prepare_torchvision()
    import transformers

    with pytest.raises(InputError, match=rf"^tiny does not look at square photos.*{reason}.*; take another model\.$"):
        Preparation(getattr(transformers, kind)(), "tiny")
