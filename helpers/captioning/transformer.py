"""The transformer captioner: attention everywhere, over the regions of the photo and over the words so far.

"Attention Is All You Need" (Vaswani et al. 2017, arXiv:1706.03762) for photos, in the pre-norm form (Xiong et al.
2020, arXiv:2002.04745). The encoder's feed-forward layers are 1-D convolutions over the sequence of regions (as in
FastSpeech, Ren et al. 2019, arXiv:1905.09263); the output layer is the word embedding turned round (Press and Wolf
2017, arXiv:1608.05859).

    grid (P, R, C) -> 1x1 projection, batch norm, ReLU, pooling to G x G, 2-D positions, encoder -> (P, G*G, W)
    memory (P, G*G, L * 2 W): the keys and values of the L decoder layers' cross-attention, computed once a photo
    each step: the last word asks the words before it (cached keys and values), then the regions, layer by layer
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import Few, Share, Size
from helpers.features.backbones import feature_maps, load_tail
from helpers.training.dropout import SharedDropout


@dataclass(frozen=True)
class TransformerConfig:
    """All that is needed to build the model again."""

    vocab_size: Size
    feature_width: Size
    max_length: Few = 26  # places for words, <SOS> included
    width: Size = 384
    heads: Few = 8
    encoder_layers: Few = 1
    decoder_layers: Few = 3
    grid: Few = 7  # regions a side after pooling
    kernel: Few = 3  # of the encoder's convolutions
    dropout: Share = 0.3
    tail: str = ""  # the backbone whose last layers are trained, too: see `Tail`; the grid is then its stem's


def sinusoids(length: int, width: int) -> Tensor:
    """Position codes (length, width): sine and cosine of wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates  # (length, width / 2)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention in `heads` parts.

    query (B, T, W), key and value (B, S, W), mask (T, S) added to the scores -> (B, T, W) and the weights
    (B, heads, T, S).
    """
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))  # (B, heads, T or S, W/heads)
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])  # (B, heads, T, S)
    weights = (scores if mask is None else scores + mask).softmax(3)
    return (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2), weights


class EncoderLayer(nn.Module):
    """Regions look at each other, then each at its neighbours: (P, R, W) -> (P, R, W)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.conv_1 = nn.Conv1d(config.width, 2 * config.width, config.kernel, padding=config.kernel // 2)
        self.conv_2 = nn.Conv1d(2 * config.width, config.width, 1)
        self.dropout = SharedDropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(self.norm_1(x)).chunk(3, dim=2)
        x = x + self.dropout(self.out(attend(q, k, v, self.heads)[0]))
        y = self.norm_2(x).transpose(1, 2)  # (P, W, R)
        y = self.conv_2(self.conv_1(y).relu()).transpose(1, 2)  # (P, R, W)
        return x + self.dropout(y)


class DecoderLayer(nn.Module):
    """Words look at the words before them, then at the regions."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(config.width) for _ in range(3))
        self.query, self.past = nn.Linear(config.width, config.width), nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.cross_query, self.cross_out = (nn.Linear(config.width, config.width) for _ in range(2))
        self.feed = nn.Sequential(
            nn.Linear(config.width, 4 * config.width), nn.ReLU(), nn.Linear(4 * config.width, config.width)
        )
        self.dropout = SharedDropout(config.dropout)

    def forward(self, x: Tensor, past: Tensor, mask: Tensor | None, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One layer for words of which the ones before are known.

        Args:
            x: words (B, T, W).
            past: keys and values of the words that these may see (B, S, 2 W), see `keys_and_values`.
            mask: (T, S), -inf where a word may not look; None: all of them may look everywhere.
            memory: the regions' keys and values (P, R, 2 W); the k = B / P captions of a photo share them.

        Returns:
            Words (B, T, W) and where they looked, the mean over the heads (B, T, R).
        """
        key, value = past.chunk(2, dim=2)
        y, _ = attend(self.query(self.norm_1(x)), key, value, self.heads, mask)
        x = x + self.dropout(self.out(y))
        key, value = memory.chunk(2, dim=2)
        # All captions of a photo ask its regions together, so that no region is copied. (`shape[0]` and not `len`: an
        # exported graph remembers `len` as a number.)
        question = self.cross_query(self.norm_2(x)).view(memory.shape[0], -1, x.shape[2])  # (P, k * T, W)
        y, weights = attend(question, key, value, self.heads)
        x = x + self.dropout(self.cross_out(y.view_as(x)))
        x = x + self.dropout(self.feed(self.norm_3(x)))
        return x, weights.mean(1).view(*x.shape[:2], -1)

    def keys_and_values(self, x: Tensor) -> Tensor:
        """What later words see of words (B, T, W): (B, T, 2 W)."""
        return self.past(self.norm_1(x))


class TransformerCaptioner(nn.Module):
    """Grid of regions (P, R, C) -> caption, through the interface that all captioners share."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.tail = load_tail(config.tail, published=False) if config.tail else nn.Identity()
        width, layers = config.width, config.decoder_layers
        self.channel_dropout = SharedDropout(config.dropout)
        channels = self.tail.channels if config.tail else config.feature_width
        self.project = nn.Conv2d(channels, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.AdaptiveAvgPool2d(config.grid)
        # A row code and a column code; their sum says where a region is.
        self.rows = nn.Parameter(0.02 * torch.randn(width, config.grid, 1))
        self.columns = nn.Parameter(0.02 * torch.randn(width, 1, config.grid))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.cross = nn.Linear(width, layers * 2 * width)
        self.words = nn.Embedding(config.vocab_size, width, padding_idx=0)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.register_buffer("positions", sinusoids(config.max_length, width), persistent=False)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.dropout = SharedDropout(config.dropout)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def encode(self, features: Tensor) -> Tensor:
        """Grid (P, R, C) -> memory (P, G * G, L * 2 W): keys and values of every decoder layer."""
        x = self.tail(features)
        x = self.channel_dropout(x)  # a dropped channel is dropped in all regions of a photo
        x = self.project(feature_maps(x))  # (P, W, 7, 7)
        x = self.pool(self.norm(x).relu())  # (P, W, G, G)
        x = (x + self.rows + self.columns).flatten(2).transpose(1, 2)  # (P, G * G, W)
        for layer in self.encoder:
            x = layer(x)
        return self.cross(self.encoder_norm(x))

    def initial_state(self, memory: Tensor) -> tuple[Tensor]:
        """Before the first token the cache of the words' keys and values is empty: (B, 0, L * 2 W)."""
        return (memory[:, :0],)

    def step(self, tokens: Tensor, state: tuple[Tensor], memory: Tensor) -> tuple[Tensor, tuple[Tensor], Tensor]:
        """One word further.

        Args:
            tokens: the last tokens (B,).
            state: keys and values of the t tokens before, (B, t, L * 2 W).
            memory: (B, G * G, L * 2 W).

        Returns:
            Log-probabilities of the next token (B, V), the cache (B, t + 1, L * 2 W), and where the last layer looked
            (B, G * G).
        """
        (cache,) = state
        width = 2 * self.config.width
        x = self.embed(tokens[:, None], self.positions[cache.shape[1]])  # (B, 1, W)
        grown = []
        for layer, old, regions in zip(self.decoder, cache.split(width, 2), memory.split(width, 2), strict=True):
            grown.append(torch.cat([old, layer.keys_and_values(x)], 1))  # (B, t + 1, 2 W)
            x, weights = layer(x, grown[-1], None, regions)
        log_probs = self.logits(self.decoder_norm(x[:, 0])).log_softmax(1)
        return log_probs, (torch.cat(grown, 2),), weights[:, 0]

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens (B, T), position codes (..., T, W) -> words (B, T, W)."""
        return self.dropout(self.words(tokens) * math.sqrt(self.config.width) + positions)

    def states(self, features: Tensor, tokens: Tensor) -> Tensor:
        """What the output layer sees at every place, teacher-forced: (P, R, C), (P * k, T) -> (P * k, T, W).

        All places at once; the causal mask hides later words. Padding comes after the words, so it hides it, too.
        """
        memory = self.encode(features)
        length = tokens.shape[1]
        x = self.embed(tokens, self.positions[:length])  # (B, T, W)
        mask = torch.full((length, length), -torch.inf, device=tokens.device).triu(1)
        for layer, regions in zip(self.decoder, memory.split(2 * self.config.width, 2), strict=True):
            x, _ = layer(x, layer.keys_and_values(x), mask, regions)
        return self.dropout(self.decoder_norm(x))

    def logits(self, states: Tensor) -> Tensor:
        """States (..., W) -> logits (..., V) by likeness to each word's embedding."""
        return F.linear(states, self.words.weight, self.bias)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: grid (P, R, C), tokens (P * k, T) -> logits (P * k, T, V) of each next token."""
        return self.logits(self.states(features, tokens))
