"""Contrastive loss: matching photos and texts attract, all other pairs of a batch repel.

InfoNCE (van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018) in the
symmetric form with a learnable temperature of CLIP (Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", 2021). A batch may hold several texts of one photo, or several photos of one class:
those pairs match too, and share the target (Khosla et al., "Supervised Contrastive Learning", 2020; Yang et al.,
"Unified Contrastive Learning in Image-Text-Label Space", 2022), instead of being pushed apart as negatives.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

START_TEMPERATURE = 0.07
MAX_SCALE = 100.0  # 1 / temperature; beyond it single pairs dominate the gradient and training becomes unstable


class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE over L2-normalised vectors.

    The one parameter is log(1 / temperature): a small temperature makes the loss look only at the hardest
    negatives, a large one at all alike. Its logarithm is learned, so that the temperature stays positive.
    """

    def __init__(self, temperature: float = START_TEMPERATURE) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    @property
    def temperature(self) -> float:
        """The present temperature."""
        return math.exp(-self.log_scale.item())

    def forward(self, images: Tensor, texts: Tensor, positives: Tensor) -> Tensor:
        """The loss of a batch, in nats.

        Args:
            images: (B, D), texts: (T, D), both L2-normalised.
            positives: bool (B, T), True where photo and text match; at least one in each row and column.
                `same(ids, text_ids)` makes it from photo or class numbers.
        """
        with torch.no_grad():  # clamped in place, since a clamp on the way would stop the gradient for good
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        logits = self.log_scale.exp() * images.float() @ texts.float().T  # (B, T)
        return (soft_cross_entropy(logits, positives) + soft_cross_entropy(logits.T, positives.T)) / 2


def same(ids: Tensor, other_ids: Tensor) -> Tensor:
    """(B,) and (T,) numbers of photos or classes -> bool (B, T), True where they are equal."""
    return ids[:, None] == other_ids[None, :]


def soft_cross_entropy(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy of each row's softmax against a target spread evenly over the row's positives; mean of rows."""
    log_probs = F.log_softmax(logits, dim=1)
    return -(log_probs.masked_fill(~positives, 0).sum(dim=1) / positives.sum(dim=1)).mean()
