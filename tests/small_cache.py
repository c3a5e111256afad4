"""What the real profiles would download, in miniature: photos by chance, and networks with random weights, where the
libraries look for them."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_data import write_captions
from tiny_models import save_tiny_model

from helpers.environment import prepare_torchvision
from helpers.files import write_json
from helpers.profiles import PROFILES

PHOTOS = 40
COLOURS, ANIMALS, PLACES = ("red", "green", "blue"), ("dog", "cat", "horse", "bird"), ("grass", "beach", "street")
SPLITS = ["train"] * 6 + ["val", "test"] + ["restval", "train"]  # of each ten photos
CLIP = "openai/clip-vit-base-patch16"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def draw_photos(folder: Path, names: list[str], seed: int) -> None:
    """Coarse blocks of random colours."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        blocks = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        blocks.resize((100, 80), Image.Resampling.BILINEAR).save(folder / name)


def captions_of(number: int) -> list[str]:
    """Five captions of a photo, which shares words with others."""
    colour, animal, place = COLOURS[number % 3], ANIMALS[number % 4], PLACES[number // 4 % 3]
    return [
        f"A {colour} {animal} runs on the {place} .",
        f"the {animal} , which is {colour} , plays on the {place}",
        f"A {animal} on a {place} .",
        f"one {colour} {animal} sits near a {place}",
        f"{animal} number {number} on the {place}",
    ]


def fill_kaggle(cache: Path, name: str) -> None:
    """The data sets of the profile `name` as kagglehub keeps them."""
    profile = PROFILES[name]
    homes = {}
    for handle in (profile.captions_handle, profile.split_handle, profile.classes_handle):
        homes[handle] = cache / "datasets" / handle
        homes[handle].mkdir(parents=True)
        (homes[handle].parent.parent / f"{homes[handle].name}.complete").touch()
    root = homes[profile.captions_handle]
    if name == "coco":
        names = [f"{number:012d}.jpg" for number in range(PHOTOS)]
        halves = {"train2017": range(PHOTOS // 2), "val2017": range(PHOTOS // 2, PHOTOS)}
        for seed, (half, numbers) in enumerate(halves.items()):
            draw_photos(root / "coco2017" / half, [names[number] for number in numbers], seed)
            images = [{"id": number, "file_name": names[number]} for number in numbers]
            said = [{"image_id": number, "caption": text} for number in numbers for text in captions_of(number)]
            content = {"images": images, "annotations": said}
            write_json(root / "coco2017" / "annotations" / f"captions_{half}.json", content)
    else:
        names = [f"{1000 + number}_a.jpg" for number in range(PHOTOS)]
        draw_photos(root / "Images", names, 0)
        write_captions(root, [(names[number], text) for number in range(PHOTOS) for text in captions_of(number)])
    images = [
        {"filename": f"COCO_{number}.jpg" if name == "coco" else names[number], "split": SPLITS[number % len(SPLITS)]}
        | ({"cocoid": number} if name == "coco" else {})
        for number in range(PHOTOS)
    ]
    write_json(homes[profile.split_handle] / profile.split_file, {"images": images})
    for seed, label in enumerate(("cane", "gatto", "ragno")):
        draw_photos(homes[profile.classes_handle] / "raw-img" / label, [f"{number}.jpeg" for number in range(14)], seed)


def save_random_weights(home: Path) -> None:
    """Seeded random VGG16 and ResNet50 where torchvision looks for the published ones (`TORCH_HOME`)."""
    prepare_torchvision()
    from torchvision.models import ResNet50_Weights, VGG16_Weights, resnet50, vgg16

    for seed, (build, weights) in enumerate(
        ((vgg16, VGG16_Weights.IMAGENET1K_V1), (resnet50, ResNet50_Weights.IMAGENET1K_V2))
    ):
        torch.manual_seed(seed)
        path = home / "hub" / "checkpoints" / os.path.basename(weights.url)  # noqa: PTH119 - of an address
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(build(weights=None).state_dict(), path)


def save_tiny_encoder(home: Path) -> None:
    """A sentence encoder of two small layers under the name of MiniLM, as the hub's cache keeps it (`HF_HOME`)."""
    prepare_torchvision()
    from transformers import BertConfig, BertModel, BertTokenizer

    words = sorted({word for number in range(PHOTOS) for text in captions_of(number) for word in text.lower().split()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    folder = _in_hub(home, ENCODER)
    torch.manual_seed(2)
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)


def save_tiny_clip(home: Path) -> None:
    """A dual encoder of two small layers under the name CLIP, likewise."""
    save_tiny_model("clip", _in_hub(home, CLIP))


def _in_hub(home: Path, name: str) -> Path:
    """The folder where the hub's cache keeps the model `name`, to be filled."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / ("0" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(folder.name)
    return folder
