"""U-Nets over cost volumes: plausible surfaces out of noisy agreement.

Letters: k planes · h w pixels · g channels of the volume. Only convolutions along the planes: the answer moves with the
surface, whatever the number of planes and their range.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu


def _conv(into: int, out: int, stride: int | tuple[int, int, int] = 1) -> nn.Conv3d:
    return nn.Conv3d(into, out, 3, stride=stride, padding=1)


class Regulariser(nn.Module):
    """Two halvings with skips; what the picture shows enters at the lower two levels, the same at every plane."""

    def __init__(
        self, into: int, contexts: tuple[int, int], widths: tuple[int, int, int] = (16, 32, 32)
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.enter = _conv(into, a)
        self.down1, self.level1 = _conv(a, b, 2), _conv(b, b)
        self.down2, self.level2 = _conv(b, c, 2), _conv(c, c)
        self.context1, self.context2 = nn.Conv2d(contexts[0], b, 1), nn.Conv2d(contexts[1], c, 1)
        self.up1, self.merge1 = nn.Conv3d(c, b, 1), _conv(b, b)
        self.up0, self.merge0 = nn.Conv3d(b, a, 1), _conv(a, 16)
        self.logit = nn.Conv3d(16, 1, 1)

    def forward(
        self,
        volume: Float[Tensor, "1 g k h w"],
        context1: Float[Tensor, "1 c1 h1 w1"],
        context2: Float[Tensor, "1 c2 h2 w2"],
    ) -> Float[Tensor, "k h w"]:
        """Logits of the planes."""
        x0 = relu(self.enter(volume.contiguous(memory_format=torch.channels_last_3d)))
        x1 = relu(self.down1(x0) + self.context1(context1)[:, :, None])
        x1 = relu(x1 + self.level1(x1))
        x2 = relu(self.down2(x1) + self.context2(context2)[:, :, None])
        x2 = relu(x2 + self.level2(x2))
        y1 = relu(x1 + _like(self.up1(x2), x1))
        y1 = relu(y1 + self.merge1(y1))
        y0 = relu(x0 + _like(self.up0(y1), x0))
        return self.logit(relu(self.merge0(y0)))[0, 0].float()


def _like(x: Tensor, other: Tensor) -> Tensor:
    return interpolate(x, other.shape[2:], mode="nearest")
