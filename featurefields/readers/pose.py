"""Camera poses as files give them, checked and made rigid."""

import numpy as np
from numpy.typing import NDArray

from featurefields.errors import SceneError

FloatArray = NDArray[np.float64]

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
RIGIDITY = 1e-2
"""Largest deviation of an entry of R^T R from the identity that is taken for rounding and removed."""


def rigid_pose(rows: object, where: str, *, opengl: bool) -> FloatArray:
    """A rigid camera-to-capture pose (4 4) with OpenCV axes.

    Args:
        rows: 4 or 3 rows of 4 numbers; columns are the camera's axes and its centre.
        where: what the pose belongs to, for messages.
        opengl: whether the axes are OpenGL's (x right, y up, z backward) instead of OpenCV's.

    Raises:
        SceneError: not such rows, not finite, or not a rotation (scaled, sheared or mirrored).
    """
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    if matrix.shape != (4, 4):
        raise SceneError(f"{where}: the camera pose is not 4 rows of 4 numbers; correct or remove this frame")
    if not np.isfinite(matrix).all():
        raise SceneError(
            f"{where}: the camera pose has NaN or infinite entries; correct or remove this frame"
        )
    if np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-6:
        raise SceneError(
            f"{where}: the last row of the camera pose is not 0 0 0 1; correct or remove this frame"
        )
    matrix[:3, :3] = _rotation(matrix[:3, :3], where)
    return np.asarray(matrix @ OPENCV_FROM_OPENGL if opengl else matrix, dtype=np.float64)


def _rotation(near: FloatArray, where: str) -> FloatArray:
    """The closest rotation to `near` (orthogonal Procrustes)."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite lengths are no rotation either
        lengths = np.linalg.norm(near, axis=0)
        skew = np.abs(near.T @ near - np.eye(3)).max()
    if not skew <= RIGIDITY:
        shown = " ".join(f"{length:.4g}" for length in lengths)
        raise SceneError(
            f"{where}: the camera pose is not rigid (its axes have lengths {shown}, or are not at right angles)"
            "; divide out the scale or remove this frame"
        )
    left, _, right = np.linalg.svd(near)
    if np.linalg.det(left @ right) < 0:
        raise SceneError(
            f"{where}: the camera pose is mirrored (determinant -1); flip one axis or remove this frame"
        )
    return np.asarray(left @ right, dtype=np.float64)
