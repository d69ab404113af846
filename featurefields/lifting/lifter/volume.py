"""Cost volumes: how well any number of sources agree with the reference at every pixel and plane.

Letters: k planes · h w pixels · g groups · c channels. Group-wise correlation (Guo et al. 2019) of unit features,
averaged over the sources with a learned visibility of every source at every pixel (as PatchmatchNet, Wang et al. 2021).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from featurefields.lifting.lifter.sweep import Sweep, warped

GROUPS = 8


class Visibility(nn.Module):
    """How well a source sees a reference pixel, from how clearly one plane stands out: 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(GROUPS, 16), nn.Linear(16, 1)

    def forward(self, likeness: Float[Tensor, "k h w g"]) -> Float[Tensor, "h w"]:
        score = self.out(torch.relu(self.hidden(likeness)))[..., 0].float()
        return torch.sigmoid(score.amax(0))


def likeness(
    reference: Float[Tensor, "h w c"],
    source: Float[Tensor, "1 c hs ws"],
    sweep: Sweep,
    nu: Float[Tensor, "k h w"],
) -> tuple[Float[Tensor, "k h w g"], Float[Tensor, "k h w"]]:
    """Correlation of each group of channels, -1..1, and 1 where the source sees the place."""
    values, inside = warped(source, sweep, nu)
    product = values * reference
    return product.unflatten(-1, (GROUPS, -1)).mean(-1), inside.to(product.dtype)


def cost_volume(
    reference: Float[Tensor, "h w c"],
    sources: Sequence[Float[Tensor, "1 c hs ws"]],
    sweeps: Sequence[Sweep],
    nu: Float[Tensor, "k h w"],
    visibility: Visibility,
    known: Sequence[Float[Tensor, "hk wk"]] = (),
) -> tuple[Float[Tensor, "1 g1 k h w"], list[Float[Tensor, "h w"]]]:
    """The volume (weighted mean correlations, share of sources that see the place) and each source's visibility.

    `known` gives visibilities found before, at another stride. One source is in memory at a time.
    """
    total: Tensor | float = 0.0
    weight: Tensor | float = 0.0
    seen = []
    for number, (features, sweep) in enumerate(zip(sources, sweeps, strict=True)):
        alike, inside = likeness(reference, features, sweep, nu)
        if known:
            size = (nu.shape[1], nu.shape[2])
            trust = interpolate(known[number][None, None], size, mode="bilinear", align_corners=False)[0, 0]
        else:
            trust = visibility(alike * inside[..., None])
        seen.append(trust)
        share = trust * inside
        total = total + alike * share[..., None]
        weight = weight + share
    assert isinstance(total, Tensor) and isinstance(weight, Tensor)
    mean = total / (weight[..., None] + 1e-3)
    volume = torch.cat([mean, (weight / len(sources))[..., None]], -1)
    return volume.permute(3, 0, 1, 2)[None], seen
