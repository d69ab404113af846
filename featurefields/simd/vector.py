"""The vector type and its arithmetic.

It is LLVM's `<16 x float>`: it compiles to one AVX-512 register, two of AVX2 or four of SSE/NEON, whatever
the machine has. Kernels that use it read like scalar code: arithmetic and comparisons work lane by lane,
`choose` replaces branches. All loads and stores take an array and a flat offset into it and check nothing.
"""

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

LANES = 16

I1, I32, I64, F32 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
FAST = ("contract", "nsz", "arcp", "nnan", "ninf")


class VectorType(types.Type):
    """Numba type of 16 floats ("f32x16") or of 16 truth values ("mask16")."""

    def __init__(self, name: str, llvm: ir.Type) -> None:
        self.llvm = llvm
        super().__init__(name=name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _type_by_name, (self.name,)


def _type_by_name(name: str) -> VectorType:
    return {"f32x16": vector, "mask16": mask}[name]


vector = VectorType("f32x16", FLOATS)
mask = VectorType("mask16", ir.VectorType(I1, LANES))


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: VectorType) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


def spread_value(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    empty = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(empty, scalar, I32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(INTS, [0] * LANES))


def lift_value(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    """`value` as a vector; scalars are cast to float32 and spread."""
    if kind == vector:
        return value
    if kind != types.float32:
        value = context.cast(builder, value, kind, types.float32)
    return spread_value(builder, value)


def _define_operator(symbol: Any, emit: Any, result: VectorType = vector) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            known = all(a == vector or isinstance(a, (types.Float, types.Integer)) for a in args)
            if len(args) == 2 and vector in args and known:
                return signature(result, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        left = lift_value(context, builder, sig.args[0], args[0])
        return emit(builder, left, lift_value(context, builder, sig.args[1], args[1]))

    for pair in (
        (vector, vector),
        (vector, types.Float),
        (types.Float, vector),
        (vector, types.Integer),
        (types.Integer, vector),
    ):
        lower_builtin(symbol, *pair)(lower)


_define_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=FAST))
_define_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=FAST))
_define_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=FAST))
_define_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y, flags=FAST))
_define_operator(operator.gt, lambda b, x, y: b.fcmp_ordered(">", x, y), mask)
_define_operator(operator.ge, lambda b, x, y: b.fcmp_ordered(">=", x, y), mask)
_define_operator(operator.le, lambda b, x, y: b.fcmp_ordered("<=", x, y), mask)


@infer_global(operator.and_)
class _MaskAnd(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(mask, mask, mask) if tuple(args) == (mask, mask) else None


lower_builtin(operator.and_, mask, mask)(lambda context, builder, sig, args: builder.and_(*args))


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def vector_pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.bitcast(pointer_to(context, builder, kind, array, offset), FLOATS.as_pointer())
