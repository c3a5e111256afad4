"""Colours: how much of each region of a photo has which one.

A network that was trained to name things has learned that a car is a car in red and in blue, and its last layers say
little of which it was. Who captions photos is asked for it. So an eye for colours alone can look beside a network
(`efficientnet_lite0+colours`): a histogram of each region, of which nothing is learned.

On the drawn sample, one seed, without and with it: of the colours that the attention captioner of notebook 03b names in
validation and test photos, 81 and 96 % are so, of those of clothes 59 and 92; BLEU-4 on test photos 84.9 and 88.7. The
transformer: 75 and 90, 54 and 82; 81.3 and 84.9. The LSTM, which sees the mean of the regions alone, makes nothing of
it: 60 and 57, 26 and 26; 62.2 and 60.9.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 4  # of red, green and blue each: with three, clothes were right a little less often


class ColourShares(nn.Module):
    """Pixels 0..1 (B, 3, S, S) -> the share that each of 64 colours has of each place (B, 64, S, S); they sum to 1.

    Red, green and blue have four levels each, and a colour is a level of each. A value between two levels counts for
    both, for the nearer one more, as the histograms of Dalal and Triggs have it, "Histograms of Oriented Gradients for
    Human Detection" (2005): else a shade less of light would make another colour of it.
    """

    def __init__(self) -> None:
        super().__init__()
        # A buffer, so that features with other levels are told from these.
        self.register_buffer("levels", torch.linspace(0, 1, LEVELS).view(LEVELS, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        near = F.relu(1 - (pixels[:, :, None] - self.levels).abs() * (LEVELS - 1))  # (B, 3, 4, S, S)
        red, green, blue = near.unbind(1)  # (B, 4, S, S)
        both = (red[:, :, None] * green[:, None]).flatten(1, 2)  # (B, 16, S, S)
        return (both[:, :, None] * blue[:, None]).flatten(1, 2)  # (B, 64, S, S)


class Root(nn.Module):
    """Eight times the root: a shirt is a small part of a region, and matters no less than the grass around it.

    The root is that of Arandjelovic and Zisserman, "Three things everyone should know to improve object retrieval"
    (2012). By the factor these channels are spread as widely as those of EfficientNet, beside which they stand.
    """

    def forward(self, shares: Tensor) -> Tensor:
        return 8 * shares.sqrt()
