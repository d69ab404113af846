"""Lens distortion: our formulas against OpenCV's, both ways, and pictures without a blank pixel."""

import cv2
import numpy as np
import pytest

from featurefields.errors import SceneError
from featurefields.lens import FISHEYE_REACH, Lens

SIZE = (120, 80)
PLAIN = Lens("pinhole", SIZE, (95.0, 97.0), (61.0, 38.5))
BROWN = Lens("opencv", SIZE, (95.0, 97.0), (61.0, 38.5), (-0.21, 0.06, 0.003, -0.002))
RATIONAL = Lens(
    "opencv", SIZE, (95.0, 97.0), (61.0, 38.5), (0.2, -0.03, 0.001, 0.002, 0.01, 0.05, 0.02, 0.003)
)
PINCUSHION = Lens("opencv", SIZE, (95.0, 97.0), (58.0, 41.5), (0.25, 0.05, 0.0, 0.0))
FISHEYE = Lens("fisheye", SIZE, (52.0, 53.0), (59.0, 41.0), (0.03, -0.01, 0.004, -0.001))
EQUIDISTANT = Lens("fisheye", SIZE, (52.0, 52.0), (60.0, 40.0))
BENT = [BROWN, RATIONAL, PINCUSHION, FISHEYE, EQUIDISTANT]
EVERY = pytest.mark.parametrize("lens", [PLAIN, *BENT])


def grid(size: tuple[int, int], step: int = 7) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0.5, size[0], step), np.arange(0.5, size[1], step))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def cv_matrix(lens: Lens) -> np.ndarray:
    """K in OpenCV's convention, written out once more."""
    return np.array(
        [
            [lens.focal_px[0], 0, lens.centre_px[0] - 0.5],
            [0, lens.focal_px[1], lens.centre_px[1] - 0.5],
            [0, 0, 1],
        ]
    )


@pytest.mark.parametrize("lens", [BROWN, RATIONAL, PINCUSHION])
def test_brown_matches_opencv(lens: Lens) -> None:
    rays = grid((8, 6), 1) / 8 - 0.4
    points = np.concatenate([rays, np.ones_like(rays[:, :1])], axis=-1)
    theirs, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), cv_matrix(lens), np.array(lens.distortion)
    )
    assert np.allclose(lens.pixels(rays), theirs[:, 0] + 0.5, atol=1e-9)


@pytest.mark.parametrize("lens", [FISHEYE, EQUIDISTANT])
def test_fisheye_matches_opencv(lens: Lens) -> None:
    rays = grid((8, 6), 1) / 3 - 1.2
    coefficients = np.array([*lens.distortion, 0, 0, 0, 0][:4], dtype=np.float64)
    theirs = cv2.fisheye.distortPoints(rays[:, None], cv_matrix(lens), coefficients)[:, 0] + 0.5
    assert np.allclose(lens.pixels(rays), theirs, atol=1e-6)


@EVERY
def test_rays_and_pixels_are_inverse(lens: Lens) -> None:
    pixels = grid(SIZE)
    assert np.abs(lens.pixels(lens.rays(pixels)) - pixels).max() < 1e-6


@EVERY
def test_sampling_is_the_composition_of_rays_and_pixels(lens: Lens) -> None:
    target = lens.undistorted().resized((30, 20))
    ours = lens.pixels(target.rays(grid(target.size, 1))).reshape(20, 30, 2)
    assert np.abs(lens.sampling(target) - ours).max() < 1e-3


@pytest.mark.parametrize("lens", BENT)
def test_undistorted_pictures_show_only_photo_and_touch_its_border(lens: Lens) -> None:
    target = lens.undistorted()
    assert target.model == "pinhole" and target.size == lens.size and not target.distorts
    at = lens.sampling(target)
    assert at.min() >= 0.49 and (at <= np.array(SIZE) - 0.49).all()
    slack = [at[..., axis].min() - 0.5 for axis in (0, 1)] + [
        SIZE[axis] - 0.5 - at[..., axis].max() for axis in (0, 1)
    ]
    reach = np.abs(target.rays(np.array([[0.5, 0.5], [SIZE[0] - 0.5, SIZE[1] - 0.5]]))).max()
    assert min(slack) < 0.6 or reach > FISHEYE_REACH - 0.05, "a wider picture would have fitted"
    assert np.isclose(target.focal_px[0] / target.focal_px[1], lens.focal_px[0] / lens.focal_px[1])


def test_weak_distortion_agrees_with_opencv_choice() -> None:
    lens = Lens(
        "opencv", (540, 960), (687.76, 687.245), (277.279, 482.634), (0.0578, -0.0805, -0.00098, 0.00016)
    )
    theirs, _ = cv2.getOptimalNewCameraMatrix(cv_matrix(lens), np.array(lens.distortion), lens.size, 0)
    ours = lens.undistorted()
    assert np.allclose(ours.focal_px, [theirs[0, 0], theirs[1, 1]], rtol=0.01)
    assert np.allclose(ours.centre_px, [theirs[0, 2] + 0.5, theirs[1, 2] + 0.5], atol=4)


def test_a_lens_without_distortion_is_left_alone() -> None:
    none = Lens("opencv", SIZE, (95.0, 97.0), (61.0, 38.5), (0.0, 0.0))
    assert not none.distorts and none.undistorted() == PLAIN and PLAIN.undistorted() == PLAIN
    assert EQUIDISTANT.distorts, "a fisheye bends lines even with coefficients of 0"


@EVERY
def test_resizing_keeps_rays(lens: Lens) -> None:
    pixels = grid(SIZE)
    small = lens.resized((30, 40))
    assert np.allclose(small.rays(pixels * [0.25, 0.5]), lens.rays(pixels), atol=1e-9)


def test_wide_fisheye_is_cut_and_rays_behind_stay_far_out() -> None:
    wide = Lens("fisheye", SIZE, (30.0, 30.0), (60.0, 40.0))  # 57 degrees a radian: the border looks backward
    target = wide.undistorted()
    reach = target.rays(np.array([[0.5, 40.0], [119.5, 40.0]]))[:, 0]
    assert np.abs(reach).max() <= FISHEYE_REACH + 1e-6
    edge = wide.rays(np.array([[0.5, 40.0], [119.5, 40.0]]))[:, 0]
    assert edge[0] < -100 and edge[1] > 100


def test_folding_coefficients_are_one_line() -> None:
    with pytest.raises(SceneError, match="fold the picture") as caught:
        Lens("opencv", SIZE, (60.0, 60.0), (60.0, 40.0), (-2.5, 0.0)).undistorted()
    assert "\n" not in str(caught.value)
