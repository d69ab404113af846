"""Blocks of 4 x 4 pixels: where they lie in the picture, and how their pixels are read and written.

Letters: h w pixels · d channels of a picture · c of them as the kernels hold them, d filled up.
"""

import numpy as np

from featurefields.raster.cpu.kernels import BLOCK, BLOCKS_PER_ROW, PIXELS, TILE, piece
from featurefields.simd import LANES, load, load_one, spread, store, store_one

f4 = np.float32


@piece
def corner(tile, tiles_x, block):
    """Column and row of the block's first pixel."""
    return (
        (tile % tiles_x) * TILE + (block % BLOCKS_PER_ROW) * BLOCK,
        (tile // tiles_x) * TILE + (block // BLOCKS_PER_ROW) * BLOCK,
    )


@piece
def lane_place(lane):
    """Column and row of a lane within its block; the order of `kernels.lane_x` and `lane_y`."""
    return ((lane >> 2) & 1) * 2 + (lane & 1), (lane >> 3) * 2 + ((lane >> 1) & 1)


@piece
def inside(left, top, width, height):
    """Whether the whole block is in the picture."""
    return left + BLOCK <= width and top + BLOCK <= height


@piece
def presence(left, top, width, height, out):
    """out (16) = 1 at the block's pixels in the picture, 0 at those outside."""
    store(out, 0, spread(f4(1)))
    if not inside(left, top, width, height):
        for lane in range(PIXELS):
            x, y = lane_place(lane)
            if left + x >= width or top + y >= height:
                store_one(out, lane, f4(0))


@piece
def read_plane(plane, left, top, width, height, out):
    """out (16) = the block's pixels of a flat plane (h w), 0 outside the picture."""
    whole = inside(left, top, width, height)
    for lane in range(PIXELS):
        x, y = lane_place(lane)
        if whole or (left + x < width and top + y < height):
            store_one(out, lane, load_one(plane, (top + y) * width + left + x))
        else:
            store_one(out, lane, f4(0))


@piece
def write_plane(values, left, top, width, height, plane):
    """The block's pixels (16) into a flat plane (h w)."""
    whole = inside(left, top, width, height)
    for lane in range(PIXELS):
        x, y = lane_place(lane)
        if whole or (left + x < width and top + y < height):
            store_one(plane, (top + y) * width + left + x, load_one(values, lane))


@piece
def copy_row(source, at, target, place, count):
    """target[place : place + count] = source[at : at + count], flat offsets."""
    wide = count // LANES * LANES
    for k in range(0, wide, LANES):
        store(target, place + k, load(source, at + k))
    for k in range(wide, count):
        store_one(target, place + k, load_one(source, at + k))


@piece
def clear_row(target, place, count):
    """target[place : place + count] = 0, flat offsets."""
    for k in range(count):
        store_one(target, place + k, f4(0))


@piece
def read_block(maps, depth, left, top, width, height, width_c, out):
    """The block's pixels of flat maps (h w d) as rows (16 c); zeros outside the picture and past d."""
    whole = inside(left, top, width, height)
    for lane in range(PIXELS):
        x, y = lane_place(lane)
        at = lane * width_c
        if whole or (left + x < width and top + y < height):
            copy_row(maps, ((top + y) * width + left + x) * depth, out, at, depth)
            clear_row(out, at + depth, width_c - depth)
        else:
            clear_row(out, at, width_c)


@piece
def write_block(rows, width_c, depth, left, top, width, height, image):
    """The first d channels of the block's rows (16 c) into a flat image (h w d)."""
    whole = inside(left, top, width, height)
    for lane in range(PIXELS):
        x, y = lane_place(lane)
        if whole or (left + x < width and top + y < height):
            copy_row(rows, lane * width_c, image, ((top + y) * width + left + x) * depth, depth)
