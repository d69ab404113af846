"""The integrated directional encoding and its derivative as compiled kernels, for float32 on the CPU.

Letters: p points · k = 34 functions · 16 points fill one vector.

Same values as `reflections.ide` by the formula, in one pass over the points instead of a hundred tensor operations.
"""

from math import log2
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from featurefields.simd import LANES, exp2, load, minimum, spread, store
from featurefields.threads import run_parallel, share, thread_count

_kernel = njit(
    cache=True, nogil=True, error_model="numpy", boundscheck=False, fastmath={"contract", "nsz", "arcp"}
)
f4 = np.float32
LOG2E = f4(log2(2.718281828459045))


@_kernel
def _lanes(table, column, start, last, out):
    """Column `column` of 16 rows of a table from `start`, the last one repeated past the end."""
    for lane in range(LANES):
        out[lane] = table[min(start + lane, last - 1), column]
    return load(out, 0)


@_kernel
def _powers(x, y, real, imaginary, top):
    """Real and imaginary parts of (x + i y)^m, m = 0..top."""
    a, b = spread(f4(1)), spread(f4(0))
    for m in range(top + 1):
        store(real, m * LANES, a)
        store(imaginary, m * LANES, b)
        a, b = a * x - b * y, a * y + b * x


@_kernel
def _polynomial(coefficients, z):
    """A polynomial and its derivative at 16 points (Horner)."""
    value, slope = spread(coefficients[-1]), spread(f4(0))
    for power in range(coefficients.shape[0] - 2, -1, -1):
        slope = slope * z + value
        value = value * z + coefficients[power]
    return value, slope


@_kernel
def _fade(order, width):
    """exp(-order (order + 1) / 2 * width)."""
    return exp2(f4(0) - minimum(width * (f4(0.5) * f4(order) * f4(order + 1) * LOG2E), f4(120)))


@_kernel
def encode(directions, widths, orders, coefficients, first, last, out):
    """Write the encoding of points first..last-1 to out (p k)."""
    top = orders[-1]
    scratch = np.empty(LANES, f4)
    real, imaginary = np.empty((top + 1) * LANES, f4), np.empty((top + 1) * LANES, f4)
    rows = np.empty(out.shape[1] * LANES, f4)
    for start in range(first, last, LANES):
        z = _lanes(directions, 2, start, last, scratch)
        width = _lanes(widths, 0, start, last, scratch)
        x = _lanes(directions, 0, start, last, scratch)
        y = _lanes(directions, 1, start, last, scratch)
        _powers(x, y, real, imaginary, top)
        base, column = 0, 0
        for order in orders:
            fade = _fade(order, width)
            for m in range(order + 1):
                value, _ = _polynomial(coefficients[column], z)
                scaled = value * fade
                store(rows, (base + order - m) * LANES, scaled * load(imaginary, m * LANES))
                store(rows, (base + order + m) * LANES, scaled * load(real, m * LANES))
                column += 1
            base += 2 * order + 1
        for lane in range(min(LANES, last - start)):
            for k in range(out.shape[1]):
                out[start + lane, k] = rows[k * LANES + lane]


@_kernel
def encode_back(directions, widths, orders, coefficients, first, last, gradient, g_directions, g_widths):
    """Gradients of points first..last-1 by their directions (p 3) and widths (p 1)."""
    top = orders[-1]
    zero = spread(f4(0))
    scratch = np.empty(LANES, f4)
    real, imaginary = np.empty((top + 1) * LANES, f4), np.empty((top + 1) * LANES, f4)
    g_real, g_imaginary = np.empty((top + 1) * LANES, f4), np.empty((top + 1) * LANES, f4)
    result = np.empty(4 * LANES, f4)
    rows = np.empty(gradient.shape[1] * LANES, f4)
    for start in range(first, last, LANES):
        z = _lanes(directions, 2, start, last, scratch)
        width = _lanes(widths, 0, start, last, scratch)
        x = _lanes(directions, 0, start, last, scratch)
        y = _lanes(directions, 1, start, last, scratch)
        _powers(x, y, real, imaginary, top)
        for lane in range(LANES):
            point = min(start + lane, last - 1)
            for k in range(gradient.shape[1]):
                rows[k * LANES + lane] = gradient[point, k]
        for m in range(top + 1):
            store(g_real, m * LANES, zero)
            store(g_imaginary, m * LANES, zero)
        g_z, g_width = zero, zero
        base, column = 0, 0
        for order in orders:
            fade = _fade(order, width)
            rate = f4(-0.5) * f4(order) * f4(order + 1)
            for m in range(order + 1):
                value, slope = _polynomial(coefficients[column], z)
                scaled = value * fade
                cosine = load(rows, (base + order + m) * LANES)
                along = cosine * load(real, m * LANES)
                store(g_real, m * LANES, load(g_real, m * LANES) + cosine * scaled)
                if m > 0:
                    sine = load(rows, (base + order - m) * LANES)
                    along = along + sine * load(imaginary, m * LANES)
                    store(g_imaginary, m * LANES, load(g_imaginary, m * LANES) + sine * scaled)
                g_z = g_z + along * slope * fade
                g_width = g_width + along * scaled * rate
                column += 1
            base += 2 * order + 1
        g_x, g_y = zero, zero
        for m in range(1, top + 1):
            a, b = load(real, (m - 1) * LANES) * f4(m), load(imaginary, (m - 1) * LANES) * f4(m)
            c, d = load(g_real, m * LANES), load(g_imaginary, m * LANES)
            g_x = g_x + c * a + d * b
            g_y = g_y + d * a - c * b
        store(result, 0, g_x)
        store(result, LANES, g_y)
        store(result, 2 * LANES, g_z)
        store(result, 3 * LANES, g_width)
        for lane in range(min(LANES, last - start)):
            for axis in range(3):
                g_directions[start + lane, axis] = result[axis * LANES + lane]
            g_widths[start + lane, 0] = result[3 * LANES + lane]


class IdeFunction(torch.autograd.Function):
    """`encode` with its derivative, split over threads."""

    @staticmethod
    def forward(
        ctx: Any,
        directions: Float[Tensor, "p 3"],
        widths: Float[Tensor, "p 1"],
        orders: NDArray,
        coefficients: NDArray,
    ) -> Float[Tensor, "p k"]:
        arrays = [np.ascontiguousarray(tensor.detach().numpy()) for tensor in (directions, widths)]
        out = np.empty((len(arrays[0]), int((2 * orders + 1).sum())), np.float32)
        threads = thread_count()

        def run(part: int) -> None:
            first, last = share(len(out), part, threads)
            encode(*arrays, orders, coefficients, first, last, out)

        run_parallel(run, threads)
        ctx.kept = (*arrays, orders, coefficients)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        directions, widths, orders, coefficients = ctx.kept
        outputs = np.empty_like(directions), np.empty_like(widths)
        incoming = np.ascontiguousarray(gradient.detach().numpy())
        threads = thread_count()

        def run(part: int) -> None:
            first, last = share(len(widths), part, threads)
            encode_back(directions, widths, orders, coefficients, first, last, incoming, *outputs)

        run_parallel(run, threads)
        return torch.from_numpy(outputs[0]), torch.from_numpy(outputs[1]), None, None
