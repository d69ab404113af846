"""The backward kernel: gradients of every Gaussian's channels, ellipse and opacity from the entries of W.

Letters: v visible Gaussians · c channels, a multiple of 4 · h w pixels · e entries.

A block's entries are walked front to back once more. With q_i = <gradient, channels_i> at a pixel, T_i the light in
front of entry i and R_i = sum_{j > i} w_j q_j, the derivative by the logarithm of the opacity is
w_i q_i - R_i w_i / T_{i+1}. T starts as 1 and loses w_i, R starts as <gradient, picture> and loses w_i q_i, so
nothing but W and the picture is kept from drawing. Six sums per Gaussian (of v = derivative by the exponent, times
1, dx, dy, dx^2, dx dy, dy^2) give the gradients of mean, conic and opacity.
"""

import numpy as np

from featurefields.raster.cpu.apply import list_rows, longest_list
from featurefields.raster.cpu.kernels import (
    BLOCK,
    BLOCKS,
    BLOCKS_PER_ROW,
    MEAN_X,
    MEAN_Y,
    PIXELS,
    PROJECTED,
    TILE,
    kernel,
    lane_x,
    lane_y,
    piece,
    pixel_of,
)
from featurefields.raster.cpu.projection_back import MOMENTS
from featurefields.raster.cpu.transpose import gather_block, read_block
from featurefields.simd import (
    BATCH,
    LANES,
    add_lane_sums,
    batch_zero,
    choose,
    group_add_gathered,
    group_store,
    lane_sum,
    load,
    load_offsets,
    load_one,
    spread,
    store_one,
    subtract_exactly,
    transpose_store,
)

f4 = np.float32


@piece
def read_pixels(
    tile, tiles_x, block, width, height, depth, image, alpha, g_alpha, by_pixel, width_c, remaining, cover
):
    """remaining (16) = <gradient, picture> at the block's pixels, cover (16) = gradient of the coverage."""
    whole = depth // LANES * LANES
    for lane in range(PIXELS):
        x, y = pixel_of(tile, tiles_x, block, lane)
        total, by_alpha = f4(0), f4(0)
        if x < width and y < height:
            place = y * width + x
            by_alpha = load_one(g_alpha, place)
            total = by_alpha * load_one(alpha, place)
            for k in range(whole, depth):
                total += load_one(by_pixel, lane * width_c + k) * load_one(image, place * depth + k)
            if whole:
                sums = spread(f4(0))
                for k in range(0, whole, LANES):
                    sums = sums + load(by_pixel, lane * width_c + k) * load(image, place * depth + k)
                total += lane_sum(sums)
        store_one(remaining, lane, total)
        store_one(cover, lane, by_alpha)


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
def add_moments(ranks, weights, start, count, left, top, alpha_max, table, q, remaining, g_cover, moments):
    """Walk the block's entries front to back and add every one's six sums to its Gaussian's moments."""
    x, y = lane_x() + left, lane_y() + top
    light, rest, cover = spread(f4(1)), load(remaining, 0), load(g_cover, 0)
    zero = spread(f4(0))
    for j in range(count):
        rank = np.int64(load_one(ranks, start + j))
        weight = load(weights, (start + j) * PIXELS)
        weighted = weight * (load(q, j * PIXELS) + cover)
        rest = rest - weighted
        bound = light * alpha_max
        light = subtract_exactly(light, weight)
        v = choose(weight >= bound, zero, rest * (weight / light) - weighted)
        dx = x - load_one(table, rank * PROJECTED + MEAN_X)
        dy = y - load_one(table, rank * PROJECTED + MEAN_Y)
        vx, vy = v * dx, v * dy
        add_lane_sums(moments, rank * MOMENTS, v, vx, vy, vx * dx)
        add_lane_sums(moments, rank * MOMENTS + 4, vx * dy, vy * dy, zero, zero)


@kernel
def derive_tiles(
    ranks, weights, lists, first_tile, last_tile, tiles_x, width, height, alpha_max, ordered,
    channels, row_of_rank, image, alpha, g_image, g_alpha, gathered, moments,
):  # fmt: skip
    """Add the gradients of tiles first_tile..last_tile-1 to gathered (v c) and moments (v 8)."""
    width_c, depth = channels.shape[1], image.shape[2]
    spare = np.int64(gathered.size - width_c)
    rows, table, values = channels.reshape(-1), ordered.reshape(-1), weights.reshape(-1)
    sums, out = moments.reshape(-1), gathered.reshape(-1)
    picture, coverage = image.reshape(-1), alpha.reshape(-1)
    g_picture, g_coverage = g_image.reshape(-1), g_alpha.reshape(-1)
    blocks = (last_tile - first_tile) * BLOCKS
    room, last = longest_list(lists, blocks) + BATCH, np.int64(lists[blocks])
    offsets, targets = np.empty(room, np.int64), np.empty(room, np.int64)
    q, lanes = np.empty(room * PIXELS, f4), np.empty(4 * PIXELS, f4)
    by_pixel, by_channel = np.empty(PIXELS * width_c, f4), np.empty(PIXELS * width_c, f4)
    remaining, cover = np.empty(PIXELS, f4), np.empty(PIXELS, f4)
    for tile in range(first_tile, last_tile):
        for block in range(BLOCKS):
            at = (tile - first_tile) * BLOCKS + block
            start = np.int64(lists[at])
            count = lists[at + 1] - start
            if count == 0:
                continue
            read_block(g_picture, depth, tile, tiles_x, block, width, height, width_c, by_pixel)
            read_pixels(
                tile, tiles_x, block, width, height, depth, picture, coverage, g_coverage, by_pixel, width_c,
                remaining, cover,
            )  # fmt: skip
            list_rows(ranks, start, count, last, row_of_rank, width_c, rows, offsets)
            for j in range(count):
                store_one(targets, j, np.int64(load_one(ranks, start + j)) * width_c)
            products(count, width_c, rows, offsets, by_pixel, by_channel, q)
            left = f4((tile % tiles_x) * TILE + (block % BLOCKS_PER_ROW) * BLOCK)
            top = f4((tile // tiles_x) * TILE + (block // BLOCKS_PER_ROW) * BLOCK)
            add_moments(ranks, values, start, count, left, top, alpha_max, table, q, remaining, cover, sums)
            gather_block(values, start, count, width_c, by_pixel, lanes, targets, spare, out)


@kernel
def add_up(parts, order, first, last, depth, out):
    """out[order[rank], :depth] = sum over threads of parts[thread, rank] for ranks first..last-1."""
    for rank in range(first, last):
        i = order[rank]
        for k in range(depth):
            total = parts[0, rank, k]
            for thread in range(1, parts.shape[0]):
                total += parts[thread, rank, k]
            out[i, k] = total
