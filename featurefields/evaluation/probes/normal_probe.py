"""Surface normals with an uncertainty, as Probe3D reads them.

Letters: b batch · hp wp tokens · h w pixels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.evaluation.probes.dense import Tally
from featurefields.evaluation.probes.heads import directions, resized
from featurefields.evaluation.probes.losses import angular_loss
from featurefields.evaluation.probes.metrics import normal_metrics
from featurefields.evaluation.probes.tallies import PictureMeans
from featurefields.readers.probe_sets.interface import ProbeSample


@dataclass(frozen=True)
class NormalTask:
    """Three channels of direction and one of concentration."""

    outputs: int = 4

    @property
    def cropped(self) -> bool:
        return False

    def has_truth(self, sample: ProbeSample) -> bool:
        return sample.normal is not None

    def truth(self, sample: ProbeSample) -> tuple[Float[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
        """Normals, valid where they are not zero."""
        normal = sample.read_truth("normal")
        return normal, normal.square().sum(-1) > 0.25

    def read(self, outputs: Float[Tensor, "b 4 hp wp"], size: tuple[int, int]) -> Float[Tensor, "b 4 h w"]:
        return resized(outputs, size)

    def loss(
        self,
        reading: Float[Tensor, "b 4 h w"],
        truth: Float[Tensor, "b h w 3"],
        valid: Bool[Tensor, "b h w"],
        *,
        first: bool,
    ) -> Float[Tensor, ""]:
        return angular_loss(reading, truth, valid)

    def mirrored(self, truth: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
        """x of the camera points the other way."""
        return truth * torch.tensor([-1.0, 1.0, 1.0]).to(truth)

    def turned(self, truth: Float[Tensor, "h w 3"], angle_deg: float) -> Float[Tensor, "h w 3"]:
        """Turned about the optical axis with the pixels."""
        cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        x, y, z = truth.unbind(-1)
        return torch.stack([cosine * x - sine * y, sine * x + cosine * y, z], dim=-1)

    def tally(self) -> PictureMeans:
        return PictureMeans()

    def measure(
        self,
        tally: Tally,
        reading: Float[Tensor, "1 4 h w"],
        truth: Float[Tensor, "h w 3"],
        valid: Bool[Tensor, "h w"],
    ) -> None:
        assert isinstance(tally, PictureMeans)
        tally.add(normal_metrics(directions(reading)[0][valid], truth[valid]), int(valid.sum()))
