"""Register groups: as many vectors as stay in registers while a small matrix product runs over them.

A group is a tuple of vectors of 16 floats. Where a vector is one 512-bit register there are 32 of them, where it
takes two of 256 bits only 8: the sizes below leave room for an operand and a broadcast scalar, so that nothing
spills, and are large enough to hide the latency of the additions.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from featurefields.simd.functions import part
from featurefields.simd.vector import FAST, LANES, lift_value, pointer_to, vector, vector_pointer

_NARROW_CPUS = ("generic", "x86-64", "x86-64-v2", "x86-64-v3")


def _wide_registers() -> bool:
    """Whether kernels are compiled for 512-bit registers; follows NUMBA_CPU_NAME and NUMBA_CPU_FEATURES."""
    if config.CPU_NAME in _NARROW_CPUS:  # type: ignore[attr-defined]
        return False
    if config.CPU_FEATURES is not None:  # type: ignore[attr-defined]
        return "+avx512f" in config.CPU_FEATURES  # type: ignore[attr-defined]
    try:
        return bool(llvm.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # LLVM knows no features of this machine
        return False


_WIDE = _wide_registers()

GROUP = 8 if _WIDE else 4
"""Vectors in a group of pixels; divides 16."""

BATCH = 12 if _WIDE else 6
"""Vectors in a batch of entries."""


def _plus(builder: ir.IRBuilder, integer: ir.Value, step: int) -> ir.Value:
    return builder.add(integer, ir.Constant(integer.type, step))


def _zeros(count: int) -> Any:
    @intrinsic
    def zeros(typing):
        kind = types.UniTuple(vector, count)

        def emit(context, builder, sig, args):
            return context.make_tuple(builder, kind, [ir.Constant(vector.llvm, [0.0] * LANES)] * count)

        return kind(), emit

    return zeros


group_zero, batch_zero = _zeros(GROUP), _zeros(BATCH)


@intrinsic
def group_store(typing, array, offset, stride, group):
    """Write the vectors, one each to flat `offset` + p * `stride`."""

    def emit(context, builder, sig, args):
        for p, row in enumerate(cgutils.unpack_tuple(builder, args[3])):
            at = builder.add(args[1], builder.mul(args[2], ir.Constant(args[2].type, p)))
            builder.store(row, vector_pointer(context, builder, sig.args[0], args[0], at), align=4)
        return context.get_dummy_value()

    return types.void(array, offset, stride, group), emit


@intrinsic
def group_add_outer(typing, group, values, weights, offset):
    """group[p] + values * weights[offset + p]: a rank-one update."""

    def emit(context, builder, sig, args):
        rows = []
        for p, row in enumerate(cgutils.unpack_tuple(builder, args[0])):
            pointer = pointer_to(context, builder, sig.args[2], args[2], _plus(builder, args[3], p))
            weight = lift_value(context, builder, types.float32, builder.load(pointer))
            rows.append(builder.fadd(row, builder.fmul(args[1], weight, flags=FAST), flags=FAST))
        return context.make_tuple(builder, sig.args[0], rows)

    return group(group, values, weights, offset), emit


@intrinsic
def load_offsets(typing, array, start):
    """BATCH consecutive integers of an int64 array."""
    kind = types.UniTuple(types.int64, BATCH)

    def emit(context, builder, sig, args):
        integers = []
        for p in range(BATCH):
            at = _plus(builder, args[1], p)
            integers.append(builder.load(pointer_to(context, builder, sig.args[0], args[0], at)))
        return context.make_tuple(builder, kind, integers)

    return kind(array, start), emit


@intrinsic
def group_add_gathered(typing, group, values, array, offsets, k):
    """group[p] + values * array[offsets[p] + k]."""

    def emit(context, builder, sig, args):
        rows = []
        offsets = cgutils.unpack_tuple(builder, args[3])
        for row, offset in zip(cgutils.unpack_tuple(builder, args[0]), offsets, strict=True):
            pointer = pointer_to(context, builder, sig.args[2], args[2], builder.add(offset, args[4]))
            scalar = lift_value(context, builder, types.float32, builder.load(pointer))
            rows.append(builder.fadd(row, builder.fmul(args[1], scalar, flags=FAST), flags=FAST))
        return context.make_tuple(builder, sig.args[0], rows)

    return group(group, values, array, offsets, k), emit


@intrinsic
def group_add_columns(typing, group, values, weights, offset):
    """group[p] + values * weights[offset + 16 p]: a rank-one update by a column of a table 16 wide."""

    def emit(context, builder, sig, args):
        rows = []
        for p, row in enumerate(cgutils.unpack_tuple(builder, args[0])):
            pointer = pointer_to(context, builder, sig.args[2], args[2], _plus(builder, args[3], LANES * p))
            weight = lift_value(context, builder, types.float32, builder.load(pointer))
            rows.append(builder.fadd(row, builder.fmul(args[1], weight, flags=FAST), flags=FAST))
        return context.make_tuple(builder, sig.args[0], rows)

    return group(group, values, weights, offset), emit


@intrinsic
def group_scatter_add(typing, array, offsets, k, group):
    """array[offsets[p] + k : + 16] += group[p], one after the other."""

    def emit(context, builder, sig, args):
        offsets = cgutils.unpack_tuple(builder, args[1])
        for row, offset in zip(cgutils.unpack_tuple(builder, args[3]), offsets, strict=True):
            pointer = vector_pointer(context, builder, sig.args[0], args[0], builder.add(offset, args[2]))
            builder.store(builder.fadd(builder.load(pointer, align=4), row, flags=FAST), pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, offsets, k, group), emit


@intrinsic
def transpose_store(typing, source, start, stride, target, place):
    """target[place + 16 k + p] = source[start + p * stride + k] for p, k = 0..15: a 16 x 16 block, transposed."""

    def emit(context, builder, sig, args):
        rows = []
        for p in range(LANES):
            at = builder.add(args[1], builder.mul(args[2], ir.Constant(args[2].type, p)))
            rows.append(builder.load(vector_pointer(context, builder, sig.args[0], args[0], at), align=4))
        for step in (8, 4, 2, 1):  # swap the off-diagonal quarters of ever smaller squares
            keep = [lane if not lane & step else lane - step + LANES for lane in range(LANES)]
            move = [lane + step if not lane & step else lane + LANES for lane in range(LANES)]
            for p in range(LANES):
                if not p & step:
                    upper, lower = rows[p], rows[p + step]
                    rows[p] = part(builder, upper, keep, lower)
                    rows[p + step] = part(builder, upper, move, lower)
        for k, row in enumerate(rows):
            at = _plus(builder, args[4], LANES * k)
            builder.store(row, vector_pointer(context, builder, sig.args[3], args[3], at), align=4)
        return context.get_dummy_value()

    return types.void(source, start, stride, target, place), emit
