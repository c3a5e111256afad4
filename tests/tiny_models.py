"""Models as the Hugging Face hub gives them, in miniature: random weights, a few words, in a folder."""

from pathlib import Path

import torch

from helpers.environment import prepare_torchvision

TEXTS = ["a dog runs", "a boat on the lake", "the dog", "a dog on a boat on the lake runs on the boat"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in TEXTS for word in text.split()})]
SIDE = 32  # pixels
_LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT = _LAYERS | {"vocab_size": len(WORDS), "max_position_embeddings": 20}
_TEXT |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
_VISION = _LAYERS | {"image_size": SIDE, "patch_size": 8}
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_SQUARE = {"height": SIDE, "width": SIDE}


def save_tiny_model(kind: str, folder: Path) -> Path:
    """Fill `folder` with a model of this kind: clip, siglip, dinov2, vit (with classes, no pooler) or blip."""
    prepare_torchvision()
    import transformers
    from transformers import BertTokenizer

    BertTokenizer(vocab={word: row for row, word in enumerate(WORDS)}).save_pretrained(folder)
    torch.manual_seed(0)
    if kind == "clip":  # the middle of a photo, at its own proportions
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=_SQUARE)
        config = transformers.CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=8)
        model = transformers.CLIPModel(config)
    elif kind == "siglip":  # the whole photo, squeezed
        processor = transformers.SiglipImageProcessor(size=_SQUARE, resample=2)
        text = _TEXT | {"projection_size": 16}
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=_VISION))
    elif kind == "dinov2":  # photos alone
        size, crop = {"shortest_edge": SIDE + 4}, _SQUARE
        processor = transformers.BitImageProcessor(size=size, crop_size=crop, image_mean=_MEAN, image_std=_STD)
        model = transformers.Dinov2Model(
            transformers.Dinov2Config(**_LAYERS, image_size=SIDE, patch_size=8, mlp_ratio=2)
        )
    elif kind == "vit":
        processor = transformers.ViTImageProcessor(size=_SQUARE)
        model = transformers.ViTForImageClassification(transformers.ViTConfig(**_VISION))
    else:
        processor = transformers.BlipImageProcessor(size=_SQUARE)
        text = _TEXT | {"encoder_hidden_size": 16, "projection_dim": 8, "max_position_embeddings": 64}
        config = transformers.BlipConfig(text_config=text, vision_config=_VISION, projection_dim=8)
        model = transformers.BlipForConditionalGeneration(config)
    processor.save_pretrained(folder)
    with torch.no_grad():  # far apart, so that photos and texts differ by more than rounding
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.3)
        if kind == "blip":  # it says words
            model.text_decoder.cls.predictions.bias[:5] -= 5
    model.save_pretrained(folder)
    return folder
