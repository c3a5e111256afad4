"""The LSTM captioner: one vector a photo starts an LSTM, which then writes word after word.

"Show and Tell" (NIC; Vinyals et al. 2015, arXiv:1411.4555), with the photo as the LSTM's initial state, as in the
`init` variant of Tanti et al. (2018, arXiv:1703.09137). The LSTM (Hochreiter and Schmidhuber 1997) has dropout only
on what goes in and what comes out, never from step to step (Zaremba et al. 2014, arXiv:1409.2329).

    features (P, D) -> encode -> memory (P, M) -> initial_state -> h, c (P, H)
    tokens <SOS> a dog ... -> embedding -> LSTM -> states (B, T, H) -> logits (B, T, V) for a dog ... <EOS>
"""

from dataclasses import dataclass

from torch import Tensor, nn

from helpers.artefacts import Share, Size
from helpers.training.dropout import SharedDropout


@dataclass(frozen=True)
class LSTMConfig:
    """All that is needed to build the model again."""

    vocab_size: Size
    feature_width: Size
    embedding: Size = 256
    hidden: Size = 512
    dropout: Share = 0.5


class LSTMCaptioner(nn.Module):
    """Photo vector (P, D) -> caption, through the interface that all captioners share."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        # Features of different backbones have different sizes; normalised, one learning rate suits all.
        self.photo = nn.Sequential(
            nn.LayerNorm(config.feature_width),
            nn.Dropout(config.dropout),
            nn.Linear(config.feature_width, config.hidden),
            nn.ReLU(),
        )
        # Batch normalisation keeps photos apart. Without it the first steps, in which the model learns which words are
        # frequent, push all photos' h and c far into the flat ends of tanh, and it can stay blind for good.
        self.start = nn.Sequential(
            nn.Linear(config.hidden, 2 * config.hidden),  # -> h and c
            nn.BatchNorm1d(2 * config.hidden, affine=False),
            nn.Tanh(),
        )
        self.words = nn.Embedding(config.vocab_size, config.embedding, padding_idx=0)
        self.lstm = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.dropout = SharedDropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocab_size)

    def encode(self, features: Tensor) -> Tensor:
        """Photo vectors (P, D) -> memory (P, H)."""
        return self.photo(features)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (P, H) -> h and c before the first token, each (P, H)."""
        h, c = self.start(memory).chunk(2, dim=1)
        return h, c

    def step(
        self, tokens: Tensor, state: tuple[Tensor, Tensor], memory: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], None]:
        """Last tokens (B,) -> log-probabilities of the next (B, V), the new h and c, no attention."""
        h, c = state
        x = self.words(tokens)[:, None]  # (B, 1, E)
        x, (h, c) = self.lstm(x, (h[None], c[None]))  # (B, 1, H)
        return self.logits(x[:, 0]).log_softmax(1), (h[0], c[0]), None

    def states(self, features: Tensor, tokens: Tensor) -> Tensor:
        """What the output layer sees at every place, teacher-forced.

        The true caption goes in, whatever the model would have written: the input at place t is word t, and the
        state there must predict word t + 1. So the whole caption is one call.

        Args:
            features: (P, D).
            tokens: (P * k, T), the k captions of a photo one after another; a photo is encoded once for all of them.

        Returns:
            (P * k, T, H).
        """
        h, c = self.initial_state(self.encode(features))  # (P, H)
        k = len(tokens) // len(features)
        h, c = h.repeat_interleave(k, dim=0), c.repeat_interleave(k, dim=0)  # (P * k, H)
        x = self.dropout(self.words(tokens))  # (P * k, T, E)
        x, _ = self.lstm(x, (h[None], c[None]))  # (P * k, T, H)
        return self.dropout(x)

    def logits(self, states: Tensor) -> Tensor:
        """States (..., H) -> logits (..., V). In training only the states of real words come here."""
        return self.output(states)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: features (P, D), tokens (P * k, T) -> logits (P * k, T, V) of each next token."""
        return self.logits(self.states(features, tokens))
