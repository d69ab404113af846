"""The derivative of projection: from what a picture says about ellipses to means, quaternions, scales and the camera.

Letters: n Gaussians · v visible ones. Eight Gaussians at a time in double precision, because the terms of a needle
cancel.
"""

import numpy as np

from featurefields.raster.cpu.kernels import (
    BLUR,
    CONIC_A,
    FOCAL,
    LOG2E,
    ROTATION,
    kernel,
    piece,
)
from featurefields.raster.cpu.projection import (
    along_axes,
    dot3,
    rotation_rows,
    slope_limits,
    spread_determinant,
    to_camera,
    view_row,
)
from featurefields.simd import (
    HALF,
    choose,
    lane_sum,
    load,
    load_one,
    maximum,
    minimum,
    square_root,
    store,
    store_one,
)

f8 = np.float64

MOMENTS = 8
"""Sums per Gaussian: v, v dx, v dy, v dx^2, v dx dy, v dy^2 (v: derivative by the exponent), two unused."""

POSE = 12
"""Gradients of a camera: by the nine entries of the world-to-camera rotation, row by row, and the translation."""

_MEANS, _QUATS, _SCALES, _OPACITY, _MOMENTS, _CONIC, _STAGED = 0, 3, 7, 10, 11, 17, 20


@piece
def _stage(moments, ordered, order, start, last, means, quats, scales, opacities, staged):
    """Inputs of eight ranks side by side; ranks past the end repeat the last one with moments of 0."""
    threads = moments.shape[0]
    for lane in range(HALF):
        rank = min(start + lane, last - 1)
        i = np.int64(order[rank])
        for k in range(3):
            store_one(staged, (_MEANS + k) * HALF + lane, f8(means[i, k]))
            store_one(staged, (_SCALES + k) * HALF + lane, f8(scales[i, k]))
            store_one(staged, (_CONIC + k) * HALF + lane, f8(ordered[rank, CONIC_A + k]))
        for k in range(4):
            store_one(staged, (_QUATS + k) * HALF + lane, f8(quats[i, k]))
        store_one(staged, _OPACITY * HALF + lane, f8(opacities[i]))
        for k in range(6):
            total = f8(0)
            if start + lane < last:
                for thread in range(threads):
                    total += moments[thread, rank, k]
            store_one(staged, (_MOMENTS + k) * HALF + lane, total)


@piece
def _column(staged, column):
    return load(staged, column * HALF)


@piece
def _ellipse_gradients(staged, top, low, blur):
    """Gradients by u = top S and v = low S, the two rows that the picture's covariance is made of, without scales.

    The exponent is -(xx dx^2 + 2 xy dx dy + yy dy^2) / 2 with the conic K; the derivative by the covariance is
    -K G K with G the symmetric derivative by K.
    """
    s0, s1, s2 = _column(staged, _SCALES), _column(staged, _SCALES + 1), _column(staged, _SCALES + 2)
    u, v = (top[0] * s0, top[1] * s1, top[2] * s2), (low[0] * s0, low[1] * s1, low[2] * s2)
    inverse = 1.0 / maximum(spread_determinant(u, v, blur), 1e-10)
    xx, xy, yy = (dot3(v, v) + blur) * inverse, -(dot3(u, v) * inverse), (dot3(u, u) + blur) * inverse
    g_xx, g_xy, g_yy = (
        _column(staged, _MOMENTS + 3) * 0.5,
        _column(staged, _MOMENTS + 4) * 0.5,
        _column(staged, _MOMENTS + 5) * 0.5,
    )
    p00, p01 = xx * g_xx + xy * g_xy, xx * g_xy + xy * g_yy
    p10, p11 = xy * g_xx + yy * g_xy, xy * g_xy + yy * g_yy
    c_xx, c_xy, c_yy = (
        (p00 * xx + p01 * xy) * -2.0,
        (p00 * xy + p01 * yy) * -2.0,
        (p10 * xy + p11 * yy) * -2.0,
    )
    by_u = (c_xx * u[0] + c_xy * v[0], c_xx * u[1] + c_xy * v[1], c_xx * u[2] + c_xy * v[2])
    by_v = (c_xy * u[0] + c_yy * v[0], c_xy * u[1] + c_yy * v[1], c_xy * u[2] + c_yy * v[2])
    return by_u, by_v


@piece
def _quat_gradient(w, x, y, z, unit, top, low, by_u, by_v):
    """Gradients by quaternions (w, x, y, z are unit, `unit` is 1 / length) of the rotation in top R and low R."""
    d = (
        top[0] * by_u[0] + low[0] * by_v[0], top[0] * by_u[1] + low[0] * by_v[1], top[0] * by_u[2] + low[0] * by_v[2],
        top[1] * by_u[0] + low[1] * by_v[0], top[1] * by_u[1] + low[1] * by_v[1], top[1] * by_u[2] + low[1] * by_v[2],
        top[2] * by_u[0] + low[2] * by_v[0], top[2] * by_u[1] + low[2] * by_v[1], top[2] * by_u[2] + low[2] * by_v[2],
    )  # fmt: skip
    g_w = (x * (d[7] - d[5]) + y * (d[2] - d[6]) + z * (d[3] - d[1])) * 2.0
    g_x = (w * (d[7] - d[5]) + y * (d[1] + d[3]) + z * (d[2] + d[6]) - x * (d[4] + d[8]) * 2.0) * 2.0
    g_y = (w * (d[2] - d[6]) + x * (d[1] + d[3]) + z * (d[5] + d[7]) - y * (d[0] + d[8]) * 2.0) * 2.0
    g_z = (w * (d[3] - d[1]) + x * (d[2] + d[6]) + y * (d[5] + d[7]) - z * (d[0] + d[4]) * 2.0) * 2.0
    along = g_w * w + g_x * x + g_y * y + g_z * z
    return (
        (g_w - along * w) * unit, (g_x - along * x) * unit, (g_y - along * y) * unit, (g_z - along * z) * unit,
    )  # fmt: skip


@piece
def _add(array, column, value):
    store(array, column * HALF, load(array, column * HALF) + value)


@piece
def _pose_column(sums, k, world, e, h, g_x, g_y, g_z, scale_x, scale_y, tilt_x, tilt_y):
    """Gradients by column k of the world-to-camera rotation: through the means and through the view rows."""
    _add(sums, k, g_x * world + scale_x * e)
    _add(sums, 3 + k, g_y * world + scale_y * h)
    _add(sums, 6 + k, g_z * world - tilt_x * e - tilt_y * h)


@piece
def _scatter(found, column, table, width, order, start, last):
    """Columns of `found` into the rows of a flat table that belong to ranks start..."""
    for lane in range(min(HALF, last - start)):
        at = np.int64(order[start + lane]) * width
        for k in range(width):
            store_one(table, at + k, np.float32(load_one(found, (column + k) * HALF + lane)))


@kernel
def project_back(
    moments, ordered, order, first, last, means, quats, scales, opacities, camera,
    g_means, g_quats, g_log_scales, g_logits, pose,
):  # fmt: skip
    """Gradients of ranks first..last-1 from their moments (threads v 8).

    Fills rows of the flat g_means (3 n), g_quats (4 n), g_log_scales (3 n), g_logits (n); adds to pose (12).
    """
    low_x, high_x, low_y, high_y = slope_limits(camera)
    staged, found, sums = np.empty(_STAGED * HALF), np.empty(11 * HALF), np.zeros(POSE * HALF)
    for start in range(first, last, HALF):
        _stage(moments, ordered, order, start, last, means, quats, scales, opacities, staged)
        wx, wy, wz = _column(staged, _MEANS), _column(staged, _MEANS + 1), _column(staged, _MEANS + 2)
        inverse_z = 1.0 / to_camera(camera, 2, wx, wy, wz)
        slope_x, slope_y = (
            to_camera(camera, 0, wx, wy, wz) * inverse_z,
            to_camera(camera, 1, wx, wy, wz) * inverse_z,
        )
        held_x = minimum(f8(high_x), maximum(f8(low_x), slope_x))
        held_y = minimum(f8(high_y), maximum(f8(low_y), slope_y))
        w, x = _column(staged, _QUATS), _column(staged, _QUATS + 1)
        y, z = _column(staged, _QUATS + 2), _column(staged, _QUATS + 3)
        unit = 1.0 / square_root(w * w + x * x + y * y + z * z)
        w, x, y, z = w * unit, x * unit, y * unit, z * unit
        r = rotation_rows(w, x, y, z)
        top, low = view_row(camera, 0, held_x, inverse_z), view_row(camera, 1, held_y, inverse_z)
        a, b = along_axes(top, r), along_axes(low, r)
        by_u, by_v = _ellipse_gradients(staged, a, b, f8(camera[BLUR]))
        s0, s1, s2 = _column(staged, _SCALES), _column(staged, _SCALES + 1), _column(staged, _SCALES + 2)
        by_u, by_v = (by_u[0] * s0, by_u[1] * s1, by_u[2] * s2), (by_v[0] * s0, by_v[1] * s1, by_v[2] * s2)
        store(found, 7 * HALF, by_u[0] * a[0] + by_v[0] * b[0])  # by the logarithms of the scales
        store(found, 8 * HALF, by_u[1] * a[1] + by_v[1] * b[1])
        store(found, 9 * HALF, by_u[2] * a[2] + by_v[2] * b[2])
        store(found, 10 * HALF, _column(staged, _MOMENTS) * (_column(staged, _OPACITY) - 1.0))
        q = _quat_gradient(w, x, y, z, unit, top, low, by_u, by_v)
        store(found, 3 * HALF, q[0])
        store(found, 4 * HALF, q[1])
        store(found, 5 * HALF, q[2])
        store(found, 6 * HALF, q[3])
        # by the two view rows, then by slopes, depth and camera
        e = (
            r[0] * by_u[0] + r[1] * by_u[1] + r[2] * by_u[2],
            r[3] * by_u[0] + r[4] * by_u[1] + r[5] * by_u[2],
            r[6] * by_u[0] + r[7] * by_u[1] + r[8] * by_u[2],
        )
        h = (
            r[0] * by_v[0] + r[1] * by_v[1] + r[2] * by_v[2],
            r[3] * by_v[0] + r[4] * by_v[1] + r[5] * by_v[2],
            r[6] * by_v[0] + r[7] * by_v[1] + r[8] * by_v[2],
        )
        scale_x, scale_y = inverse_z * camera[FOCAL], inverse_z * camera[FOCAL + 1]
        depth_row = (camera[ROTATION + 6], camera[ROTATION + 7], camera[ROTATION + 8])
        zero = inverse_z * 0.0
        free_x, free_y = (slope_x > low_x) & (slope_x < high_x), (slope_y > low_y) & (slope_y < high_y)
        by_slope_x = choose(free_x, -(scale_x * dot3(e, depth_row)), zero)
        by_slope_y = choose(free_y, -(scale_y * dot3(h, depth_row)), zero)
        v_x, v_y = _column(staged, _MOMENTS + 1), _column(staged, _MOMENTS + 2)
        half_xy = _column(staged, _CONIC + 1)
        by_mean_x = -((_column(staged, _CONIC) * v_x * 2.0 + half_xy * v_y) / f8(LOG2E))
        by_mean_y = -((half_xy * v_x + _column(staged, _CONIC + 2) * v_y * 2.0) / f8(LOG2E))
        by_slope_x = by_slope_x + by_mean_x * camera[FOCAL]
        by_slope_y = by_slope_y + by_mean_y * camera[FOCAL + 1]
        g_x, g_y = by_slope_x * inverse_z, by_slope_y * inverse_z
        g_z = -((dot3(top, e) + dot3(low, h) + by_slope_x * slope_x + by_slope_y * slope_y) * inverse_z)
        tilt_x, tilt_y = scale_x * held_x, scale_y * held_y
        _pose_column(sums, 0, wx, e[0], h[0], g_x, g_y, g_z, scale_x, scale_y, tilt_x, tilt_y)
        _pose_column(sums, 1, wy, e[1], h[1], g_x, g_y, g_z, scale_x, scale_y, tilt_x, tilt_y)
        _pose_column(sums, 2, wz, e[2], h[2], g_x, g_y, g_z, scale_x, scale_y, tilt_x, tilt_y)
        for k in range(3):
            store(found, k * HALF, g_x * camera[k] + g_y * camera[3 + k] + g_z * camera[6 + k])
        _add(sums, 9, g_x)
        _add(sums, 10, g_y)
        _add(sums, 11, g_z)
        _scatter(found, 0, g_means, 3, order, start, last)
        _scatter(found, 3, g_quats, 4, order, start, last)
        _scatter(found, 7, g_log_scales, 3, order, start, last)
        _scatter(found, 10, g_logits, 1, order, start, last)
    for k in range(POSE):
        pose[k] += lane_sum(load(sums, k * HALF))
