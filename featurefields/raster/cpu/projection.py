"""From Gaussians in the world to ellipses in the picture (EWA splatting, Zwicker et al. 2001), sixteen at a time.

Letters: n Gaussians.

The formulas are written once for single and double precision: drawing takes the first, the derivative the second.
"""

import numpy as np

from featurefields.raster.cpu.kernels import (
    BLUR,
    CENTRE,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    EXTENT_X,
    EXTENT_Y,
    FOCAL,
    HEIGHT,
    LOG2_ALPHA_MIN,
    LOG2_OPACITY,
    LOG2E,
    MARGIN,
    MEAN_X,
    MEAN_Y,
    NEAR,
    PROJECTED,
    ROTATION,
    TRANSLATION,
    WIDTH,
    kernel,
    piece,
)
from featurefields.simd import (
    LANES,
    choose,
    load,
    load_one,
    log2,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    square_root,
    store,
    store_one,
)

f4 = np.float32


@piece
def slope_limits(camera):
    """Bounds (low x, high x, low y, high y) of x/z and y/z between which the Jacobian is taken."""
    fx, fy, cx, cy = camera[FOCAL], camera[FOCAL + 1], camera[CENTRE], camera[CENTRE + 1]
    margin_x = camera[MARGIN] * f4(0.5) * camera[WIDTH] / fx
    margin_y = camera[MARGIN] * f4(0.5) * camera[HEIGHT] / fy
    return (
        -cx / fx - margin_x,
        (camera[WIDTH] - cx) / fx + margin_x,
        -cy / fy - margin_y,
        (camera[HEIGHT] - cy) / fy + margin_y,
    )


@piece
def to_camera(camera, row, x, y, z):
    """One coordinate (row 0..2) of world points in the camera's frame."""
    at = ROTATION + 3 * row
    return camera[at] * x + camera[at + 1] * y + camera[at + 2] * z + camera[TRANSLATION + row]


@piece
def rotation_rows(w, x, y, z):
    """The nine entries, row by row, of the rotation matrices of unit quaternions."""
    return (
        f4(1) - f4(2) * (y * y + z * z), f4(2) * (x * y - w * z), f4(2) * (x * z + w * y),
        f4(2) * (x * y + w * z), f4(1) - f4(2) * (x * x + z * z), f4(2) * (y * z - w * x),
        f4(2) * (x * z - w * y), f4(2) * (y * z + w * x), f4(1) - f4(2) * (x * x + y * y),
    )  # fmt: skip


@piece
def view_row(camera, row, slope, inverse_z):
    """Row 0 (x) or 1 (y) of Jacobian times world-to-camera rotation, at a slope x/z or y/z."""
    at, depth = ROTATION + 3 * row, ROTATION + 6
    scale = camera[FOCAL + row] * inverse_z
    return (
        scale * (camera[at] - slope * camera[depth]),
        scale * (camera[at + 1] - slope * camera[depth + 1]),
        scale * (camera[at + 2] - slope * camera[depth + 2]),
    )


@piece
def along_axes(row, r):
    """A view row times the rotation: what it sees of the Gaussian's three axes, before their scales."""
    return (
        row[0] * r[0] + row[1] * r[3] + row[2] * r[6],
        row[0] * r[1] + row[1] * r[4] + row[2] * r[7],
        row[0] * r[2] + row[1] * r[5] + row[2] * r[8],
    )


@piece
def dot3(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@piece
def spread_determinant(u, v, blur):
    """Determinant of [u v]' [u v] + blur I. By Lagrange's identity nothing cancels, however thin a needle."""
    c0, c1, c2 = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    return c0 * c0 + c1 * c1 + c2 * c2 + blur * (dot3(u, u) + dot3(v, v) + blur)


@piece
def stage_columns(table, width, start, last, staged, first_column, lanes):
    """Columns of up to `lanes` rows of a flat table side by side, from `first_column`; the last row fills up."""
    for lane in range(lanes):
        at = np.int64(min(start + lane, last - 1)) * width
        for k in range(width):
            store_one(staged, (first_column + k) * lanes + lane, load_one(table, at + k))


@kernel
def project(means, quats, scales, opacities, camera, first, last, rows, depths, indices):
    """Project Gaussians first..last-1 and list those that can touch a pixel. Returns how many.

    means (3 n), quats (4 n), scales (3 n), opacities (n) are flat. From place `first` on, rows (n 8), depths (n) and
    indices (n) are filled for the listed ones.
    """
    low_x, high_x, low_y, high_y = slope_limits(camera)
    blur, near, least = camera[BLUR], camera[NEAR], camera[LOG2_ALPHA_MIN]
    staged, found, table = np.empty(11 * LANES, f4), np.empty(9 * LANES, f4), rows.reshape(-1)
    place = first
    for start in range(first, last, LANES):
        stage_columns(means, 3, start, last, staged, 0, LANES)
        stage_columns(quats, 4, start, last, staged, 3, LANES)
        stage_columns(scales, 3, start, last, staged, 7, LANES)
        stage_columns(opacities, 1, start, last, staged, 10, LANES)
        wx, wy, wz = load(staged, 0), load(staged, LANES), load(staged, 2 * LANES)
        z = to_camera(camera, 2, wx, wy, wz)
        log2_opacity = log2(load(staged, 10 * LANES))
        reach = (log2_opacity - least) * (f4(2) / LOG2E)
        seen = (z >= near) & (reach > f4(0))
        inverse_z = f4(1) / choose(seen, z, f4(1))
        slope_x, slope_y = (
            to_camera(camera, 0, wx, wy, wz) * inverse_z,
            to_camera(camera, 1, wx, wy, wz) * inverse_z,
        )
        mean_x = slope_x * camera[FOCAL] + camera[CENTRE]
        mean_y = slope_y * camera[FOCAL + 1] + camera[CENTRE + 1]
        w, x = load(staged, 3 * LANES), load(staged, 4 * LANES)
        y, s = load(staged, 5 * LANES), load(staged, 6 * LANES)
        unit = f4(1) / square_root(w * w + x * x + y * y + s * s)
        r = rotation_rows(w * unit, x * unit, y * unit, s * unit)
        top = along_axes(view_row(camera, 0, minimum(high_x, maximum(low_x, slope_x)), inverse_z), r)
        low = along_axes(view_row(camera, 1, minimum(high_y, maximum(low_y, slope_y)), inverse_z), r)
        s0, s1, s2 = load(staged, 7 * LANES), load(staged, 8 * LANES), load(staged, 9 * LANES)
        u, v = (top[0] * s0, top[1] * s1, top[2] * s2), (low[0] * s0, low[1] * s1, low[2] * s2)
        var_x, var_y, cov = dot3(u, u) + blur, dot3(v, v) + blur, dot3(u, v)
        extent_x, extent_y = square_root(reach * var_x), square_root(reach * var_y)
        seen = seen & (mean_x + extent_x > f4(0.499)) & (mean_x - extent_x < camera[WIDTH] - f4(0.499))
        seen = seen & (mean_y + extent_y > f4(0.499)) & (mean_y - extent_y < camera[HEIGHT] - f4(0.499))
        bits = mask_bits(seen) & ((1 << min(LANES, last - start)) - 1)
        if bits == 0:
            continue
        scale = f4(0.5) * LOG2E / maximum(spread_determinant(u, v, blur), f4(1e-10))
        store(found, MEAN_X * LANES, mean_x)
        store(found, MEAN_Y * LANES, mean_y)
        store(found, CONIC_A * LANES, scale * var_y)
        store(found, CONIC_B * LANES, scale * cov * f4(-2))
        store(found, CONIC_C * LANES, scale * var_x)
        store(found, LOG2_OPACITY * LANES, log2_opacity)
        store(found, EXTENT_X * LANES, extent_x)
        store(found, EXTENT_Y * LANES, extent_y)
        store(found, PROJECTED * LANES, z)
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            for k in range(PROJECTED):
                store_one(table, place * PROJECTED + k, load_one(found, k * LANES + lane))
            store_one(depths, place, load_one(found, PROJECTED * LANES + lane))
            store_one(indices, place, start + lane)
            place += 1
    return place - first
