"""The backward kernel: gradients of every Gaussian's channels, ellipse and opacity from the entries of W.

Letters: v visible Gaussians · c channels, a multiple of 4 · h w pixels · e entries.

With q_i = <gradient, channels_i> at a pixel, T_i the light in front of entry i and R_i = sum_{j > i} w_j q_j, the
derivative by the logarithm of the opacity is w_i q_i - R_i w_i / T_{i+1}. T starts as 1 and loses w_i, R starts as
sum_j w_j q_j and loses w_i q_i, so nothing but W is kept from drawing. Six sums per Gaussian (of v = derivative by the
exponent, which is minus that, times 1, dx, dy, dx^2, dx dy, dy^2) give the gradients of mean, conic and opacity.
"""

import numpy as np

from featurefields.raster.cpu.apply import ask_for_rows, list_rows, longest_list
from featurefields.raster.cpu.blocks import corner, read_block, read_plane
from featurefields.raster.cpu.kernels import (
    BLOCKS,
    MEAN_X,
    MEAN_Y,
    PIXELS,
    PROJECTED,
    kernel,
    lane_x,
    lane_y,
    piece,
)
from featurefields.raster.cpu.projection_back import MOMENTS
from featurefields.raster.cpu.transpose import gather_block
from featurefields.simd import (
    BATCH,
    LANES,
    add_lane_sums,
    batch_zero,
    choose,
    group_add_gathered,
    group_store,
    load,
    load_offsets,
    load_one,
    prefetch,
    spread,
    store,
    store_one,
    subtract_exactly,
    transpose_store,
)

f4 = np.float32


@piece
def products(count, width_c, table, offsets, by_pixel, by_channel, q):
    """q (count 16) = <channel row of the entry, pixel's gradient> for the block's pixels."""
    wide = width_c // LANES * LANES
    for k in range(0, wide, LANES):
        transpose_store(by_pixel, k, width_c, by_channel, k * PIXELS)
    for k in range(wide, width_c):
        for lane in range(PIXELS):
            store_one(by_channel, k * PIXELS + lane, load_one(by_pixel, lane * width_c + k))
    for j in range(count, count + BATCH):
        store_one(offsets, j, load_one(offsets, count - 1))
    for j in range(0, count, BATCH):
        rows, total = load_offsets(offsets, j), batch_zero()
        for k in range(width_c):
            total = group_add_gathered(total, load(by_channel, k * PIXELS), table, rows, k)
        group_store(q, j * PIXELS, PIXELS, total)


@piece
def by_exponents(weights, start, count, alpha_max, cover, q):
    """Replace q (count 16) by v, the derivative by every entry's exponent at the pixels."""
    cover_gradient, rest = load(cover, 0), spread(f4(0))
    for j in range(count):
        weighted = load(weights, (start + j) * PIXELS) * (load(q, j * PIXELS) + cover_gradient)
        store(q, j * PIXELS, weighted)
        rest = rest + weighted
    light = spread(f4(1))
    for j in range(count):
        weight, weighted = load(weights, (start + j) * PIXELS), load(q, j * PIXELS)
        rest = rest - weighted
        bound = light * alpha_max
        light = subtract_exactly(light, weight)
        store(q, j * PIXELS, choose(weight < bound, rest * (weight / light) - weighted, f4(0)))


@piece
def add_moments(ranks, start, count, left, top, table, v, moments):
    """Add every entry's six sums over the block's pixels to its Gaussian's moments."""
    x, y, zero = lane_x() + left, lane_y() + top, spread(f4(0))
    for j in range(count):
        ahead = np.int64(load_one(ranks, start + min(j + 6, count - 1)))
        prefetch(table, ahead * PROJECTED)
        prefetch(moments, ahead * MOMENTS)
        rank = np.int64(load_one(ranks, start + j))
        value = load(v, j * PIXELS)
        dx = x - load_one(table, rank * PROJECTED + MEAN_X)
        dy = y - load_one(table, rank * PROJECTED + MEAN_Y)
        vx, vy = value * dx, value * dy
        add_lane_sums(moments, rank * MOMENTS, value, vx, vy, vx * dx)
        add_lane_sums(moments, rank * MOMENTS + 4, vx * dy, vy * dy, zero, zero)


@kernel
def derive_tiles(
    ranks, weights, lists, starts, members, first_tile, last_tile, tiles_x, width, height, alpha_max, ordered,
    channels, row_of_rank, g_image, g_alpha, gathered, moments,
):  # fmt: skip
    """Add the gradients of tiles first_tile..last_tile-1 to gathered (v c) and moments (v 8)."""
    width_c, depth = channels.shape[1], g_image.shape[2]
    spare = np.int64(gathered.size - width_c)
    rows, table, values = channels.reshape(-1), ordered.reshape(-1), weights.reshape(-1)
    sums, out = moments.reshape(-1), gathered.reshape(-1)
    g_picture, g_coverage = g_image.reshape(-1), g_alpha.reshape(-1)
    blocks = (last_tile - first_tile) * BLOCKS
    room = longest_list(lists, blocks) + BATCH
    offsets, targets = np.empty(room, np.int64), np.empty(room, np.int64)
    q, lanes = np.empty(room * PIXELS, f4), np.empty(4 * PIXELS, f4)
    by_pixel, by_channel = np.empty(PIXELS * width_c, f4), np.empty(PIXELS * width_c, f4)
    cover = np.empty(PIXELS, f4)
    own_row = np.arange(ordered.shape[0])
    for tile in range(first_tile, last_tile):
        for block in range(BLOCKS):
            at = (tile - first_tile) * BLOCKS + block
            start = np.int64(lists[at])
            count = lists[at + 1] - start
            if count == 0:
                continue
            left, top = corner(tile, tiles_x, block)
            read_block(g_picture, depth, left, top, width, height, width_c, by_pixel)
            list_rows(ranks, start, count, row_of_rank, width_c, offsets)
            ask_for_rows(starts, members, tile, block, row_of_rank, width_c, rows)
            ask_for_rows(starts, members, tile, block, own_row, width_c, out)
            for j in range(count):
                store_one(targets, j, np.int64(load_one(ranks, start + j)) * width_c)
            products(count, width_c, rows, offsets, by_pixel, by_channel, q)
            read_plane(g_coverage, left, top, width, height, cover)
            by_exponents(values, start, count, alpha_max, cover, q)
            add_moments(ranks, start, count, f4(left), f4(top), table, q, sums)
            gather_block(values, start, count, width_c, by_pixel, lanes, targets, spare, out)
