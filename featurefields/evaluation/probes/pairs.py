"""Pairs of pictures of one scene: how they turn, what they share, and which are matched.

Letters: m points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.readers.probe_sets.interface import ProbeSample
from featurefields.readers.probe_sets.pixels import fitted, nearest

ROTATION_BINS_DEG = (0.0, 15.0, 30.0, 60.0, 180.0)
"""Edges of the bins of relative rotation (SuperGlue's ScanNet pairs as Probe3D bins them)."""
AGREES = 0.05
"""A point is seen in the other picture where its depth there is within this share of the picture's own."""
LEAST_OVERLAP = 0.2
"""Chosen pairs share at least this part of the first picture's points."""


@dataclass(frozen=True)
class DepthPoints:
    """The points of one picture's depth map, at the resolution at which pictures are matched.

    Attributes:
        pixels: their pixel centres (m 2).
        world: the points (m 3), in metres.
        depth: the whole depth map (h w), 0 where unknown.
        camera: the camera at this resolution.
    """

    pixels: Float[Tensor, "m 2"]
    world: Float[Tensor, "m 3"]
    depth: Float[Tensor, "h w"]
    camera: Camera

    def projected(self, points: Float[Tensor, "k 3"]) -> Float[Tensor, "k 2"]:
        """Pixels of world points in this picture; far outside for those behind it."""
        pixels, depth = self.camera.project(points)
        return torch.where(depth[:, None] > 1e-6, pixels, torch.full_like(pixels, math.inf))

    def sees(self, points: Float[Tensor, "k 3"]) -> Bool[Tensor, "k"]:
        """Whether the picture's own depth at a point's pixel is the point's."""
        pixels, depth = self.camera.project(points)
        width, height = self.camera.size
        inside = (depth > 1e-6) & (pixels >= 0).all(-1)
        inside &= (pixels[:, 0] < width) & (pixels[:, 1] < height)
        cell = torch.where(inside[:, None], pixels, 0.0).long()
        own = self.depth[cell[:, 1], cell[:, 0]]
        return inside & (own > 0) & ((own - depth).abs() <= AGREES * own)


def depth_points(sample: ProbeSample, longest_side: int) -> DepthPoints:
    """Points of a sample's depth map, taken at the nearest pixels of a picture with this longest side at most.

    Raises:
        SceneError: the sample has no depth or no camera.
    """
    if sample.camera is None or sample.depth is None:
        raise SceneError(f"{sample.name} has no camera or no depth; views cannot be matched without")
    full = sample.read_truth("depth")
    size = fitted(sample.size, longest_side)
    depth, camera = nearest(full, size), sample.camera.resized(size)
    known = depth > 0
    return DepthPoints(camera.pixel_centres()[known], camera.unproject(depth)[known], depth, camera)


def rotation_deg(first: Camera, second: Camera) -> float:
    """Angle of the rotation between two cameras."""
    relative = first.world_from_camera[:3, :3].double().T @ second.world_from_camera[:3, :3].double()
    return math.degrees(math.acos(max(-1.0, min(1.0, (float(relative.trace()) - 1) / 2))))


@dataclass(frozen=True)
class Pair:
    """Two samples by name, the angle between their cameras and the share of the first one's points in the second."""

    first: str
    second: str
    rotation_deg: float
    overlap: float

    @property
    def bin(self) -> int:
        """Which of `ROTATION_BINS_DEG` it falls in."""
        inner = ROTATION_BINS_DEG[1:-1]
        return sum(self.rotation_deg >= edge for edge in inner)


def chosen_pairs(
    samples: Sequence[ProbeSample], points: dict[str, DepthPoints], a_bin: int
) -> tuple[Pair, ...]:
    """At most `a_bin` pairs of every scene and rotation bin, with `LEAST_OVERLAP` at least.

    The choice depends on the scene alone: candidates of a bin are looked at in an order drawn with a fixed seed.
    """
    found = []
    for scene in sorted({sample.scene for sample in samples}):
        views = sorted(
            (sample for sample in samples if sample.scene == scene), key=lambda sample: sample.name
        )
        candidates = [
            Pair(a.name, b.name, rotation_deg(points[a.name].camera, points[b.name].camera), math.nan)
            for a in views
            for b in views
            if a is not b
        ]
        order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(0)).tolist()
        taken = dict.fromkeys(range(len(ROTATION_BINS_DEG) - 1), 0)
        for candidate in (candidates[place] for place in order):
            if taken[candidate.bin] < a_bin:
                pair = with_overlap(candidate, points)
                if pair.overlap >= LEAST_OVERLAP:
                    taken[pair.bin] += 1
                    found.append(pair)
    return tuple(found)


def given_pairs(names: Sequence[tuple[str, str]], points: dict[str, DepthPoints]) -> tuple[Pair, ...]:
    """Pairs that a data set prescribes."""
    return tuple(
        with_overlap(
            Pair(first, second, rotation_deg(points[first].camera, points[second].camera), math.nan), points
        )
        for first, second in names
    )


def with_overlap(pair: Pair, points: dict[str, DepthPoints]) -> Pair:
    """The pair with its overlap measured on every seventh point; 0 without points."""
    some = points[pair.first].world[::7]
    return replace(pair, overlap=float(points[pair.second].sees(some).double().mean()) if len(some) else 0.0)
