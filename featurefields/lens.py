"""A real lens: pinhole plus distortion, as calibration tools write it.

Letters: m points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """Intrinsics of a photo as it was taken.

    Attributes:
        model: "pinhole", "opencv" (k1 k2 p1 p2 k3 k4 k5 k6) or "fisheye" (k1 k2 k3 k4).
        size: (width, height) of the photo in pixels.
        focal_px: focal lengths (x, y) in pixels.
        centre_px: principal point (x, y); the top left corner of the photo is (0, 0), pixel centres at +0.5.
        distortion: coefficients in OpenCV's order for the model.
    """

    model: str
    size: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, ...] = ()

    @property
    def distorts(self) -> bool:
        return self.model != "pinhole" and any(value != 0.0 for value in self.distortion)
