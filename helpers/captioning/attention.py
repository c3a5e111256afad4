"""The attention captioner: before each word it looks at the regions of the photo again.

"Show, Attend and Tell" (Xu et al. 2015, arXiv:1502.03044), the soft kind: Bahdanau's additive attention (2015,
arXiv:1409.0473) weighs the regions by how well they answer the LSTM's present state, and their weighted mean, the
context, enters the LSTM with the last word.

    grid (P, R, C) -> encode -> memory (P, R, H + A): a value and a key for each region
    each step: h -> query; weights = softmax(v . tanh(key + query)) over R regions; context = weights . values
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.artefacts import Share, Size
from helpers.training.dropout import SharedDropout


@dataclass(frozen=True)
class AttentionConfig:
    """All that is needed to build the model again."""

    vocab_size: Size
    feature_width: Size
    embedding: Size = 256
    hidden: Size = 512
    attention: Size = 256
    dropout: Share = 0.5


class AttentionCaptioner(nn.Module):
    """Grid of regions (P, R, C) -> caption, through the interface that all captioners share."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.normalise = nn.LayerNorm(config.feature_width)
        self.values = nn.Sequential(nn.Linear(config.feature_width, config.hidden), nn.ReLU())
        self.keys = nn.Linear(config.hidden, config.attention)
        self.query = nn.Linear(config.hidden, config.attention, bias=False)
        self.energy = nn.Linear(config.attention, 1, bias=False)
        # Mean region -> h and c; batch normalisation keeps photos apart, as in the LSTM captioner.
        self.start = nn.Sequential(
            nn.Linear(config.hidden, 2 * config.hidden), nn.BatchNorm1d(2 * config.hidden, affine=False), nn.Tanh()
        )
        self.gate = nn.Linear(config.hidden, config.hidden)  # how much of the context counts for the next word
        self.words = nn.Embedding(config.vocab_size, config.embedding, padding_idx=0)
        # The LSTM cell's four gates, as a sum of what the word, the context and the last state ask for.
        self.word_gates = nn.Linear(config.embedding, 4 * config.hidden)
        self.gates = nn.Linear(2 * config.hidden, 4 * config.hidden, bias=False)
        self.context_out = nn.Linear(config.hidden, config.hidden)
        self.dropout = SharedDropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocab_size)

    def encode(self, features: Tensor) -> Tensor:
        """Grid (P, R, C) -> memory (P, R, H + A), values and keys side by side, so that no step computes them again."""
        x = self.dropout(self.normalise(features))
        values = self.values(x)  # (P, R, H)
        return torch.cat([values, self.keys(values)], dim=2)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (P, R, H + A) -> h and c before the first token, each (P, H), from the mean region."""
        mean = memory[:, :, : self.config.hidden].mean(1)
        h, c = self.start(mean).chunk(2, dim=1)
        return h, c

    def values_and_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (P, R, H + A) -> (P, R, H) and (P, R, A)."""
        values, keys = memory.split([self.config.hidden, self.config.attention], dim=2)
        return values, keys

    def attend(self, h: Tensor, values: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """State h (B, H) over the regions of P photos -> gated context (B, H) and the regions' weights (B, R).

        The k = B / P captions of a photo ask its regions together, so that no region is copied.
        """
        query = self.query(h).view(keys.shape[0], -1, 1, self.config.attention)  # (P, k, 1, A)
        energy = self.energy((keys[:, None] + query).tanh())[..., 0]  # (P, k, R)
        weights = energy.softmax(2)
        context = (weights @ values).view_as(h)  # (B, H)
        return self.gate(h).sigmoid() * context, weights.flatten(0, 1)

    def cell(
        self, word: Tensor, h: Tensor, c: Tensor, values: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step of the LSTM: the word's share of the gates (B, 4 H), state, regions -> state, h, c, attention."""
        context, weights = self.attend(h, values, keys)
        gates = word + self.gates(torch.cat([context, h], dim=1))  # (B, 4 H)
        entry, forget, content, leave = gates.chunk(4, dim=1)
        c = forget.sigmoid() * c + entry.sigmoid() * content.tanh()
        h = leave.sigmoid() * c.tanh()
        return h + self.context_out(context), h, c, weights

    def step(
        self, tokens: Tensor, state: tuple[Tensor, Tensor], memory: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Last tokens (B,) -> log-probabilities of the next (B, V), the new h and c, attention (B, R)."""
        x, h, c, weights = self.cell(self.word_gates(self.words(tokens)), *state, *self.values_and_keys(memory))
        return self.logits(x).log_softmax(1), (h, c), weights

    def states(self, features: Tensor, tokens: Tensor) -> Tensor:
        """What the output layer sees at every place, teacher-forced: (P, R, C), (P * k, T) -> (P * k, T, H).

        Attention needs the state, so the places are walked one by one; what depends on words alone is computed for
        all places at once before. Captions are sorted by length, and each step runs only those that go on.
        """
        k = len(tokens) // len(features)
        lengths = (tokens != 0).sum(1)  # (B,)
        order = lengths.argsort(descending=True, stable=True)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        going_on = (lengths[order, None] > places).sum(0).tolist()  # captions at each place
        memory = self.encode(features)
        h, c = self.initial_state(memory)
        owner = order // k  # the photo of each caption
        h, c = h[owner], c[owner]
        values, keys = self.values_and_keys(memory[owner])
        word = self.word_gates(self.dropout(self.words(tokens[order])))  # (B, T, 4 H)
        outputs = []
        eighth = -(-len(tokens) // 8)
        # The gradient of a part is as large as the whole it is cut from, and filled and added each time: so words are
        # unbound, and values and keys parted, once for all places, and what has ended is cut off an eighth at a time.
        # (Captions that have ended and are still computed change nothing.)
        for count, asks in zip(going_on, word.unbind(1), strict=True):
            rows = min(len(tokens), max(1, -(-count // eighth)) * eighth)
            if rows < len(h):
                values, keys, h, c = values[:rows], keys[:rows], h[:rows], c[:rows]
            x, h, c, _ = self.cell(asks[:rows], h, c, values, keys)
            outputs.append(nn.functional.pad(x, (0, 0, 0, len(tokens) - rows)))
        return self.dropout(torch.stack(outputs, 1)[order.argsort()])  # (B, T, H)

    def logits(self, states: Tensor) -> Tensor:
        """States (..., H) -> logits (..., V). In training only the states of real words come here."""
        return self.output(states)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: grid (P, R, C), tokens (P * k, T) -> logits (P * k, T, V) of each next token."""
        return self.logits(self.states(features, tokens))
