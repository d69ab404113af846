"""What kernels do with vectors: read, write, choose, compare, sum, exp2."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from featurefields.simd.vector import (
    FAST,
    FLOATS,
    I32,
    I64,
    INTS,
    LANES,
    doubles,
    lift_value,
    mask_of_doubles,
    pointer_to,
    vector,
    vector_among,
    vector_of,
    vector_pointer,
)


@intrinsic
def load(typing, array, offset):
    """Vector of the numbers that start at flat `offset`."""

    def emit(context, builder, sig, args):
        return builder.load(vector_pointer(context, builder, sig.args[0], *args), align=4)

    return vector_of(array)(array, offset), emit


@intrinsic
def store(typing, array, offset, value):
    """Write a vector from flat `offset` on."""

    def emit(context, builder, sig, args):
        pointer = vector_pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, offset, value), emit


@intrinsic
def load_one(typing, array, offset):
    """The element at flat `offset`."""

    def emit(context, builder, sig, args):
        return builder.load(pointer_to(context, builder, sig.args[0], *args))

    return array.dtype(array, offset), emit


@intrinsic
def store_one(typing, array, offset, value):
    """Write one element at flat `offset`; integers are cut to the array's width."""

    def emit(context, builder, sig, args):
        kind = sig.args[0].dtype
        value = context.cast(builder, args[2], sig.args[2], kind)
        builder.store(value, pointer_to(context, builder, sig.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, offset, value), emit


@intrinsic
def spread(typing, scalar):
    """Vector with `scalar` in every lane."""

    def emit(context, builder, sig, args):
        return lift_value(context, builder, sig.args[0], args[0])

    return vector(scalar), emit


@intrinsic
def choose(typing, where, yes, no):
    """`yes` in the lanes where the mask holds, `no` elsewhere."""
    goal = doubles if where == mask_of_doubles else vector

    def emit(context, builder, sig, args):
        lifted = lift_value(context, builder, sig.args[1], args[1], goal)
        return builder.select(args[0], lifted, lift_value(context, builder, sig.args[2], args[2], goal))

    return goal(where, yes, no), emit


@intrinsic
def subtract_exactly(typing, left, right):
    """left - right, never fused with a multiplication before it, so that it gives the same bits everywhere."""

    def emit(context, builder, sig, args):
        return builder.fsub(*args)

    return vector(left, right), emit


@intrinsic
def any_lane(typing, where):
    """Whether the mask holds in any lane."""

    def emit(context, builder, sig, args):
        bits = ir.IntType(args[0].type.count)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), bits(0))

    return types.boolean(where), emit


@intrinsic
def minimum(typing, left, right):
    """Lane-wise minimum."""
    goal = vector_among((left, right))

    def emit(context, builder, sig, args):
        x = lift_value(context, builder, sig.args[0], args[0], goal)
        y = lift_value(context, builder, sig.args[1], args[1], goal)
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return goal(left, right), emit


@intrinsic
def maximum(typing, left, right):
    """Lane-wise maximum."""
    goal = vector_among((left, right))

    def emit(context, builder, sig, args):
        x = lift_value(context, builder, sig.args[0], args[0], goal)
        y = lift_value(context, builder, sig.args[1], args[1], goal)
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    return goal(left, right), emit


@intrinsic
def square_root(typing, value):
    """Square root of every lane."""

    def emit(context, builder, sig, args):
        kind, width = sig.args[0].llvm, "f64" if sig.args[0] == doubles else "f32"
        name = f"llvm.sqrt.v{kind.count}{width}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, args)

    return value(value), emit


def part(builder: ir.IRBuilder, value: ir.Value, lanes: Any, other: ir.Value | None = None) -> ir.Value:
    """The listed lanes of a vector (or of two vectors in a row) as a vector of that many lanes."""
    chosen = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
    return builder.shuffle_vector(
        value, ir.Constant(value.type, ir.Undefined) if other is None else other, chosen
    )


@intrinsic
def lane_sum(typing, value):
    """Sum of the lanes, added in a fixed tree."""

    def emit(context, builder, sig, args):
        value, half = args[0], args[0].type.count
        while half > 1:
            half //= 2
            low, high = part(builder, value, range(half)), part(builder, value, range(half, 2 * half))
            value = builder.fadd(low, high)
        return builder.extract_element(value, I32(0))

    return value.element(value), emit


@intrinsic
def lane_max(typing, value):
    """Largest of the lanes."""

    def emit(context, builder, sig, args):
        value, half = args[0], args[0].type.count
        while half > 1:
            half //= 2
            low, high = part(builder, value, range(half)), part(builder, value, range(half, 2 * half))
            value = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(value, I32(0))

    return value.element(value), emit


# log2((1 + t) / (1 - t)) / t in powers of t^2, |t| <= 0.1716: relative error below 1e-9.
_LOG2 = tuple(2 / 0.6931471805599453 / k for k in (9, 7, 5, 3, 1))


@intrinsic
def log2(typing, value):
    """Logarithm to base 2 of every lane, for normal positive numbers; something below -125 for smaller ones."""

    def emit(context, builder, sig, args):
        constant = lambda number: ir.Constant(FLOATS, [number] * LANES)  # noqa: E731
        whole = lambda number: ir.Constant(INTS, [number] * LANES)  # noqa: E731
        bits = builder.bitcast(args[0], INTS)
        exponent = builder.ashr(builder.sub(bits, whole(0x3F3504F3)), whole(23))  # mantissa from sqrt(1/2)
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, whole(23))), FLOATS)
        t = builder.fdiv(builder.fsub(mantissa, constant(1.0)), builder.fadd(mantissa, constant(1.0)))
        square, series = builder.fmul(t, t), constant(_LOG2[0])
        for coefficient in _LOG2[1:]:
            series = builder.fadd(builder.fmul(series, square, flags=FAST), constant(coefficient), flags=FAST)
        return builder.fadd(builder.sitofp(exponent, FLOATS), builder.fmul(t, series, flags=FAST), flags=FAST)

    return vector(value), emit


# 2^f on [-1/2, 1/2] by a polynomial of degree 5, relative error below 6e-7 (Taylor terms, minimax-adjusted).
_EXP2 = (1.33908634e-3, 9.67770915e-3, 5.55032775e-2, 2.40222406e-1, 6.93147218e-1, 1.0)


@intrinsic
def exp2(typing, value):
    """2 to the power of every lane, for lanes in [-126, 126]."""

    def emit(context, builder, sig, args):
        constant = lambda number: ir.Constant(FLOATS, [number] * LANES)  # noqa: E731
        name = f"llvm.rint.v{LANES}f32"
        rint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(FLOATS, [FLOATS]), name)
        whole = builder.call(rint, [args[0]])
        rest = builder.fsub(args[0], whole)
        power = constant(_EXP2[0])
        for coefficient in _EXP2[1:]:
            power = builder.fadd(builder.fmul(power, rest, flags=FAST), constant(coefficient), flags=FAST)
        exponent = builder.shl(builder.fptosi(whole, INTS), ir.Constant(INTS, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, INTS), exponent), FLOATS)

    return vector(value), emit


def constant_vector(lanes: list[float]) -> Any:
    """An intrinsic without arguments that gives these 16 numbers."""
    values = [float(lane) for lane in lanes]

    @intrinsic
    def constant(typing):
        def emit(context, builder, sig, args):
            return ir.Constant(FLOATS, values)

        return vector(), emit

    return constant


def _prefetch(locality: int, place: str) -> Any:
    @intrinsic
    def prefetch(typing, array, offset):
        def emit(context, builder, sig, args):
            byte_pointer = ir.IntType(8).as_pointer()
            pointer = builder.bitcast(pointer_to(context, builder, sig.args[0], *args), byte_pointer)
            kind = ir.FunctionType(ir.VoidType(), [byte_pointer, I32, I32, I32])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(hint, [pointer, I32(0), I32(locality), I32(1)])
            return context.get_dummy_value()

        return types.void(array, offset), emit

    prefetch.__doc__ = f"Ask for the element at flat `offset` in {place}; past the end is harmless."
    return prefetch


prefetch, prefetch_far = _prefetch(3, "the nearest cache"), _prefetch(2, "the second cache")


@intrinsic
def add_lane_sums(typing, array, offset, a, b, c, d):
    """array[offset + k] += sum of the lanes of the k-th vector, k = 0..3; the four are summed together."""

    def emit(context, builder, sig, args):
        rows = []
        for value in args[2:]:
            rows.append(builder.fadd(part(builder, value, range(8)), part(builder, value, range(8, 16))))
        # each half of 4 lanes stays in its own register half: lanes 0..3 | 4..7 of both inputs
        low, high = [0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]
        pairs = [
            builder.fadd(part(builder, x, low, y), part(builder, x, high, y))
            for x, y in ((rows[0], rows[1]), (rows[2], rows[3]))
        ]
        quads = builder.fadd(part(builder, pairs[0], low, pairs[1]), part(builder, pairs[0], high, pairs[1]))
        sums = builder.fadd(part(builder, quads, range(4)), part(builder, quads, range(4, 8)))
        kind = ir.VectorType(FLOATS.element, 4)
        pointer = builder.bitcast(
            pointer_to(context, builder, sig.args[0], args[0], args[1]), kind.as_pointer()
        )
        builder.store(builder.fadd(builder.load(pointer, align=4), sums), pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, offset, a, b, c, d), emit


@intrinsic
def mask_bits(typing, where):
    """The mask as an integer: bit k is lane k."""

    def emit(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(args[0].type.count)), I64)

    return types.int64(where), emit


@intrinsic
def lowest_bit(typing, bits):
    """Position of the lowest bit that is set; the integer must not be 0."""

    def emit(context, builder, sig, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), emit


@intrinsic
def spread_bits(typing, integer):
    """Vector whose every lane has the bits of a 32-bit integer; only moved and chosen, never calculated with."""

    def emit(context, builder, sig, args):
        return lift_value(context, builder, types.float32, builder.bitcast(args[0], FLOATS.element))

    return vector(integer), emit
