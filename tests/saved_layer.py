"""A layer and its graph on disk, small enough for tests."""

from pathlib import Path

import torch
from torch import nn

from helpers.deploy.export import save
from helpers.graphs import convert


def saved_layer(folder: Path, weights: str = "") -> tuple[nn.Module, Path]:
    layer = nn.Linear(3, 200)
    save(convert(layer, layer, (torch.zeros(1, 3),)), folder / "layer.xml", weights=weights)
    return layer, folder / "layer.xml"
