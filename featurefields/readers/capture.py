"""What a reader of one format finds: posed photos in the frame of their poses, nothing decoded yet.

Letters: m points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featurefields.lens import Lens

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Seed points (m 3) in the frame of the poses and their sRGB colours (m 3) in 0..1."""

    positions: FloatArray
    colours: FloatArray


@dataclass(frozen=True)
class Shot:
    """One photo, its lens and its pose.

    Attributes:
        name: how the source calls it.
        path: the photo file, which exists.
        lens: intrinsics of the photo as taken.
        capture_from_camera: rigid pose (4 4), OpenCV axes (x right, y down, z forward).
        split: what the source says, None when it says nothing.
        mask: picture that is not zero where the photo shows the scene.
        depth: depth map along the optical axis.
        depth_unit: capture units of one stored depth unit.
        layers: further aligned pictures by name.
    """

    name: str
    path: Path
    lens: Lens
    capture_from_camera: FloatArray
    split: Literal["train", "test"] | None = None
    mask: Path | None = None
    depth: Path | None = None
    depth_unit: float = 1.0
    layers: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Capture:
    """All photos of a folder.

    Attributes:
        shots: every usable photo, in the source's order, names unique.
        points: seed points, or None.
        missing: names of listed photos that do not exist.
        notes: what the user should be told, one line each.
    """

    shots: tuple[Shot, ...]
    points: Points | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
