"""Structural similarity (Wang et al. 2004) with uniform 7 x 7 windows.

Letters: h w pixels · c channels · window positions h-6 w-6.

Means over windows are running sums; the gradient is three more of them, because every pixel's value enters its
windows only through their means of a, a^2 and a b.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from featurefields.threads import run_parallel, share, thread_count

WINDOW = 7
C1, C2 = 0.01**2, 0.03**2
"""The two constants of the index, for values in 0..1."""

_kernel = njit(
    cache=True, nogil=True, error_model="numpy", boundscheck=False, fastmath={"contract", "nsz", "arcp"}
)
f4 = np.float32


def ssim(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"]) -> Float[Tensor, ""]:
    """Mean index over all whole windows and channels of two pictures in 0..1, each side at least 7 pixels.

    float32 on the CPU with a gradient for `a` alone is compiled, everything else is `ssim_by_formula`.
    """
    compiled = (
        all(x.device.type == "cpu" and x.dtype == torch.float32 for x in (a, b)) and not b.requires_grad
    )
    return _Ssim.apply(a, b) if compiled else ssim_by_formula(a, b)  # type: ignore[return-value]


def ssim_by_formula(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"]) -> Float[Tensor, ""]:
    """`ssim` in plain tensor operations: the definition."""
    return window_indices(a, b).mean()


def window_indices(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"]) -> Float[Tensor, "c rows columns"]:
    """The index of every whole window, channel by channel: h-6 rows and w-6 columns of them."""
    stack = torch.cat([a, b, a * a, b * b, a * b], dim=-1).permute(2, 0, 1)[None]
    mean_a, mean_b, aa, bb, ab = avg_pool2d(stack, WINDOW, stride=1)[0].chunk(5)
    top = (2 * mean_a * mean_b + C1) * (2 * (ab - mean_a * mean_b) + C2)
    bottom = (mean_a**2 + mean_b**2 + C1) * (aa - mean_a**2 + bb - mean_b**2 + C2)
    return top / bottom


@_kernel
def _window_sums(a, b, first, last, sums, total):
    """Index of the windows whose top row is first..last-1, and what its gradient needs.

    sums (rows, columns, 3 c) gets the derivatives by the window means of a, a^2 and a b. Returns the summed index.
    """
    width, channels = a.shape[1], a.shape[2]
    row = np.zeros((5, width, channels), f4)
    scale = f4(1.0 / (WINDOW * WINDOW))
    result = 0.0
    for y in range(first, last + WINDOW - 1):
        for x in range(width):
            for k in range(channels):
                p, q = a[y, x, k], b[y, x, k]
                row[0, x, k] += p
                row[1, x, k] += q
                row[2, x, k] += p * p
                row[3, x, k] += q * q
                row[4, x, k] += p * q
                if y - WINDOW >= first:
                    p, q = a[y - WINDOW, x, k], b[y - WINDOW, x, k]
                    row[0, x, k] -= p
                    row[1, x, k] -= q
                    row[2, x, k] -= p * p
                    row[3, x, k] -= q * q
                    row[4, x, k] -= p * q
        top = y - WINDOW + 1
        if top < first:
            continue
        for k in range(channels):
            for m in range(5):
                total[m, k] = f4(0)
        for x in range(width):
            for k in range(channels):
                for m in range(5):
                    total[m, k] += row[m, x, k]
                    if x >= WINDOW:
                        total[m, k] -= row[m, x - WINDOW, k]
                if x < WINDOW - 1:
                    continue
                left = x - WINDOW + 1
                mean_a, mean_b = total[0, k] * scale, total[1, k] * scale
                aa, bb, ab = total[2, k] * scale, total[3, k] * scale, total[4, k] * scale
                light = f4(2) * mean_a * mean_b + f4(C1)
                structure = f4(2) * (ab - mean_a * mean_b) + f4(C2)
                under_light = mean_a * mean_a + mean_b * mean_b + f4(C1)
                under_structure = aa - mean_a * mean_a + bb - mean_b * mean_b + f4(C2)
                inverse = f4(1) / (under_light * under_structure)
                index = light * structure * inverse
                result += index
                by_mean = f4(2) * mean_b * (structure - light) * inverse
                by_mean -= f4(2) * mean_a * index * (under_structure - under_light) * inverse
                sums[top, left, k] = by_mean
                sums[top, left, channels + k] = -index * under_light * inverse
                sums[top, left, 2 * channels + k] = f4(2) * light * inverse
    return result


@_kernel
def _spread_back(a, b, sums, first, last, factor, gradient):
    """Gradient of rows first..last-1: every pixel collects the windows that contain it."""
    width, channels = a.shape[1], a.shape[2]
    rows, columns = sums.shape[0], sums.shape[1]
    wide = 3 * channels
    column = np.zeros((columns, wide), f4)
    start = max(0, first - WINDOW + 1)
    for y in range(start, min(first, rows)):
        for x in range(columns):
            for m in range(wide):
                column[x, m] += sums[y, x, m]
    total = np.zeros(wide, f4)
    for y in range(first, last):
        for x in range(columns):
            for m in range(wide):
                if y < rows:
                    column[x, m] += sums[y, x, m]
                if y - WINDOW >= start:
                    column[x, m] -= sums[y - WINDOW, x, m]
        total[:] = f4(0)
        for x in range(width):
            for m in range(wide):
                if x < columns:
                    total[m] += column[x, m]
                if x >= WINDOW:
                    total[m] -= column[x - WINDOW, m]
            for k in range(channels):
                p, q = a[y, x, k], b[y, x, k]
                value = total[k] + f4(2) * p * total[channels + k] + q * total[2 * channels + k]
                gradient[y, x, k] = factor * value


class _Ssim(torch.autograd.Function):
    """The mean index with its gradient by the first picture."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        pictures: list[NDArray] = [np.ascontiguousarray(x.detach().numpy()) for x in (a, b)]
        height, width, channels = pictures[0].shape
        rows, columns = height - WINDOW + 1, width - WINDOW + 1
        sums = np.empty((rows, columns, 3 * channels), np.float32)
        threads = thread_count()
        results = np.zeros(threads)

        def run(part: int) -> None:
            scratch = np.empty((5, channels), np.float32)
            first, last = share(rows, part, threads)
            results[part] = _window_sums(pictures[0], pictures[1], first, last, sums, scratch)

        run_parallel(run, threads)
        ctx.kept = (*pictures, sums, threads)
        return a.new_tensor(results.sum() / (rows * columns * channels))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        a, b, sums, threads = ctx.kept
        out = np.empty_like(a)
        factor = np.float32(float(gradient) / (sums.size / 3) / (WINDOW * WINDOW))

        def run(part: int) -> None:
            first, last = share(a.shape[0], part, threads)
            _spread_back(a, b, sums, first, last, factor, out)

        run_parallel(run, threads)
        return torch.from_numpy(out), None
