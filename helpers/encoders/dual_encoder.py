"""Dual encoder: a small CNN for photos and a BiLSTM for texts that meet in one 256-d space.

Photo tower: four blocks of convolution, batch normalisation, ReLU and max pooling, then global average pooling
(Lin, Chen and Yan, "Network In Network", 2013). Text tower: word vectors and a bidirectional LSTM (Schuster and
Paliwal, 1997), pooled over time. A linear projection and L2 normalisation end both, so that a dot product is a
cosine. Two towers that only meet at the end: DeViSE (Frome et al., 2013); VSE (Kiros et al., 2014).

The towers know nothing of each other, so photos are embedded once and each query costs one pass of one tower.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Len
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import Factor, Few, Share, Size
from helpers.data.text import Tokenizer, load_tokenizer
from helpers.devices import device_of, to_device
from helpers.features.rows import Views
from helpers.training.checkpoints import load_trained, save_trained

WEIGHTS = "best_multimodal_model.pth"
MADE_BY = "notebook 04a"
_TOGETHER = 32 << 20  # bytes of the rows that are encoded together, at most


@dataclass(frozen=True)
class DualEncoderConfig:
    """All that is needed to build the model again."""

    vocab_size: Size
    photo_size: Few = 96  # pixels a side of the square the photo tower takes
    max_length: Few = 32  # tokens of a text, <SOS> and <EOS> included
    channels: Annotated[tuple[Size, ...], Len(1, 16)] = (64, 128, 256, 512)
    word_width: Size = 128
    lstm_width: Size = 256  # a direction
    embedding: Size = 256
    dropout: Share = 0.2
    temperature: Factor = 0.07  # where training starts; after training, what it ended with


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """(B, in, S, S) -> (B, out, S/2/stride, S/2/stride)."""
    return nn.Sequential(
        # No bias: batch normalisation has one.
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


class ImageTower(nn.Module):
    """uint8 photos (B, S, S, 3) -> unit vectors (B, embedding)."""

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        first, *others = config.channels
        # The first convolution looks at 5x5 pixels in steps of two: a quarter of the work everywhere after it.
        blocks = [conv_block(3, first, kernel_size=5, stride=2), *map(conv_block, config.channels, others)]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.channels[-1], config.embedding)

    def forward(self, pixels: Tensor) -> Tensor:
        # uint8 0..255 -> float -1..1; the permuted view is already in channels-last memory order.
        x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, S, S)
        x = self.blocks(x)  # (B, 512, S/32, S/32)
        x = x.mean(dim=(2, 3))  # global average pooling: (B, 512)
        return F.normalize(self.project(self.dropout(x)).float(), dim=1)  # (B, embedding)


class TextTower(nn.Module):
    """Token ids (B, T), padded with 0 behind -> unit vectors (B, embedding), the same for any amount of padding."""

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.word_width, padding_idx=0)
        self.forward_lstm = nn.LSTM(config.word_width, config.lstm_width, batch_first=True)
        self.backward_lstm = nn.LSTM(config.word_width, config.lstm_width, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(2 * config.lstm_width, config.embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = (tokens != 0).long()  # (B, T)
        # Row by row 0, 1, 2, ... up to the last token, and that backwards: n-1, ..., 1, 0, then 0 for padding.
        # Gathering by it turns each text round within its own length, which one bidirectional LSTM over padded
        # rows would not: its backward half starts in the padding. And gathering twice gives the first order again.
        reverse = (mask.sum(dim=1, keepdim=True) - mask.cumsum(dim=1)).clamp(min=0)  # (B, T)
        x = self.dropout(self.words(tokens))  # (B, T, word_width)
        ahead, _ = self.forward_lstm(x)  # (B, T, lstm_width)
        back, _ = self.backward_lstm(_gather(x, reverse))
        x = torch.cat([ahead, _gather(back, reverse)], dim=2)  # (B, T, 2 * lstm_width)
        x = x.masked_fill(mask[:, :, None] == 0, -1.0).amax(dim=1)  # max over real tokens, whose values exceed -1
        return F.normalize(self.project(self.dropout(x)).float(), dim=1)  # (B, embedding)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """x (B, T, C) with its time steps taken in the order of `index` (B, T)."""
    return x.gather(1, index[:, :, None].expand_as(x))


class DualEncoder(nn.Module):
    """The pair: `encode_image` and `encode_text` into one space."""

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config)
        self.text = TextTower(config)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> (B, embedding), L2-normalised."""
        return self.image(pixels)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 (B, T), 0 is padding -> (B, embedding), L2-normalised."""
        return self.text(tokens)


class EncoderPair(NamedTuple):
    """A trained model with what it needs to read photos and texts the way it was trained on."""

    model: DualEncoder
    tokenizer: Tokenizer

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that `embed_photos` takes."""
        return self.model.config.photo_size

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What the ids of `tokens` stand for."""
        return self.tokenizer.vocabulary

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> int64 ids (N, T), padded with 0."""
        return self.tokenizer.encode_batch(list(texts), self.model.config.max_length)

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3), as `data.images.load_pixels` gives them -> float32 unit vectors (N, embedding)."""
        return in_batches(self.model, self.model.encode_image, pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, embedding)."""
        return in_batches(self.model, self.model.encode_text, self.tokens(texts))

    def save(self, folder: Path) -> None:
        """Write weights, config and tokenizer into `folder`, each atomically, the weights last."""
        self.tokenizer.save(folder)
        save_trained(folder / WEIGHTS, self.model)


def new_pair(config: DualEncoderConfig, tokenizer: Tokenizer, seed: int) -> EncoderPair:
    """An untrained pair whose weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EncoderPair(DualEncoder(config), tokenizer)


@torch.inference_mode()
def in_batches(
    model: nn.Module, encode: Callable[[Tensor], Tensor], rows: np.ndarray | Views, size: int = 128
) -> np.ndarray:
    """`encode` over `rows`, `size` at a time, where `model` is, with dropout off and batch normalisation fixed, in
    float32. Of large rows, such as grids of a stem, fewer are taken together.
    """
    device = device_of(model.eval())
    size = min(size, max(1, _TOGETHER // max(1, rows[:1].nbytes)))
    parts = (rows[start : start + size] for start in range(0, len(rows), size))
    return np.concatenate([encode(to_device(part, device)).cpu().numpy() for part in parts])


def load_dual_encoder(folder: Path) -> EncoderPair:
    """The pair saved in `folder`, ready to embed.

    Raises:
        InputError: a file is missing, damaged, or belongs to another model.
    """
    model = load_trained(folder / WEIGHTS, DualEncoderConfig, DualEncoder, MADE_BY, "a usable dual encoder")
    return EncoderPair(model.to(memory_format=torch.channels_last), load_tokenizer(folder, model.config.vocab_size))
