"""The vector types and their arithmetic.

They are LLVM's `<16 x float>` and `<8 x double>`: either compiles to one AVX-512 register, two of AVX2 or four of
SSE/NEON, whatever the machine has. Kernels that use them read like scalar code: arithmetic and comparisons work lane
by lane, `choose` replaces branches. All loads and stores take an array and a flat offset into it and check nothing.
"""

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

LANES = 16
"""Lanes of a vector of float32."""

HALF = 8
"""Lanes of a vector of float64."""

I1, I32, I64, F32 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
FAST = ("contract", "nsz", "arcp", "nnan", "ninf")


class VectorType(types.Type):
    """Numba type of a vector of floats, or of the truth values that comparing them gives."""

    def __init__(self, name: str, element: types.Type, llvm: ir.VectorType) -> None:
        self.element, self.llvm = element, llvm
        super().__init__(name=name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _type_by_name, (self.name,)


def _type_by_name(name: str) -> VectorType:
    return {kind.name: kind for kind in (vector, doubles, mask, mask_of_doubles)}[name]


vector = VectorType("f32x16", types.float32, FLOATS)
doubles = VectorType("f64x8", types.float64, ir.VectorType(ir.DoubleType(), HALF))
mask = VectorType("mask16", types.boolean, ir.VectorType(I1, LANES))
mask_of_doubles = VectorType("mask8", types.boolean, ir.VectorType(I1, HALF))

_MASKS = {vector: mask, doubles: mask_of_doubles}


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: VectorType) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


def spread_value(builder: ir.IRBuilder, scalar: ir.Value, kind: VectorType) -> ir.Value:
    """The scalar in every lane."""
    empty = ir.Constant(kind.llvm, ir.Undefined)
    first = builder.insert_element(empty, scalar, I32(0))
    places = ir.Constant(ir.VectorType(I32, kind.llvm.count), [0] * kind.llvm.count)
    return builder.shuffle_vector(first, empty, places)


def lift_value(
    context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value, goal: VectorType = vector
) -> ir.Value:
    """`value` as a vector; scalars are cast to its element type and spread."""
    if isinstance(kind, VectorType):
        return value
    if kind != goal.element:
        value = context.cast(builder, value, kind, goal.element)
    return spread_value(builder, value, goal)


def vector_among(kinds: Any) -> VectorType:
    """The vector type that an operation on these types works in."""
    return next(kind for kind in kinds if isinstance(kind, VectorType))


def _define_operator(symbol: Any, emit: Any, compares: bool = False) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            for kind in (vector, doubles):
                known = all(a == kind or isinstance(a, (types.Float, types.Integer)) for a in args)
                if len(args) == 2 and kind in args and known:
                    return signature(_MASKS[kind] if compares else kind, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        goal = vector_among(sig.args)
        left = lift_value(context, builder, sig.args[0], args[0], goal)
        return emit(builder, left, lift_value(context, builder, sig.args[1], args[1], goal))

    for kind in (vector, doubles):
        lower_builtin(symbol, kind, kind)(lower)
        for scalar in (types.Float, types.Integer):
            lower_builtin(symbol, kind, scalar)(lower)
            lower_builtin(symbol, scalar, kind)(lower)


_define_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=FAST))
_define_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=FAST))
_define_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=FAST))
_define_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y, flags=FAST))
_define_operator(operator.gt, lambda b, x, y: b.fcmp_ordered(">", x, y), compares=True)
_define_operator(operator.ge, lambda b, x, y: b.fcmp_ordered(">=", x, y), compares=True)
_define_operator(operator.lt, lambda b, x, y: b.fcmp_ordered("<", x, y), compares=True)
_define_operator(operator.le, lambda b, x, y: b.fcmp_ordered("<=", x, y), compares=True)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], *args) if len(args) == 1 and args[0] in _MASKS else None


@infer_global(operator.and_)
class _MaskAnd(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], *args) if len(args) == 2 and args[0] == args[1] in _MASKS.values() else None


for _kind in (vector, doubles):
    lower_builtin(operator.neg, _kind)(lambda context, builder, sig, args: builder.fneg(args[0]))
    lower_builtin(operator.and_, _MASKS[_kind], _MASKS[_kind])(
        lambda context, builder, sig, args: builder.and_(*args)
    )


def vector_of(array: Any) -> VectorType:
    """The vector type whose lanes an array's elements are."""
    return doubles if array.dtype == types.float64 else vector


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def vector_pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.bitcast(
        pointer_to(context, builder, kind, array, offset), vector_of(kind).llvm.as_pointer()
    )
