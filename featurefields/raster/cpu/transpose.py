"""Lifting as a product: what every Gaussian gathers is the transpose of W times the maps.

Letters: v visible Gaussians · c channels, a multiple of 4 · h w pixels · e entries.
"""

import numpy as np

from featurefields.raster.cpu.apply import ask_for_rows, list_rows, longest_list
from featurefields.raster.cpu.blocks import clear_row, corner, read_block
from featurefields.raster.cpu.kernels import BLOCKS, PIXELS, kernel, piece
from featurefields.simd import (
    BATCH,
    LANES,
    add_lane_sums,
    batch_zero,
    group_add_columns,
    group_scatter_add,
    load,
    load_offsets,
    load_one,
    prefetch,
    store,
    store_one,
)

f4 = np.float32


@piece
def across_lanes(by_pixel, width_c, channel, lanes):
    """Four channels of the block's pixels, each as a vector of pixels: lanes (4 16)."""
    for k in range(4):
        for lane in range(PIXELS):
            store_one(lanes, k * PIXELS + lane, load_one(by_pixel, lane * width_c + channel + k))


@piece
def gather_block(weights, start, count, width_c, by_pixel, lanes, offsets, spare, out):
    """out[offset of entry + channel] += sum over the block's pixels of weight times pixel row.

    offsets has room for a group more; `spare` is where a row begins that nobody reads.
    """
    wide = width_c // LANES * LANES
    for j in range(count, count + BATCH):
        store_one(offsets, j, spare)
    for chunk in range(0, wide, LANES):
        for j in range(0, count, BATCH):
            total = batch_zero()
            for pixel in range(PIXELS):
                row = load(by_pixel, pixel * width_c + chunk)
                total = group_add_columns(total, row, weights, (start + j) * PIXELS + pixel)
            group_scatter_add(out, load_offsets(offsets, j), chunk, total)
    for channel in range(wide, width_c, 4):
        across_lanes(by_pixel, width_c, channel, lanes)
        p, q, r, s = load(lanes, 0), load(lanes, 16), load(lanes, 32), load(lanes, 48)
        for j in range(count):
            weight = load(weights, (start + j) * PIXELS)
            add_lane_sums(out, load_one(offsets, j) + channel, weight * p, weight * q, weight * r, weight * s)


@kernel
def gather_tiles(
    ranks,
    weights,
    lists,
    starts,
    members,
    first_tile,
    last_tile,
    tiles_x,
    width,
    height,
    maps,
    row_of_rank,
    gathered,
):
    """Add what tiles first_tile..last_tile-1 give of maps (h w d), d <= c, to gathered (rows c) by row_of_rank (v).

    The last row of `gathered` is scratch; weights (e 16) has room for a group of entries more than are listed.
    """
    width_c, spare = gathered.shape[1], np.int64(gathered.size - gathered.shape[1])
    out, values, pictures = gathered.reshape(-1), weights.reshape(-1), maps.reshape(-1)
    blocks = (last_tile - first_tile) * BLOCKS
    longest = longest_list(lists, blocks)
    offsets = np.empty(longest + BATCH, np.int64)
    by_pixel, lanes = np.empty(PIXELS * width_c, f4), np.empty(4 * PIXELS, f4)
    for tile in range(first_tile, last_tile):
        for block in range(BLOCKS):
            at = (tile - first_tile) * BLOCKS + block
            start = np.int64(lists[at])
            count = lists[at + 1] - start
            if count == 0:
                continue
            left, top = corner(tile, tiles_x, block)
            read_block(pictures, maps.shape[2], left, top, width, height, width_c, by_pixel)
            list_rows(ranks, start, count, row_of_rank, width_c, offsets)
            ask_for_rows(starts, members, tile, block, row_of_rank, width_c, out)
            gather_block(values, start, count, width_c, by_pixel, lanes, offsets, spare, out)


@kernel
def add_up(parts, rank_of, first, last, out):
    """out[i] = sum over threads of parts[thread, rank_of[i]], 0 where the rank is negative, for rows first..last-1.

    parts (threads v c) · rank_of (n) · out (n d), d <= c.
    """
    threads, depth, width_c = parts.shape[0], out.shape[1], parts.shape[2]
    step = parts.shape[1] * width_c
    table, target = parts.reshape(-1), out.reshape(-1)
    whole = depth // LANES * LANES
    for i in range(first, last):
        rank = np.int64(load_one(rank_of, i))
        if rank < 0:
            clear_row(target, i * depth, depth)
            continue
        ahead = np.int64(load_one(rank_of, min(i + 8, last - 1))) * width_c
        for thread in range(threads):
            for k in range(0, width_c, LANES):
                prefetch(table, thread * step + ahead + k)
        for k in range(0, whole, LANES):
            total = load(table, rank * width_c + k)
            for thread in range(1, threads):
                total = total + load(table, thread * step + rank * width_c + k)
            store(target, i * depth + k, total)
        for k in range(whole, depth):
            scalar = load_one(table, rank * width_c + k)
            for thread in range(1, threads):
                scalar += load_one(table, thread * step + rank * width_c + k)
            store_one(target, i * depth + k, scalar)
