"""Numbers that probes are measured with.

Letters: h w pixels · `...` any pixels · c classes.

Depth and normals: every number is a mean over the pixels of one picture, and the mean over pictures is reported
(Eigen et al. 2014; El Banani et al. 2024). Segmentation: one confusion matrix over all pictures (Everingham et al.
2010).
"""

from math import nan, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.evaluation.metrics import angle_deg

LEAST_DEPTH = 1e-3
"""Predicted depths are not counted below this (metres)."""
DELTA = 1.25
"""Base of the thresholds of delta1, delta2, delta3."""
ANGLES_DEG = (11.25, 22.5, 30.0)
"""Thresholds of the shares of normals (Fouhey et al. 2013)."""


def depth_metrics(predicted: Float[Tensor, "..."], true: Float[Tensor, "..."]) -> dict[str, float]:
    """Errors of the depths of one picture's valid pixels (metres); NaN without a pixel.

    rmse (m) · abs_rel = mean |p - t| / t · delta1 … delta3 = shares with max(p/t, t/p) < 1.25, 1.25², 1.25³ ·
    silog = 100 sqrt(mean g² - (mean g)²), g = ln p - ln t, which does not see the scale of p ·
    rmse_scaled = rmse after p is multiplied by the median of t / p, for scenes whose scale a picture cannot tell.
    """
    if not true.numel():
        return dict.fromkeys(("rmse", "abs_rel", "delta1", "delta2", "delta3", "silog", "rmse_scaled"), nan)
    p, t = predicted.double().clamp(min=LEAST_DEPTH).flatten(), true.double().flatten()
    ratio, log = torch.maximum(p / t, t / p), torch.log(p) - torch.log(t)
    scaled = p * (t / p).median()
    return {
        "rmse": _root_mean_square(p - t),
        "abs_rel": float(((p - t).abs() / t).mean()),
        **{f"delta{k}": float((ratio < DELTA**k).double().mean()) for k in (1, 2, 3)},
        "silog": 100 * sqrt(max(float(log.square().mean() - log.mean().square()), 0.0)),
        "rmse_scaled": _root_mean_square(scaled - t),
    }


def normal_metrics(predicted: Float[Tensor, "... 3"], true: Float[Tensor, "... 3"]) -> dict[str, float]:
    """Angles in degrees between directions of one picture's valid pixels; NaN without a pixel.

    rmse · mean · median · within_11.25, within_22.5, within_30 = shares of smaller angles.
    """
    shares = [f"within_{limit:g}" for limit in ANGLES_DEG]
    if not true.numel():
        return dict.fromkeys(("rmse", "mean", "median", *shares), nan)
    angle = angle_deg(predicted, true).double().nan_to_num(nan=90.0).flatten()
    return {
        "rmse": _root_mean_square(angle),
        "mean": float(angle.mean()),
        "median": float(angle.median()),
        **{
            name: float((angle < limit).double().mean())
            for name, limit in zip(shares, ANGLES_DEG, strict=True)
        },
    }


def confusion(predicted: Int[Tensor, "..."], true: Int[Tensor, "..."], classes: int) -> Int[Tensor, "c c"]:
    """Counts of pixels by true class (rows) and predicted class (columns)."""
    index = true.long().flatten() * classes + predicted.long().flatten()
    return torch.bincount(index, minlength=classes * classes).view(classes, classes)


def segmentation_metrics(counts: Int[Tensor, "c c"]) -> dict[str, float]:
    """miou = mean over the classes that occur of intersection over union · accuracy = share of right pixels ·
    mean_accuracy = mean over the classes that occur of their share of right pixels; NaN without a pixel.

    A class occurs when a true pixel has it.
    """
    counts = counts.double()
    true, predicted, right = counts.sum(1), counts.sum(0), counts.diagonal()
    occurs = true > 0
    if not bool(occurs.any()):
        return {"miou": nan, "accuracy": nan, "mean_accuracy": nan}
    return {
        "miou": float((right / (true + predicted - right))[occurs].mean()),
        "accuracy": float(right.sum() / counts.sum()),
        "mean_accuracy": float((right / true)[occurs].mean()),
    }


def class_ious(counts: Int[Tensor, "c c"]) -> list[float]:
    """Intersection over union of every class; NaN for one that no true pixel has."""
    counts = counts.double()
    true, right = counts.sum(1), counts.diagonal()
    iou = right / (true + counts.sum(0) - right)
    return torch.where(true > 0, iou, nan).tolist()


def _root_mean_square(values: Float[Tensor, "..."]) -> float:
    return sqrt(float(values.square().mean()))
