"""Dropout with one mask for a whole sequence.

Drawing random numbers is slow on a processor: one for each number of (B, T, W) takes a tenth of a training step, one
for each of (B, W) next to nothing. The same mask at all places is also the better-founded kind for sequences (Gal and
Ghahramani 2016, arXiv:1512.05287), and over the regions of a photo it drops whole channels, which neighbours cannot
fill in (Tompson et al. 2015, arXiv:1411.4280).
"""

import torch
from torch import Tensor, nn


class SharedDropout(nn.Dropout):
    """Dropout for (B, T, W) that drops the same of the W numbers at all T places of a row."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(torch.ones_like(x[:, :1])) if self.training else x
