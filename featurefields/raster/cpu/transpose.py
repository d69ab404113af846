"""The backward kernel: gradients of every Gaussian's channels and, if wanted, of its ellipse and opacity.

Letters: v visible Gaussians · c channels padded to a multiple of 16 · h w pixels · t tiles.

The tiles are walked front to back again, so transmittances are exact. With q_i = <gradient, channels_i> at a
pixel and R_i = sum_{j > i} w_j q_j, the opacity's derivative is T_i q_i - R_i / (1 - a_i); R starts as
<gradient, picture> and loses w_i q_i at every step, so nothing but the picture itself is kept from the forward
pass. Seven sums per Gaussian (of v = derivative by the exponent, times 1, dx, dy, dx^2, dx dy, dy^2) give the
gradients of mean, conic and opacity. Without geometry the kernel is the transpose of drawing.
"""

import numpy as np

from featurefields.raster.cpu.composite import block_range, lane_x, lane_y, start_transmittance
from featurefields.raster.cpu.kernels import (
    ALPHA_MAX,
    BLOCK,
    BLOCKS,
    BLOCKS_PER_ROW,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    EXTENT_X,
    EXTENT_Y,
    LOG2_ALPHA_MIN,
    LOG2_OPACITY,
    LOG2E,
    MEAN_X,
    MEAN_Y,
    PIXELS,
    PROJECTED,
    STOP,
    TILE,
    kernel,
)
from featurefields.raster.cpu.projection import project_back
from featurefields.simd import (
    any_lane,
    block_dot,
    choose,
    exp2,
    lane_sum,
    load,
    load_one,
    minimum,
    prefetch,
    spread,
    store,
)

f4 = np.float32
MOMENTS = 8  # v, v dx, v dy, v dx^2, v dx dy, v dy^2, two unused


@kernel
def read_gradients(
    block, left, top, width, height, g_image, g_alpha, image, alpha, by_pixel, by_channel, remaining, width_c
):
    """Copy a block's pixel gradients in both layouts; remaining = <gradient, picture> per pixel."""
    channels = g_image.shape[2]
    for lane in range(PIXELS):
        x = left + (block % BLOCKS_PER_ROW) * BLOCK + lane % BLOCK
        y = top + (block // BLOCKS_PER_ROW) * BLOCK + lane // BLOCK
        pixel = block * PIXELS + lane
        total = f4(0)
        inside = x < width and y < height
        for k in range(channels):
            value = g_image[y, x, k] if inside else f4(0)
            by_pixel[pixel * width_c + k] = value
            by_channel[(block * width_c + k) * PIXELS + lane] = value
            if inside:
                total += value * image[y, x, k]
        if inside:
            total += g_alpha[y, x] * alpha[y, x]
        remaining[pixel] = total


@kernel
def transpose_tiles(
    ordered, channels, starts, members, first_tile, last_tile, tiles_x, camera, width, height,
    image, alpha, g_image, g_alpha, with_geometry, g_channels, moments,
):  # fmt: skip
    """Add the gradients of tiles first_tile..last_tile-1 to g_channels (v c) and moments (v 8)."""
    width_c = channels.shape[1]
    rows, table, sums, out = (
        channels.reshape(-1),
        ordered.reshape(-1),
        moments.reshape(-1),
        g_channels.reshape(-1),
    )
    threshold, alpha_max, stop = camera[LOG2_ALPHA_MIN], camera[ALPHA_MAX], camera[STOP]
    light = np.empty(BLOCKS * PIXELS, f4)
    remaining = np.empty(BLOCKS * PIXELS, f4)
    alpha_gradient = np.zeros(BLOCKS * PIXELS, f4)
    by_pixel = np.zeros(BLOCKS * PIXELS * width_c, f4)
    by_channel = np.zeros(BLOCKS * PIXELS * width_c, f4)
    weights = np.empty(PIXELS, f4)
    gathered = np.empty(width_c, f4)
    zero = spread(f4(0))
    for tile in range(first_tile, last_tile):
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        live = 0
        for block in range(BLOCKS):
            if start_transmittance(light, block, PIXELS, left, top, width, height):
                live |= 1 << block
            read_gradients(
                block,
                left,
                top,
                width,
                height,
                g_image,
                g_alpha,
                image,
                alpha,
                by_pixel,
                by_channel,
                remaining,
                width_c,
            )
            for lane in range(PIXELS):
                x = left + (block % BLOCKS_PER_ROW) * BLOCK + lane % BLOCK
                y = top + (block // BLOCKS_PER_ROW) * BLOCK + lane // BLOCK
                alpha_gradient[block * PIXELS + lane] = g_alpha[y, x] if x < width and y < height else f4(0)
        last = starts[tile + 1]
        for member in range(starts[tile], last):
            ahead = np.int64(members[min(member + 12, last - 1)])
            prefetch(table, ahead * PROJECTED)
            prefetch(rows, ahead * width_c)
            prefetch(out, ahead * width_c)
            rank = np.int64(members[member])
            at = rank * PROJECTED
            mean_x, mean_y = load_one(table, at + MEAN_X), load_one(table, at + MEAN_Y)
            a, b = load_one(table, at + CONIC_A), load_one(table, at + CONIC_B)
            c, log2_opacity = load_one(table, at + CONIC_C), load_one(table, at + LOG2_OPACITY)
            bx0, bx1 = block_range(mean_x, load_one(table, at + EXTENT_X), f4(left))
            by0, by1 = block_range(mean_y, load_one(table, at + EXTENT_Y), f4(top))
            m0, m1, m2, m3, m4, m5 = zero, zero, zero, zero, zero, zero
            hit = False
            for chunk in range(0, width_c, 16):
                store(gathered, chunk, zero)
            for bx in range(bx0, bx1 + 1):
                dx = lane_x() + (f4(left + bx * BLOCK) - mean_x)
                from_x, cross = log2_opacity - dx * (dx * a), dx * b
                for by in range(by0, by1 + 1):
                    block = by * BLOCKS_PER_ROW + bx
                    if (live >> block) & 1 == 0:
                        continue
                    dy = lane_y() + (f4(top + by * BLOCK) - mean_y)
                    exponent = from_x - dy * (cross + dy * c)
                    touched = exponent >= threshold
                    if not any_lane(touched):
                        continue
                    hit = True
                    base = np.int64(block * PIXELS)
                    before = load(light, base)
                    raw = exp2(exponent)
                    opacity = choose(touched, minimum(raw, alpha_max), f4(0))
                    weight = before * opacity
                    after = before - weight
                    goes_on = after > stop
                    weight = choose(goes_on, weight, f4(0))
                    after = choose(goes_on, after, f4(0))
                    store(light, base, after)
                    store(weights, 0, weight)
                    for chunk in range(0, width_c, 16):
                        total = load(gathered, chunk)
                        for pixel in range(PIXELS):
                            total = total + load(by_pixel, (base + pixel) * width_c + chunk) * weights[pixel]
                        store(gathered, chunk, total)
                    if with_geometry:
                        q = load(alpha_gradient, base)
                        for chunk in range(0, width_c, 16):
                            q = block_dot(
                                q,
                                by_channel,
                                (np.int64(block) * width_c + chunk) * PIXELS,
                                rows,
                                rank * width_c + chunk,
                            )
                        rest = load(remaining, base) - weight * q
                        store(remaining, base, rest)
                        by_opacity = before * q - rest / (f4(1) - opacity)
                        unclamped = goes_on & touched & (raw <= alpha_max)
                        v = choose(unclamped, f4(0) - by_opacity * opacity, f4(0))
                        vx, vy = v * dx, v * dy
                        m0, m1, m2 = m0 + v, m1 + vx, m2 + vy
                        m3, m4, m5 = m3 + vx * dx, m4 + vx * dy, m5 + vy * dy
                    if not any_lane(after > zero):
                        live &= ~(1 << block)
            if hit:
                for chunk in range(0, width_c, 16):
                    store(
                        out, rank * width_c + chunk, load(out, rank * width_c + chunk) + load(gathered, chunk)
                    )
                if with_geometry:
                    sums[rank * MOMENTS] += lane_sum(m0)
                    sums[rank * MOMENTS + 1] += lane_sum(m1)
                    sums[rank * MOMENTS + 2] += lane_sum(m2)
                    sums[rank * MOMENTS + 3] += lane_sum(m3)
                    sums[rank * MOMENTS + 4] += lane_sum(m4)
                    sums[rank * MOMENTS + 5] += lane_sum(m5)
            if live == 0:
                break


@kernel
def add_up(parts, order, first, last, channels, out):
    """out[order[rank], :channels] = sum over threads of parts[thread, rank] for ranks first..last-1."""
    for rank in range(first, last):
        i = order[rank]
        for k in range(channels):
            total = parts[0, rank, k]
            for thread in range(1, parts.shape[0]):
                total += parts[thread, rank, k]
            out[i, k] = total


@kernel
def finish_geometry(
    moments, ordered, order, first, last, means, quats, scales, opacities, camera,
    g_means, g_quats, g_log_scales, g_logits,
):  # fmt: skip
    """From the moments of ranks first..last-1 to gradients of means, quats, log scales and opacity logits."""
    g_mean, g_conic, total = np.empty(2), np.empty(3), np.empty(6)
    for rank in range(first, last):
        i = order[rank]
        for k in range(6):
            total[k] = moments[0, rank, k]
            for thread in range(1, moments.shape[0]):
                total[k] += moments[thread, rank, k]
        xx = ordered[rank, CONIC_A] * f4(2) / LOG2E
        xy = ordered[rank, CONIC_B] / LOG2E
        yy = ordered[rank, CONIC_C] * f4(2) / LOG2E
        g_mean[0] = -(xx * total[1] + xy * total[2])
        g_mean[1] = -(xy * total[1] + yy * total[2])
        g_conic[0], g_conic[1], g_conic[2] = 0.5 * total[3], total[4], 0.5 * total[5]
        g_logits[i] = -total[0] * (f4(1) - opacities[i])
        project_back(i, means, quats, scales, camera, g_mean, g_conic, g_means, g_quats, g_log_scales)
        for axis in range(3):
            g_log_scales[i, axis] *= scales[i, axis]
