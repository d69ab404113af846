"""A real lens: pinhole plus distortion, as calibration tools write it.

Letters: m points · h w pixels. Pixels are continuous: the top left corner of the photo is (0, 0), pixel
centres lie at +0.5. A *ray* is the pair (x / z, y / z) of a camera-space direction.

Distortion models: Brown-Conrady with a rational radial part and the equidistant fisheye, with the
coefficients in the order of OpenCV's calib3d documentation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from featurefields.errors import SceneError

FloatArray = NDArray[np.float64]

FISHEYE_REACH = 2.0
"""Largest |x / z| and |y / z| kept of a fisheye picture (63 degrees off the axis); beyond it a pinhole
picture is mostly stretched border."""


@dataclass(frozen=True)
class Lens:
    """Intrinsics of a photo as it was taken.

    Attributes:
        model: "pinhole", "opencv" (k1 k2 p1 p2 k3 k4 k5 k6) or "fisheye" (k1 k2 k3 k4).
        size: (width, height) of the photo in pixels.
        focal_px: focal lengths (x, y) in pixels.
        centre_px: principal point (x, y); the top left corner of the photo is (0, 0), pixel centres at +0.5.
        distortion: coefficients in OpenCV's order for the model; missing ones are 0.
    """

    model: str
    size: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, ...] = ()

    @property
    def distorts(self) -> bool:
        """Whether straight lines come out bent; a fisheye bends them even with coefficients of 0."""
        return self.model == "fisheye" or (self.model != "pinhole" and any(self.distortion))

    def resized(self, size: tuple[int, int]) -> "Lens":
        """The lens of the same photo sampled with `size` = (width, height) pixels."""
        x, y = size[0] / self.size[0], size[1] / self.size[1]
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return replace(self, size=size, focal_px=(fx * x, fy * y), centre_px=(cx * x, cy * y))

    def undistorted(self) -> "Lens":
        """The widest pinhole lens of the same size and pixel shape that shows nothing but photo.

        Every pixel of its picture lies inside this photo. A fisheye is cut at `FISHEYE_REACH`.

        Raises:
            SceneError: the coefficients fold the picture over itself.
        """
        return _undistorted(self)

    def pixels(self, rays: FloatArray) -> FloatArray:
        """Where rays (m 2) land in this photo, in pixels (m 2)."""
        bent = _BEND[self.model](rays, self._coefficients)
        return bent * np.array(self.focal_px) + np.array(self.centre_px)

    def rays(self, pixels: FloatArray) -> FloatArray:
        """The rays (m 2) that land at pixels (m 2): the inverse of `pixels`.

        A fisheye's rays at or behind the image plane come out at (almost) infinity.
        """
        bent = (np.asarray(pixels, dtype=np.float64) - np.array(self.centre_px)) / np.array(self.focal_px)
        return _STRAIGHTEN[self.model](bent, self._coefficients)

    def sampling(self, target: "Lens") -> NDArray[np.float32]:
        """Pixels (h w 2) of this photo that the pixel centres of the pinhole lens `target` show."""
        import cv2

        if self.model == "fisheye":
            x, y = cv2.fisheye.initUndistortRectifyMap(
                self._matrix, self._coefficients, np.eye(3), target._matrix, target.size, cv2.CV_32FC1
            )
        else:
            x, y = cv2.initUndistortRectifyMap(
                self._matrix, self._coefficients, np.eye(3), target._matrix, target.size, cv2.CV_32FC1
            )
        return np.stack([x, y], axis=-1) + np.float32(0.5)

    @property
    def _coefficients(self) -> FloatArray:
        count = 4 if self.model == "fisheye" else 8
        return np.array((*self.distortion, *[0.0] * (count - len(self.distortion))))

    @property
    def _matrix(self) -> FloatArray:
        """K of OpenCV, whose pixel centres are whole numbers."""
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]])


def _bend_brown(rays: FloatArray, k: FloatArray) -> FloatArray:
    x, y = rays[:, 0], rays[:, 1]
    k1, k2, p1, p2, k3, k4, k5, k6 = k
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([bent_x, bent_y], axis=-1)


def _derivatives(bend: "_Bend", rays: FloatArray, k: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Central differences of `bend` along x and along y, and the determinant of the two."""
    step = 1e-6
    along_x, along_y = np.array([step, 0.0]), np.array([0.0, step])
    dx = (bend(rays + along_x, k) - bend(rays - along_x, k)) / (2 * step)
    dy = (bend(rays + along_y, k) - bend(rays - along_y, k)) / (2 * step)
    return dx, dy, dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]


def _straighten_brown(bent: FloatArray, k: FloatArray) -> FloatArray:
    """Newton's method on `_bend_brown`, with derivatives by central differences."""
    rays = bent.copy()
    for _ in range(30):
        miss = _bend_brown(rays, k) - bent
        dx, dy, determinant = _derivatives(_bend_brown, rays, k)
        determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
        change_x = (dy[:, 1] * miss[:, 0] - dy[:, 0] * miss[:, 1]) / determinant
        change_y = (dx[:, 0] * miss[:, 1] - dx[:, 1] * miss[:, 0]) / determinant
        rays = np.clip(rays - np.stack([change_x, change_y], axis=-1), -1e3, 1e3)
        if np.abs(miss).max(initial=0.0) < 1e-12:
            break
    return rays


def _bent_angle(angle: FloatArray, k: FloatArray) -> FloatArray:
    squared = angle * angle
    return angle * (1 + squared * (k[0] + squared * (k[1] + squared * (k[2] + squared * k[3]))))


def _bend_fisheye(rays: FloatArray, k: FloatArray) -> FloatArray:
    radius = np.linalg.norm(rays, axis=-1, keepdims=True)
    return rays * _bent_angle(np.arctan(radius), k) / np.maximum(radius, 1e-12)


def _straighten_fisheye(bent: FloatArray, k: FloatArray) -> FloatArray:
    radius = np.linalg.norm(bent, axis=-1, keepdims=True)
    angle = np.minimum(radius, np.pi / 2)
    for _ in range(30):
        slope = (_bent_angle(angle + 1e-6, k) - _bent_angle(angle - 1e-6, k)) / 2e-6
        angle = np.clip(angle - (_bent_angle(angle, k) - radius) / np.maximum(slope, 1e-3), 0.0, np.pi / 2)
    return bent * np.tan(np.minimum(angle, np.pi / 2 - 1e-6)) / np.maximum(radius, 1e-12)


_Bend = Callable[[FloatArray, FloatArray], FloatArray]
_BEND: dict[str, _Bend] = {"pinhole": lambda rays, _: rays, "opencv": _bend_brown, "fisheye": _bend_fisheye}
_STRAIGHTEN: dict[str, _Bend] = {
    "pinhole": lambda bent, _: bent,
    "opencv": _straighten_brown,
    "fisheye": _straighten_fisheye,
}


def _border(size: tuple[int, int]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Pixel centres along the left, right, top and bottom edge."""
    width, height = size
    x, y = np.linspace(0.5, width - 0.5, 65), np.linspace(0.5, height - 0.5, 65)
    left, right = np.full_like(y, 0.5), np.full_like(y, width - 0.5)
    top, bottom = np.full_like(x, 0.5), np.full_like(x, height - 0.5)
    return (
        np.stack([left, y], -1),
        np.stack([right, y], -1),
        np.stack([x, top], -1),
        np.stack([x, bottom], -1),
    )


@lru_cache(maxsize=512)
def _undistorted(lens: Lens) -> Lens:
    if not lens.distorts:
        return replace(lens, model="pinhole", distortion=())
    rectangle = _inner_rectangle(lens)
    for zoom in (1.0, 1.1, 1.25, 1.5, 2.0):
        target = _within(lens, *rectangle, zoom) if rectangle else None
        if target is not None and _shows_only_photo(lens, target):
            return target
    raise SceneError(
        f"lens '{lens.model}' of {lens.size[0]}x{lens.size[1]} pixels cannot be undone: its coefficients "
        f"{lens.distortion} fold the picture; calibrate again or set them to 0"
    )


def _inner_rectangle(lens: Lens) -> tuple[float, float, float, float] | None:
    """Rays x0 x1 y0 y1 inside all four borders of the photo; parts of a border that no ray reaches do not count."""
    edges = []
    for pixels in _border(lens.size):
        rays = lens.rays(pixels)
        if lens.model == "opencv":
            reached = np.abs(lens.pixels(rays) - pixels).max(-1) < 0.01
            rays = rays[reached & (_derivatives(_bend_brown, rays, lens._coefficients)[2] > 0)]
        if not len(rays):
            return None
        edges.append(rays)
    left, right, top, bottom = edges
    reach = FISHEYE_REACH if lens.model == "fisheye" else np.inf
    x0, x1 = max(left[:, 0].max(), -reach), min(right[:, 0].min(), reach)
    y0, y1 = max(top[:, 1].max(), -reach), min(bottom[:, 1].min(), reach)
    return (float(x0), float(x1), float(y0), float(y1)) if x1 > x0 and y1 > y0 else None


def _within(lens: Lens, x0: float, x1: float, y0: float, y1: float, zoom: float) -> Lens:
    """The pinhole lens with `lens`'s size and pixel shape that fills the rectangle of rays in one direction."""
    width, height = lens.size
    pixel_shape = lens.focal_px[0] / lens.focal_px[1]
    focal_x = zoom * max((width - 1) / (x1 - x0), pixel_shape * (height - 1) / (y1 - y0))
    focal_y = focal_x / pixel_shape
    centre = (width / 2 - focal_x * (x0 + x1) / 2, height / 2 - focal_y * (y0 + y1) / 2)
    return Lens("pinhole", lens.size, (focal_x, focal_y), centre)


def _shows_only_photo(lens: Lens, target: Lens) -> bool:
    """Whether every pixel of `target` lies inside the photo, none of it seen twice."""
    border = np.concatenate([lens.pixels(target.rays(edge)) for edge in _border(lens.size)])
    x, y = np.meshgrid(np.linspace(0, lens.size[0], 33), np.linspace(0, lens.size[1], 33))
    rays = target.rays(np.stack([x.ravel(), y.ravel()], axis=-1))
    unfolded = (_derivatives(_BEND[lens.model], rays, lens._coefficients)[2] > 0).all()
    return bool(unfolded and (border > 0).all() and (border < np.array(lens.size)).all())
