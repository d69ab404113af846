"""Drawing as a product: the picture is W times the channels.

Letters: v visible Gaussians · c channels, a multiple of 4 · h w pixels · e entries.

Channels are taken sixteen at a time (a block's picture in register groups of pixels x 16 channels, entries without
weight in a group left out), what remains four at a time with pixels across the lanes.
"""

import numpy as np

from featurefields.raster.cpu.blocks import clear_row, copy_row, corner, write_block
from featurefields.raster.cpu.kernels import BLOCKS, GROUPS, PIXELS, kernel, piece
from featurefields.simd import (
    GROUP,
    group_add_outer,
    group_store,
    group_zero,
    load,
    load_one,
    mask_bits,
    prefetch_far,
    spread,
    store,
    store_one,
)

f4 = np.float32


@piece
def longest_list(lists, blocks):
    """The most entries of any of the first `blocks` blocks."""
    longest = 0
    for block in range(blocks):
        longest = max(longest, lists[block + 1] - lists[block])
    return longest


@piece
def list_rows(ranks, start, count, row_of_rank, width_c, offsets):
    """Where every entry's row of channels starts: offsets (count)."""
    for j in range(count):
        row = np.int64(load_one(row_of_rank, np.int64(load_one(ranks, start + j))))
        store_one(offsets, j, row * width_c)


@piece
def ask_for_rows(starts, members, tile, block, row_of_rank, width_c, table):
    """Ask for a block's share of the rows that the next tile needs."""
    if tile + 2 < starts.shape[0]:
        first, last = starts[tile + 1], starts[tile + 2]
        for member in range(
            first + (last - first) * block // BLOCKS, first + (last - first) * (block + 1) // BLOCKS
        ):
            row = np.int64(load_one(row_of_rank, np.int64(load_one(members, member))))
            for chunk in range(0, width_c, 16):
                prefetch_far(table, row * width_c + chunk)


@piece
def list_groups(weights, start, count, places, listed):
    """For every pixel group of the block, its entries with weight: places (groups room), listed (groups): how many."""
    room = places.shape[0] // GROUPS
    for group in range(GROUPS):
        listed[group] = 0
    for j in range(count):
        bits = mask_bits(load(weights, (start + j) * PIXELS) > spread(f4(0)))
        for group in range(GROUPS):
            n = load_one(listed, group)
            store_one(places, group * room + n, j)
            store_one(listed, group, n + np.int64(bits & ((1 << GROUP) - 1) != 0))
            bits >>= GROUP


@piece
def apply_block(weights, start, count, width_c, table, offsets, places, listed, picture, lanes):
    """picture (16 c) = sum over the block's entries of weight (16) times channel row (c)."""
    wide, room = width_c // 16 * 16, places.shape[0] // GROUPS
    for chunk in range(0, wide, 16):
        for group in range(GROUPS):
            total = group_zero()
            for k in range(load_one(listed, group)):
                j = np.int64(load_one(places, group * room + k))
                row = load(table, load_one(offsets, j) + chunk)
                total = group_add_outer(total, row, weights, (start + j) * PIXELS + group * GROUP)
            group_store(picture, group * GROUP * width_c + chunk, width_c, total)
    for channel in range(wide, width_c, 4):
        zero = spread(f4(0))
        p, q, r, s = zero, zero, zero, zero
        for j in range(count):
            weight = load(weights, (start + j) * PIXELS)
            at = load_one(offsets, j) + channel
            p, q = p + weight * load_one(table, at), q + weight * load_one(table, at + 1)
            r, s = r + weight * load_one(table, at + 2), s + weight * load_one(table, at + 3)
        store(lanes, 0, p)
        store(lanes, 16, q)
        store(lanes, 32, r)
        store(lanes, 48, s)
        for k in range(4):
            for lane in range(PIXELS):
                store_one(picture, lane * width_c + channel + k, load_one(lanes, k * PIXELS + lane))


@kernel
def apply_tiles(
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
    channels,
    row_of_rank,
    image,
):
    """Draw tiles first_tile..last_tile-1 into image (h w d), d <= c, from channels (rows c) by row_of_rank (v)."""
    width_c, depth = channels.shape[1], image.shape[2]
    table, values, pictures = channels.reshape(-1), weights.reshape(-1), image.reshape(-1)
    blocks = (last_tile - first_tile) * BLOCKS
    longest = longest_list(lists, blocks)
    offsets = np.empty(longest + 1, np.int64)
    places, listed = np.empty(GROUPS * (longest + 1), np.int32), np.empty(GROUPS, np.int64)
    picture, lanes = np.empty(PIXELS * width_c, f4), np.empty(4 * PIXELS, f4)
    for tile in range(first_tile, last_tile):
        for block in range(BLOCKS):
            at = (tile - first_tile) * BLOCKS + block
            start = np.int64(lists[at])
            count = lists[at + 1] - start
            list_rows(ranks, start, count, row_of_rank, width_c, offsets)
            ask_for_rows(starts, members, tile, block, row_of_rank, width_c, table)
            if width_c >= 16:
                list_groups(values, start, count, places, listed)
            apply_block(values, start, count, width_c, table, offsets, places, listed, picture, lanes)
            left, top = corner(tile, tiles_x, block)
            write_block(picture, width_c, depth, left, top, width, height, pictures)


@kernel
def pad_rows(channels, first, last, table):
    """Rows first..last-1 of channels (n d) into table (n c), d <= c, filled up with zeros."""
    depth, width_c = channels.shape[1], table.shape[1]
    source, target = channels.reshape(-1), table.reshape(-1)
    for row in range(first, last):
        copy_row(source, row * depth, target, row * width_c, depth)
        clear_row(target, row * width_c + depth, width_c - depth)
