"""Vision transformers of the Hugging Face hub as backbones: the photo towers of CLIP and SigLIP, DINOv2, ViT.

Such a network cuts a photo into squares ("patches") and lets them attend to each other (Dosovitskiy et al., "An Image
is Worth 16x16 Words", 2021). What it knows depends on what it was trained with: photos and texts of the web (CLIP,
Radford et al. 2021; SigLIP, Zhai et al. 2023), or photos alone (DINOv2, Oquab et al. 2024). Here it gives

- a grid: what it made of each patch, pooled to the 7 x 7 regions of the other backbones;
- a vector: what its own head sums up (`pooler_output`), which the towers of CLIP are compared by; where it was saved
  without such a head, as ViT is with one for ImageNet's classes, what it made of the class token, as DINOv2 has it
  anyway. It is not the mean of the grid.

Photos come in whole, squeezed to the square that the model was trained with, as for the other backbones.
"""

import torch
from torch import Tensor, nn

from helpers.files import InputError, of_the_machine
from helpers.hugging_face import Preparation, load_pretrained

INSTEAD = "use the backbone whose weights are installed with the requirements: backbone=efficientnet_lite0"


class VisionTransformer(nn.Module):
    """A vision transformer of transformers as the network of a `Backbone`.

    Args:
        model: it takes `pixel_values` (B, 3, S, S) and gives `last_hidden_state` (B, T, C), whose last tokens are the
            patches row by row, and `pooler_output` (B, D), or None if there is a class token, the first of all.
        side: patches along a side of the photo.
    """

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared photos (B, 3, S, S) -> vectors (B, D) and maps (B, C, side, side)."""
        found = self.model(pixel_values=pixels)
        tokens, count = found.last_hidden_state, self.side**2
        patches = tokens[:, -count:]  # (B, side * side, C); the class token stands before
        vectors = found.pooler_output
        if vectors is None and tokens.shape[1] > count:
            vectors = tokens[:, 0]
        return vectors, patches.transpose(1, 2).unflatten(2, (self.side, self.side))


def load_vision_transformer(name: str) -> tuple[VisionTransformer, Preparation, int, int]:
    """The photo side of a model, what its photos are prepared by, and the width of its vector and of its maps.

    Args:
        name: on the Hugging Face hub, such as `openai/clip-vit-base-patch16`, `google/siglip-base-patch16-224` or
            `facebook/dinov2-base`; or the folder it was saved in.

    Raises:
        InputError: it cannot be had, or it does not see a photo as patches and one vector.
    """
    tower = "vision_model"  # of two, the one for photos
    classes = "AutoImageProcessor", "AutoModel"
    image_processor, model = load_pretrained(name, classes, "The backbone", INSTEAD, part=tower)
    preparation = Preparation(image_processor, name)
    model = getattr(model, tower, model)
    patch = getattr(model.config, "patch_size", None)
    size = preparation.photo_size
    if not isinstance(patch, int) or size % patch:
        raise InputError(
            f"{name} ({type(model).__name__}) does not cut its photos of {size} pixels into whole patches; take a "
            f"vision transformer such as openai/clip-vit-base-patch16, or {INSTEAD}."
        )
    network = VisionTransformer(model, size // patch)
    try:
        with torch.inference_mode():
            widths = [found.shape[1] for found in network(torch.zeros(1, 3, size, size))]
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # whatever a model of another kind may say
        wrong = InputError(
            f"{name} ({type(model).__name__}) gives no patches and one vector ({str(error).partition(chr(10))[0]}); "
            f"take a vision transformer such as openai/clip-vit-base-patch16, or {INSTEAD}."
        )
        raise (of_the_machine(error, name) or wrong) from None
    return network, preparation, *widths
