"""A vector of 16 floats for numba kernels.

`Vector` is LLVM's `<16 x float>`: it compiles to one AVX-512 register, two of AVX2 or four of SSE/NEON, whatever
the machine has. Kernels that use it read like scalar code: arithmetic and comparisons work lane by lane,
`choose` replaces branches. All loads and stores take an array and a flat offset into it and check nothing.
"""

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES = 16

_I1, _I32, _I64, _F32 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS, _INTS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
_FAST = ("contract", "nsz", "arcp", "nnan", "ninf")


class VectorType(types.Type):
    """Numba type of 16 floats ("f32x16") or of 16 truth values ("mask16")."""

    def __init__(self, name: str, llvm: ir.Type) -> None:
        self.llvm = llvm
        super().__init__(name=name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _type_by_name, (self.name,)


def _type_by_name(name: str) -> VectorType:
    return {"f32x16": vector, "mask16": mask}[name]


vector = VectorType("f32x16", _FLOATS)
mask = VectorType("mask16", ir.VectorType(_I1, LANES))


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: VectorType) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


def _spread(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    empty = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(empty, scalar, _I32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))


def _lift(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    """`value` as a vector; scalars are cast to float32 and spread."""
    if kind == vector:
        return value
    if kind != types.float32:
        value = context.cast(builder, value, kind, types.float32)
    return _spread(builder, value)


def _define_operator(symbol: Any, emit: Any, result: VectorType = vector) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            known = all(a == vector or isinstance(a, (types.Float, types.Integer)) for a in args)
            if len(args) == 2 and vector in args and known:
                return signature(result, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        left = _lift(context, builder, sig.args[0], args[0])
        return emit(builder, left, _lift(context, builder, sig.args[1], args[1]))

    for pair in (
        (vector, vector),
        (vector, types.Float),
        (types.Float, vector),
        (vector, types.Integer),
        (types.Integer, vector),
    ):
        lower_builtin(symbol, *pair)(lower)


_define_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=_FAST))
_define_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=_FAST))
_define_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=_FAST))
_define_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y, flags=_FAST))
_define_operator(operator.gt, lambda b, x, y: b.fcmp_ordered(">", x, y), mask)
_define_operator(operator.ge, lambda b, x, y: b.fcmp_ordered(">=", x, y), mask)
_define_operator(operator.le, lambda b, x, y: b.fcmp_ordered("<=", x, y), mask)


@infer_global(operator.and_)
class _MaskAnd(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(mask, mask, mask) if tuple(args) == (mask, mask) else None


lower_builtin(operator.and_, mask, mask)(lambda context, builder, sig, args: builder.and_(*args))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def _vector_pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.bitcast(_pointer(context, builder, kind, array, offset), _FLOATS.as_pointer())


@intrinsic
def load(typing, array, offset):
    """Vector of the 16 floats that start at flat `offset`."""

    def emit(context, builder, sig, args):
        return builder.load(_vector_pointer(context, builder, sig.args[0], *args), align=4)

    return vector(array, offset), emit


@intrinsic
def store(typing, array, offset, value):
    """Write a vector to the 16 floats that start at flat `offset`."""

    def emit(context, builder, sig, args):
        pointer = _vector_pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, offset, value), emit


@intrinsic
def load_one(typing, array, offset):
    """The float at flat `offset`."""

    def emit(context, builder, sig, args):
        return builder.load(_pointer(context, builder, sig.args[0], *args))

    return types.float32(array, offset), emit


@intrinsic
def spread(typing, scalar):
    """Vector with `scalar` in every lane."""

    def emit(context, builder, sig, args):
        return _lift(context, builder, sig.args[0], args[0])

    return vector(scalar), emit


@intrinsic
def choose(typing, where, yes, no):
    """`yes` in the lanes where the mask holds, `no` elsewhere."""

    def emit(context, builder, sig, args):
        yes_vector = _lift(context, builder, sig.args[1], args[1])
        return builder.select(args[0], yes_vector, _lift(context, builder, sig.args[2], args[2]))

    return vector(where, yes, no), emit


@intrinsic
def any_lane(typing, where):
    """Whether the mask holds in any lane."""

    def emit(context, builder, sig, args):
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), bits(0))

    return types.boolean(where), emit


@intrinsic
def minimum(typing, left, right):
    """Lane-wise minimum."""

    def emit(context, builder, sig, args):
        x = _lift(context, builder, sig.args[0], args[0])
        y = _lift(context, builder, sig.args[1], args[1])
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return vector(left, right), emit


@intrinsic
def lane_sum(typing, value):
    """Sum of the 16 lanes, added in a fixed tree."""

    def emit(context, builder, sig, args):
        value, width = args[0], LANES
        while width > 1:
            half = width // 2
            empty = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(value, empty, ir.Constant(ir.VectorType(_I32, half), list(lanes)))
                for lanes in (range(half), range(half, width))
            )
            value, width = builder.fadd(low, high), half
        return builder.extract_element(value, _I32(0))

    return types.float32(value), emit


# 2^f on [-1/2, 1/2] by a polynomial of degree 5, relative error below 6e-7 (Taylor terms, minimax-adjusted).
_EXP2 = (1.33908634e-3, 9.67770915e-3, 5.55032775e-2, 2.40222406e-1, 6.93147218e-1, 1.0)


@intrinsic
def exp2(typing, value):
    """2 to the power of every lane, for lanes in [-126, 126]."""

    def emit(context, builder, sig, args):
        constant = lambda number: ir.Constant(_FLOATS, [number] * LANES)  # noqa: E731
        name = f"llvm.rint.v{LANES}f32"
        rint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_FLOATS, [_FLOATS]), name)
        whole = builder.call(rint, [args[0]])
        rest = builder.fsub(args[0], whole)
        power = constant(_EXP2[0])
        for coefficient in _EXP2[1:]:
            power = builder.fadd(builder.fmul(power, rest, flags=_FAST), constant(coefficient), flags=_FAST)
        exponent = builder.shl(builder.fptosi(whole, _INTS), ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTS), exponent), _FLOATS)

    return vector(value), emit


def constant_vector(lanes: list[float]) -> Any:
    """An intrinsic without arguments that gives these 16 numbers."""
    values = [float(lane) for lane in lanes]

    @intrinsic
    def constant(typing):
        def emit(context, builder, sig, args):
            return ir.Constant(_FLOATS, values)

        return vector(), emit

    return constant


@intrinsic
def prefetch(typing, array, offset):
    """Ask the cache for the element at flat `offset`; past the end is harmless."""

    def emit(context, builder, sig, args):
        byte_pointer = ir.IntType(8).as_pointer()
        pointer = builder.bitcast(_pointer(context, builder, sig.args[0], *args), byte_pointer)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, _I32, _I32, _I32])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(hint, [pointer, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, offset), emit


_BLOCK = types.UniTuple(vector, LANES)


@intrinsic
def block_load(typing, array, offset, stride):
    """16 vectors, one each from flat `offset` + p * `stride`, p = 0..15."""

    def emit(context, builder, sig, args):
        rows = []
        for p in range(LANES):
            step = builder.mul(args[2], ir.Constant(args[2].type, p))
            rows.append(
                builder.load(
                    _vector_pointer(context, builder, sig.args[0], args[0], builder.add(args[1], step)),
                    align=4,
                )
            )
        return context.make_tuple(builder, _BLOCK, rows)

    return _BLOCK(array, offset, stride), emit


@intrinsic
def block_store(typing, array, offset, stride, block):
    """Write 16 vectors, one each to flat `offset` + p * `stride`."""

    def emit(context, builder, sig, args):
        for p, row in enumerate(cgutils.unpack_tuple(builder, args[3])):
            step = builder.mul(args[2], ir.Constant(args[2].type, p))
            pointer = _vector_pointer(context, builder, sig.args[0], args[0], builder.add(args[1], step))
            builder.store(row, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, offset, stride, block), emit


@intrinsic
def block_add_outer(typing, block, values, weights, offset):
    """block[p] + values * weights[offset + p] for p = 0..15: a rank-one update held in registers."""

    def emit(context, builder, sig, args):
        rows = []
        for p, row in enumerate(cgutils.unpack_tuple(builder, args[0])):
            at = builder.add(args[3], ir.Constant(args[3].type, p))
            weight = _spread(builder, builder.load(_pointer(context, builder, sig.args[2], args[2], at)))
            rows.append(builder.fadd(row, builder.fmul(args[1], weight, flags=_FAST), flags=_FAST))
        return context.make_tuple(builder, _BLOCK, rows)

    return _BLOCK(block, values, weights, offset), emit


@intrinsic
def block_dot(typing, total, array, offset, weights, start):
    """total + sum_p array[offset + 16 p : +16] * weights[start + p]: a 16 x 16 matrix times a vector."""

    def emit(context, builder, sig, args):
        sums = [args[0], ir.Constant(_FLOATS, [0.0] * LANES)]
        for p in range(LANES):
            at = builder.add(args[2], ir.Constant(args[2].type, LANES * p))
            row = builder.load(_vector_pointer(context, builder, sig.args[1], args[1], at), align=4)
            place = builder.add(args[4], ir.Constant(args[4].type, p))
            weight = _spread(builder, builder.load(_pointer(context, builder, sig.args[3], args[3], place)))
            sums[p % 2] = builder.fadd(sums[p % 2], builder.fmul(row, weight, flags=_FAST), flags=_FAST)
        return builder.fadd(sums[0], sums[1], flags=_FAST)

    return vector(total, array, offset, weights, start), emit
