"""The image encoder shared by all views: features to match at strides 2 and 4, context at strides 8 and 16.

Letters: b pictures · h w pixels (multiples of 16) · c channels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, relu


class Encoded(NamedTuple):
    """What the encoder knows of pictures. The matching features have length sqrt(c) at every pixel."""

    fine: Float[Tensor, "b 16 h2 w2"]
    coarse: Float[Tensor, "b 32 h4 w4"]
    edges: Float[Tensor, "b 24 h2 w2"]
    near_context: Float[Tensor, "b 64 h8 w8"]
    far_context: Float[Tensor, "b 64 h16 w16"]


class Residual(nn.Module):
    """x + conv(relu(conv(x))); starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return relu(x + self.second(relu(self.first(x))))


class Encoder(nn.Module):
    """A small feature pyramid (Lin et al. 2017) without normalisation layers: a picture's features are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2, padding=2)
        self.level2 = Residual(24)
        self.down4, self.level4 = (
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.Sequential(Residual(48), Residual(48)),
        )
        self.down8, self.level8 = nn.Conv2d(48, 64, 3, stride=2, padding=1), Residual(64)
        self.down16, self.level16 = nn.Conv2d(64, 64, 3, stride=2, padding=1), Residual(64)
        self.lateral8, self.lateral4, self.lateral2 = (
            nn.Conv2d(64, 64, 1),
            nn.Conv2d(48, 48, 1),
            nn.Conv2d(24, 24, 1),
        )
        self.narrow8, self.narrow4 = nn.Conv2d(64, 48, 1), nn.Conv2d(48, 24, 1)
        self.coarse, self.fine = nn.Conv2d(48, 32, 3, padding=1), nn.Conv2d(24, 16, 3, padding=1)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Encoded:
        """Features of sRGB pictures in 0..1."""
        x2 = self.level2(relu(self.stem((pictures - 0.5) * 4)))
        x4 = self.level4(relu(self.down4(x2)))
        x8 = self.level8(relu(self.down8(x4)))
        x16 = self.level16(relu(self.down16(x8)))
        y8 = relu(self.lateral8(x8) + _twice(x16))
        y4 = relu(self.lateral4(x4) + _twice(self.narrow8(y8)))
        y2 = relu(self.lateral2(x2) + _twice(self.narrow4(y4)))
        return Encoded(_unit(self.fine(y2)), _unit(self.coarse(y4)), y2, y8, x16)


def _twice(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _unit(x: Tensor) -> Tensor:
    return normalize(x.float(), dim=1, eps=1e-3) * x.shape[1] ** 0.5


def to_rows(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w c"]:
    """The same values with the channels last in memory too."""
    return features.permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def padded(pictures: Float[Tensor, "b 3 h w"], stride: int = 16) -> Float[Tensor, "b 3 hp wp"]:
    """The pictures continued at the right and below to whole strides, by repeating the border."""
    h, w = pictures.shape[-2:]
    right, below = -w % stride, -h % stride
    return nn.functional.pad(pictures, (0, right, 0, below), mode="replicate") if right or below else pictures
