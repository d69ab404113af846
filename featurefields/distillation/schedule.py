"""The step size over the training."""

import math


def one_cycle(
    step: int, steps: int, peak: float, *, warm: float = 0.1, start: float = 0.04, end: float = 1e-4
) -> float:
    """Step size of step 0 … steps - 1: from `start` of the peak up along a cosine, then down to `end` of it.

    `warm` is the share of the steps that go up (Smith and Topin 2019).
    """
    top = max(1.0, warm * (steps - 1))
    if step <= top:
        low, share = start, step / top
        return peak * (low + (1 - low) * _half_cosine(share))
    share = (step - top) / max(1.0, steps - 1 - top)
    return peak * (end + (1 - end) * (1 - _half_cosine(share)))


def _half_cosine(share: float) -> float:
    """0 to 1 along half a cosine."""
    return 0.5 - 0.5 * math.cos(math.pi * min(max(share, 0.0), 1.0))
