"""The trained part of a probe: one 1x1 convolution on frozen tokens, and how its output is read.

Letters: b batch · d token dimension · c outputs · k bins · hp wp tokens · h w pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, normalize, relu

BINS = 256
"""Depth bins."""
FLOOR = 0.1
"""What every bin weighs at least, before the weights are divided by their sum."""
UPSAMPLING = 4
"""Tokens are upsampled by this before depth is read off them."""


class LinearHead(nn.Module):
    """A 1x1 convolution behind a normalisation of the tokens.

    The normalisation is fixed: (token - mean) / scale, so the head stays one linear map.
    """

    mean: Tensor

    def __init__(
        self,
        mean: Float[Tensor, "d"],
        scale: float,
        outputs: int,
        *,
        generator: torch.Generator,
        batch_norm: bool = False,
    ) -> None:
        """Weights are drawn with deviation 0.01, biases start at 0.

        Args:
            mean: what is taken off the tokens.
            scale: what they are divided by.
            outputs: channels of the output.
            generator: draws the weights.
            batch_norm: learn a batch normalisation in front as well (the published segmentation head).
        """
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.scale = scale
        self.norm = nn.BatchNorm2d(len(mean)) if batch_norm else nn.Identity()
        self.project = nn.Conv2d(len(mean), outputs, 1)
        with torch.no_grad():
            drawn = torch.randn(self.project.weight.shape, generator=generator)
            self.project.weight.copy_(0.01 * drawn)
            self.project.bias.zero_()  # type: ignore[union-attr]

    def forward(self, tokens: Float[Tensor, "b d hp wp"]) -> Float[Tensor, "b c hp wp"]:
        """Outputs on the grid of the tokens.

        Upsampling is left to the caller: bilinear upsampling and a 1x1 convolution commute, and this order is the
        cheaper one.
        """
        return self.project(self.norm((tokens - self.mean) / self.scale))


def resized(maps: Float[Tensor, "b c hp wp"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Maps at `size` = (width, height), bilinear between the centres of their cells."""
    width, height = size
    if maps.shape[-2:] == (height, width):
        return maps
    return interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)


def bin_centres(least: float, largest: float, bins: int = BINS) -> Float[Tensor, "k"]:
    """Depths of the bins, evenly from `least` to `largest` with both ends (AdaBins' uniform strategy)."""
    return torch.linspace(least, largest, bins)


def expected_depth(outputs: Float[Tensor, "b k h w"], centres: Float[Tensor, "k"]) -> Float[Tensor, "b h w"]:
    """The mean of the bins with weights (relu(output) + 0.1) / sum.

    Both sums over the bins are one 1x1 convolution of relu(outputs).
    """
    centres = centres.to(outputs)
    kernel = torch.stack([centres, torch.ones_like(centres)])[:, :, None, None]
    sums = conv2d(relu(outputs), kernel) + FLOOR * kernel.sum(1)
    return sums[:, 0] / sums[:, 1]


def directions(outputs: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b h w 3"]:
    """Unit normals of the first three channels."""
    return normalize(outputs[:, :3].movedim(1, -1), dim=-1)
