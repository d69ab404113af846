"""The network: encode every picture once, then sweep, regularise and refine one reference at a time.

Letters: b pictures · h w pixels at stride 4 or 2 · H W pixels of the padded picture · k planes.

Inverse depth is measured by its `place` among `planes` planes from far (0) to near (planes - 1), equally spaced in
inverse depth. Only `near`, `far` and the cameras' steps relative to `near` enter: the world's scale does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from featurefields.camera import Camera
from featurefields.lifting.lifter.encoder import Encoded, Encoder, padded, to_rows
from featurefields.lifting.lifter.expectation import expected_place
from featurefields.lifting.lifter.refine import Refine, clue_maps
from featurefields.lifting.lifter.regulariser import Regulariser
from featurefields.lifting.lifter.sweep import pixelwise, sweep_of
from featurefields.lifting.lifter.volume import GROUPS, Visibility, cost_volume


@dataclass(frozen=True, kw_only=True)
class LifterConfig:
    """The sweeps. The weights fit any number of planes."""

    planes: int = 48
    """Inverse depths that the first sweep tries."""
    fine_planes: int = 12
    """Inverse depths that the second sweep tries around the first one's answer."""
    fine_step: float = 1.0 / 3.0
    """Distance of the second sweep's planes, in those of the first."""


@dataclass(frozen=True)
class Posed:
    """An encoded picture with its camera (of the picture before padding)."""

    camera: Camera
    features: Encoded


class Swept(NamedTuple):
    """What the network says of one reference picture; all places in planes of the first sweep."""

    coarse_logits: Float[Tensor, "k h w"]
    base: Float[Tensor, "h2 w2"]
    fine_logits: Float[Tensor, "k2 h2 w2"]
    place: Float[Tensor, "H W"]
    said: Float[Tensor, "2 H W"]


class Lifter(nn.Module):
    """Depth and confidence of posed pictures."""

    def __init__(self, config: LifterConfig | None = None) -> None:
        super().__init__()
        self.config = config or LifterConfig()
        self.encoder = Encoder()
        self.visibility = Visibility()
        self.coarse = Regulariser(GROUPS + 1, (64, 64))
        self.fine = Regulariser(GROUPS + 1, (48, 64), widths=(16, 24, 24))
        self.to_near = nn.Conv2d(24, 48, 3, stride=2, padding=1)
        self.refine = Refine(24)

    def encode(self, pictures: Float[Tensor, "b 3 h w"], cameras: Sequence[Camera]) -> list[Posed]:
        """The pictures, each with its features."""
        features = self.encoder(padded(pictures).contiguous(memory_format=torch.channels_last))
        return [
            Posed(camera, Encoded(*(maps[i : i + 1] for maps in features)))
            for i, camera in enumerate(cameras)
        ]

    def offsets(self) -> Float[Tensor, "k2"]:
        """The second sweep's planes relative to the first one's answer."""
        count = self.config.fine_planes
        return (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * self.config.fine_step

    def nu(self, place: Float[Tensor, "..."], near: float, far: float) -> Float[Tensor, "..."]:
        """Inverse depth, in units of 1 / near, at a place among the planes; never 0."""
        low = near / far
        return (low + (1 - low) * place / (self.config.planes - 1)).clamp_min(0.25 * low)

    def place(self, depth: Float[Tensor, "..."], near: float, far: float) -> Float[Tensor, "..."]:
        """The inverse of `nu`: where a depth in world units lies among the planes."""
        low = near / far
        return (near / depth - low) / (1 - low) * (self.config.planes - 1)

    def forward(self, reference: Posed, sources: Sequence[Posed], near: float, far: float) -> Swept:
        """Sweep one reference against its sources (at least one); the first sweep's answer passes no gradient on."""
        coarse_logits, seen = self._first(reference, sources, near, far)
        first = expected_place(coarse_logits.detach())
        fine_size = (reference.features.fine.shape[2], reference.features.fine.shape[3])

        def grown(x: Tensor, mode: str = "bilinear") -> Tensor:
            return interpolate(x[None, None], fine_size, mode=mode)[0, 0]

        base = grown(first.place, "nearest")
        offsets = self.offsets().to(base)
        fine_logits = self._second(reference, sources, near, far, base + offsets[:, None, None], seen)
        second = expected_place(fine_logits)
        place = base + offsets[0] + second.place * self.config.fine_step
        trust = torch.stack(seen)
        clues = clue_maps(
            grown(first.peak), grown(first.entropy), second.peak.detach(), second.entropy.detach(),
            grown(trust.amax(0).detach()), grown(trust.mean(0).detach()), (place - base).detach(),
            place.detach() / (self.config.planes - 1),
        )  # fmt: skip
        full, said = self.refine(place, reference.features.edges, clues)
        return Swept(coarse_logits, base, fine_logits, full, said)

    def _first(self, reference: Posed, sources: Sequence[Posed], near: float, far: float):
        features = reference.features
        sweeps = [sweep_of(reference.camera, source.camera, 4, near) for source in sources]
        size = (features.coarse.shape[3], features.coarse.shape[2])
        steps = torch.arange(self.config.planes, device=features.coarse.device, dtype=torch.float32)
        nu = pixelwise(self.nu(steps, near, far), size)
        maps = [source.features.coarse for source in sources]
        volume, seen = cost_volume(to_rows(features.coarse)[0], maps, sweeps, nu, self.visibility)
        return self.coarse(volume, features.near_context, features.far_context), seen

    def _second(
        self, reference: Posed, sources: Sequence[Posed], near: float, far: float, places: Tensor, seen
    ):
        features = reference.features
        sweeps = [sweep_of(reference.camera, source.camera, 2, near) for source in sources]
        maps = [source.features.fine for source in sources]
        known = [trust.detach() for trust in seen]
        nu = self.nu(places, near, far)
        volume, _ = cost_volume(to_rows(features.fine)[0], maps, sweeps, nu, self.visibility, known)
        return self.fine(volume, self.to_near(features.edges), features.near_context)
