"""From Gaussians in the world to ellipses in the picture (EWA splatting, Zwicker et al. 2001), and its derivative.

Letters: n Gaussians · v visible ones · t threads.
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
    ROTATION,
    TRANSLATION,
    WIDTH,
    kernel,
)

f4, f8 = np.float32, np.float64


@kernel
def rotation_rows(w, x, y, z):
    """The nine entries, row by row, of the rotation matrix of a quaternion of any length, and 1 / length."""
    inverse = f4(1) / np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    one, two = f4(1), f4(2)
    rows = (
        one - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y),
        two * (x * y + w * z), one - two * (x * x + z * z), two * (y * z - w * x),
        two * (x * z - w * y), two * (y * z + w * x), one - two * (x * x + y * y),
    )  # fmt: skip
    return rows, inverse


@kernel
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


@kernel
def view_rows(camera, x, y, z, ux, uy, inverse_z):
    """The two rows of Jacobian times world-to-camera rotation at slopes (ux, uy)."""
    fx, fy = camera[FOCAL] * inverse_z, camera[FOCAL + 1] * inverse_z
    r = camera[ROTATION : ROTATION + 9]
    top = (fx * (r[0] - ux * r[6]), fx * (r[1] - ux * r[7]), fx * (r[2] - ux * r[8]))
    low = (fy * (r[3] - uy * r[6]), fy * (r[4] - uy * r[7]), fy * (r[5] - uy * r[8]))
    return top, low


@kernel
def spread_determinant(u0, u1, u2, v0, v1, v2, blur):
    """Determinant of [u v]' [u v] + blur I. By Lagrange's identity nothing cancels, however long and thin a needle."""
    c0, c1, c2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
    trace = u0 * u0 + u1 * u1 + u2 * u2 + v0 * v0 + v1 * v1 + v2 * v2
    return c0 * c0 + c1 * c1 + c2 * c2 + blur * (trace + blur)


@kernel
def project(means, quats, scales, opacities, camera, first, last, projected, depths, visible):
    """Project Gaussians first..last-1; list those that can touch a pixel. Returns how many were listed.

    projected (n 8), depths (n) are filled for the listed ones; visible (>= last - first) gets their indices.
    """
    low_x, high_x, low_y, high_y = slope_limits(camera)
    fx, fy, cx, cy = camera[FOCAL], camera[FOCAL + 1], camera[CENTRE], camera[CENTRE + 1]
    count = 0
    for i in range(first, last):
        wx, wy, wz = means[i, 0], means[i, 1], means[i, 2]
        z = camera[6] * wx + camera[7] * wy + camera[8] * wz + camera[TRANSLATION + 2]
        log2_opacity = np.log2(opacities[i])
        reach = f4(2) * (log2_opacity - camera[LOG2_ALPHA_MIN]) / LOG2E
        if not (z >= camera[NEAR] and reach > f4(0)):
            continue
        x = camera[0] * wx + camera[1] * wy + camera[2] * wz + camera[TRANSLATION]
        y = camera[3] * wx + camera[4] * wy + camera[5] * wz + camera[TRANSLATION + 1]
        inverse_z = f4(1) / z
        ux = min(high_x, max(low_x, x * inverse_z))
        uy = min(high_y, max(low_y, y * inverse_z))
        top, low = view_rows(camera, x, y, z, ux, uy, inverse_z)
        r, _ = rotation_rows(quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        u0 = (top[0] * r[0] + top[1] * r[3] + top[2] * r[6]) * s0
        u1 = (top[0] * r[1] + top[1] * r[4] + top[2] * r[7]) * s1
        u2 = (top[0] * r[2] + top[1] * r[5] + top[2] * r[8]) * s2
        v0 = (low[0] * r[0] + low[1] * r[3] + low[2] * r[6]) * s0
        v1 = (low[0] * r[1] + low[1] * r[4] + low[2] * r[7]) * s1
        v2 = (low[0] * r[2] + low[1] * r[5] + low[2] * r[8]) * s2
        var_x = u0 * u0 + u1 * u1 + u2 * u2 + camera[BLUR]
        cov = u0 * v0 + u1 * v1 + u2 * v2
        var_y = v0 * v0 + v1 * v1 + v2 * v2 + camera[BLUR]
        determinant = max(spread_determinant(u0, u1, u2, v0, v1, v2, camera[BLUR]), f4(1e-10))
        mean_x, mean_y = fx * x * inverse_z + cx, fy * y * inverse_z + cy
        extent_x, extent_y = np.sqrt(reach * var_x), np.sqrt(reach * var_y)
        if not (
            mean_x + extent_x > f4(0.499)
            and mean_x - extent_x < camera[WIDTH] - f4(0.499)
            and mean_y + extent_y > f4(0.499)
            and mean_y - extent_y < camera[HEIGHT] - f4(0.499)
        ):
            continue
        scale = f4(0.5) * LOG2E / determinant
        projected[i, MEAN_X], projected[i, MEAN_Y] = mean_x, mean_y
        projected[i, CONIC_A] = scale * var_y
        projected[i, CONIC_B] = f4(-2) * scale * cov
        projected[i, CONIC_C] = scale * var_x
        projected[i, LOG2_OPACITY] = log2_opacity
        projected[i, EXTENT_X], projected[i, EXTENT_Y] = extent_x, extent_y
        depths[i] = z
        visible[count] = i
        count += 1
    return count


@kernel
def project_back(i, means, quats, scales, camera, g_mean, g_conic, out_means, out_quats, out_scales):
    """Gradients of one Gaussian's mean, quaternion and scales from those of its picture mean and conic.

    g_mean: (x, y). g_conic: derivatives by the entries (xx, xy, yy) of the symmetric inverse covariance, where
    the exponent is -(xx dx^2 + 2 xy dx dy + yy dy^2) / 2 and the derivative by xy counts both off-diagonals.
    Computed in double precision, because the terms of a needle cancel.
    """
    low_x, high_x, low_y, high_y = slope_limits(camera)
    wx, wy, wz = f8(means[i, 0]), f8(means[i, 1]), f8(means[i, 2])
    x = camera[0] * wx + camera[1] * wy + camera[2] * wz + camera[TRANSLATION]
    y = camera[3] * wx + camera[4] * wy + camera[5] * wz + camera[TRANSLATION + 1]
    z = camera[6] * wx + camera[7] * wy + camera[8] * wz + camera[TRANSLATION + 2]
    iz = f8(1) / z
    slope_x, slope_y = x * iz, y * iz
    ux, uy = min(high_x, max(low_x, slope_x)), min(high_y, max(low_y, slope_y))
    top, low = view_rows(camera, x, y, z, ux, uy, iz)
    r, _ = rotation_rows(f8(quats[i, 0]), f8(quats[i, 1]), f8(quats[i, 2]), f8(quats[i, 3]))
    s = scales[i]
    a0 = top[0] * r[0] + top[1] * r[3] + top[2] * r[6]
    a1 = top[0] * r[1] + top[1] * r[4] + top[2] * r[7]
    a2 = top[0] * r[2] + top[1] * r[5] + top[2] * r[8]
    b0 = low[0] * r[0] + low[1] * r[3] + low[2] * r[6]
    b1 = low[0] * r[1] + low[1] * r[4] + low[2] * r[7]
    b2 = low[0] * r[2] + low[1] * r[5] + low[2] * r[8]
    u0, u1, u2, v0, v1, v2 = a0 * s[0], a1 * s[1], a2 * s[2], b0 * s[0], b1 * s[1], b2 * s[2]
    var_x = u0 * u0 + u1 * u1 + u2 * u2 + camera[BLUR]
    cov = u0 * v0 + u1 * v1 + u2 * v2
    var_y = v0 * v0 + v1 * v1 + v2 * v2 + camera[BLUR]
    inverse = f8(1) / max(spread_determinant(u0, u1, u2, v0, v1, v2, f8(camera[BLUR])), 1e-10)
    xx, xy, yy = var_y * inverse, -cov * inverse, var_x * inverse
    # covariance gradient: -K G K with K the conic, G its symmetric gradient
    half = 0.5 * g_conic[1]
    p00, p01 = xx * g_conic[0] + xy * half, xx * half + xy * g_conic[2]
    p10, p11 = xy * g_conic[0] + yy * half, xy * half + yy * g_conic[2]
    c_xx, c_xy, c_yy = -(p00 * xx + p01 * xy), -(p00 * xy + p01 * yy), -(p10 * xy + p11 * yy)
    two = f8(2)
    du0, du1, du2 = (
        two * (c_xx * u0 + c_xy * v0),
        two * (c_xx * u1 + c_xy * v1),
        two * (c_xx * u2 + c_xy * v2),
    )
    dv0, dv1, dv2 = (
        two * (c_xy * u0 + c_yy * v0),
        two * (c_xy * u1 + c_yy * v1),
        two * (c_xy * u2 + c_yy * v2),
    )
    out_scales[i, 0] = du0 * a0 + dv0 * b0
    out_scales[i, 1] = du1 * a1 + dv1 * b1
    out_scales[i, 2] = du2 * a2 + dv2 * b2
    du0, du1, du2, dv0, dv1, dv2 = du0 * s[0], du1 * s[1], du2 * s[2], dv0 * s[0], dv1 * s[1], dv2 * s[2]
    _quat_back(i, quats, top, low, du0, du1, du2, dv0, dv1, dv2, out_quats)
    # the two view rows, then slopes and depth
    e0, e1, e2 = (
        r[0] * du0 + r[1] * du1 + r[2] * du2,
        r[3] * du0 + r[4] * du1 + r[5] * du2,
        r[6] * du0 + r[7] * du1 + r[8] * du2,
    )
    h0, h1, h2 = (
        r[0] * dv0 + r[1] * dv1 + r[2] * dv2,
        r[3] * dv0 + r[4] * dv1 + r[5] * dv2,
        r[6] * dv0 + r[7] * dv1 + r[8] * dv2,
    )
    fx, fy = camera[FOCAL] * iz, camera[FOCAL + 1] * iz
    g_slope_x = -fx * (e0 * camera[6] + e1 * camera[7] + e2 * camera[8])
    g_slope_y = -fy * (h0 * camera[6] + h1 * camera[7] + h2 * camera[8])
    g_z = -(top[0] * e0 + top[1] * e1 + top[2] * e2 + low[0] * h0 + low[1] * h1 + low[2] * h2) * iz
    if slope_x <= low_x or slope_x >= high_x:
        g_slope_x = f8(0)
    if slope_y <= low_y or slope_y >= high_y:
        g_slope_y = f8(0)
    g_slope_x += g_mean[0] * camera[FOCAL]
    g_slope_y += g_mean[1] * camera[FOCAL + 1]
    g_x, g_y = g_slope_x * iz, g_slope_y * iz
    g_z -= (g_slope_x * slope_x + g_slope_y * slope_y) * iz
    for k in range(3):
        out_means[i, k] = camera[k] * g_x + camera[3 + k] * g_y + camera[6 + k] * g_z


@kernel
def _quat_back(i, quats, top, low, du0, du1, du2, dv0, dv1, dv2, out_quats):
    """Gradient by the quaternion of u = top R, v = low R (before the scales are multiplied in)."""
    w, x, y, z = f8(quats[i, 0]), f8(quats[i, 1]), f8(quats[i, 2]), f8(quats[i, 3])
    inverse_length = 1.0 / np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse_length, x * inverse_length, y * inverse_length, z * inverse_length
    d00, d01, d02 = top[0] * du0 + low[0] * dv0, top[0] * du1 + low[0] * dv1, top[0] * du2 + low[0] * dv2
    d10, d11, d12 = top[1] * du0 + low[1] * dv0, top[1] * du1 + low[1] * dv1, top[1] * du2 + low[1] * dv2
    d20, d21, d22 = top[2] * du0 + low[2] * dv0, top[2] * du1 + low[2] * dv1, top[2] * du2 + low[2] * dv2
    two = f8(2)
    g_w = two * (x * (d21 - d12) + y * (d02 - d20) + z * (d10 - d01))
    g_x = two * (w * (d21 - d12) + y * (d01 + d10) + z * (d02 + d20) - two * x * (d11 + d22))
    g_y = two * (w * (d02 - d20) + x * (d01 + d10) + z * (d12 + d21) - two * y * (d00 + d22))
    g_z = two * (w * (d10 - d01) + x * (d02 + d20) + y * (d12 + d21) - two * z * (d00 + d11))
    along = g_w * w + g_x * x + g_y * y + g_z * z
    out_quats[i, 0] = (g_w - along * w) * inverse_length
    out_quats[i, 1] = (g_x - along * x) * inverse_length
    out_quats[i, 2] = (g_y - along * y) * inverse_length
    out_quats[i, 3] = (g_z - along * z) * inverse_length
