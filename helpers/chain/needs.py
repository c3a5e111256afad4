"""Needs: what a run has to fetch from the network, and room on the disk, found out at its start and not after an hour.

What is in a cache needs no network. For the rest, one request a server says within seconds whether there is a way to
it. Downloads themselves are made by the notebook that is the first to need them.
"""

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from helpers.backbone_names import BUILT_IN, eyes, is_stem, on_hub, stem_name, whole_name
from helpers.downloads import hub, unreachable
from helpers.encoder_names import PACKAGES, SEPARATOR, USE, hub_name
from helpers.environment import command
from helpers.files import InputError, as_file_name, at_home
from helpers.profiles import Profile

_TORCHVISION = "https://download.pytorch.org/models"
_KAGGLE = "https://www.kaggle.com"
WEIGHTS = {"vgg16": ("vgg16-397923af.pth", "528 MB"), "resnet50": ("resnet50-11ad3fa6.pth", "98 MB")}
BERT = "bert-base-uncased"


@dataclass(frozen=True)
class Need:
    """Something that is in no cache here."""

    what: str
    address: str
    instead: dict[str, str] = field(default_factory=dict)  # settings that do without


def missing(profile: Profile, declared: Iterable[str]) -> list[Need]:
    """What a run of `profile` has to fetch for stages that declare these parameters."""
    declared = set(declared)
    needs = []
    if "captions_handle" in declared:
        several = [handle.strip() for handle in (profile.captions_handle or "").split("+")]
        handles = [] if profile.captions_folder else [*several, profile.split_handle]
        handles += [] if profile.classes_folder else [profile.classes_handle]
        for handle in filter(None, handles):
            if not _kaggle_has(handle):
                needs.append(
                    Need(f"the Kaggle data set {handle}", f"{_KAGGLE}/datasets/{handle.split('/versions')[0]}")
                )
    backbones = [getattr(profile, name) for name in ("vector_backbone", "grid_backbone") if name in declared]
    for name in dict.fromkeys(eye for backbone in backbones for eye in eyes(backbone)):
        if name not in BUILT_IN and not _hub_has(name, "config.json"):
            needs.append(Need(f"the backbone {name}", f"{hub()}/{name}", {"backbone": "efficientnet_lite0"}))
        file, size = WEIGHTS.get(name, (None, ""))
        if file and not (torch_home() / "hub" / "checkpoints" / file).exists():
            what = f"the published weights of {name} ({size})"
            needs.append(Need(what, f"{_TORCHVISION}/{file}", {"backbone": "efficientnet_lite0"}))
    if "sentence_encoders" in declared:
        for encoder in profile.sentence_encoders.split(SEPARATOR):
            name = hub_name(encoder)
            if encoder not in PACKAGES and not _hub_has(name, "config.json"):
                needs.append(Need(f"the sentence encoder {name}", f"{hub()}/{name}", {"sentence_encoders": USE}))
    for setting in ("caption_tokenizer", "encoder_tokenizer"):
        if setting in declared and getattr(profile, setting) == "bert" and not _hub_has(BERT, "vocab.txt"):
            what = f"the vocabulary of {BERT}"
            needs.append(Need(what, f"{hub()}/{BERT}", {setting: "wordpiece"}))
    return needs


def check_network(needs: list[Need]) -> None:
    """Print what is to be fetched, once it is sure that there is a way to it.

    Raises:
        InputError: there is none; the message says what would be missing, and which command does without.
    """
    if not needs:
        return
    servers = {urlsplit(need.address).netloc: need.address for need in needs}
    with ThreadPoolExecutor(len(servers)) as pool:
        reasons = dict(zip(servers, pool.map(unreachable, servers.values()), strict=True))
    if not any(reasons.values()):
        print(f"To be downloaded: {', '.join(dict.fromkeys(need.what for need in needs))}.")
        return
    lost = [need for need in needs if reasons[urlsplit(need.address).netloc]]
    said = "; ".join(f"{server} {reason}" for server, reason in reasons.items() if reason)
    ways = {name: value for need in lost for name, value in need.instead.items()}
    without = f", or do without: {command(**ways)}" if ways else ""
    if any(not need.instead for need in lost):  # data sets
        without = ", or take photos of your own with captions_folder and classes_folder"
        without += f" and do without the rest: {' '.join(f'--set {k}={v}' for k, v in ways.items())}" if ways else ""
    listed = ", ".join(dict.fromkeys(need.what for need in lost))
    raise InputError(f"This run needs {listed}, and {said}; connect to the internet{without}.")


def features_size(profile: Profile, photos: int) -> int:
    """Bytes that stage 02 takes of the disk for so many photos, at least; backbones that have looked are not counted.

    Nor are those of the Hugging Face hub, whose widths are not known before they are loaded; stage 02 counts them.
    Vectors are float32 and lie there twice while they are written, grids are float16.
    """
    folder = profile.outputs / "features"
    names = {profile.vector_backbone, profile.grid_backbone}
    names |= {stem_name(profile.grid_backbone)} if profile.trains_tail else set()
    ahead = [name for name in names if not (folder / f"{as_file_name(name)}_grid.json").exists()]
    row = 0
    for eye in (eye for name in ahead for eye in eyes(name) if not on_hub(eye)):
        looks = BUILT_IN[whole_name(eye)]
        vector, grid = (looks.stem[1], looks.stem) if is_stem(eye) else (looks.vector, looks.grid)
        row += 2 * 4 * vector + 2 * math.prod(grid)
    return photos * (2 if profile.mirrored else 1) * row


def torch_home() -> Path:
    """Where torchvision keeps what it downloads, as PyTorch has it, which takes seconds to import."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return at_home(os.environ.get("TORCH_HOME", Path(cache, "torch")))


def _kaggle_has(handle: str) -> bool:
    from kagglehub.cache import Cache  # here and below: most runs need none of them
    from kagglehub.handle import parse_dataset_handle

    try:
        return Cache().load_from_cache(parse_dataset_handle(handle)) is not None
    except ValueError as error:
        raise InputError(f"{handle!r} names no Kaggle data set ({error}); write owner/name/versions/1.") from None


def _hub_has(name: str, *files: str) -> bool:
    """Whether the cache of the hub has one of `files` of model `name`."""
    from huggingface_hub import try_to_load_from_cache

    if at_home(name).is_dir():  # a folder of the user's own
        return True
    try:
        return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)
    except ValueError as error:  # no name that the hub could have
        raise InputError(f"{name!r} names no model of the Hugging Face hub ({error}).") from None
