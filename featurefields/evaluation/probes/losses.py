"""What probes minimise.

Letters: b batch · h w pixels.

Pixels that are not valid never count: they may hold anything.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, elu, softplus

LAMBDA = 0.85
"""How little a common factor of all depths costs: 1 would make the loss blind to it (Eigen et al. 2014)."""
EPSILON = 1e-3
"""Added to depths (metres) before the logarithm."""
STRIDES = (1, 2, 4, 6)
"""Every so-manieth pixel is looked at by the gradient loss, at four scales."""
EDGE = 1e-4
"""Cosines are kept so far from 1, where the arc cosine is steep."""
LEAST_KAPPA = 0.01


def sig_loss(
    predicted: Float[Tensor, "*b h w"], true: Float[Tensor, "*b h w"], valid: Bool[Tensor, "*b h w"]
) -> Float[Tensor, ""]:
    """Scaled scale-invariant loss of depths: sqrt(mean g² - 0.85 (mean g)²), g = ln predicted - ln true.

    Eigen et al. 2014 as AdaBins (Bhat et al. 2021) and the linear probes of DINOv2 use it, over all valid pixels of the
    batch.
    """
    g = torch.log(predicted[valid] + EPSILON) - torch.log(true[valid] + EPSILON)
    return (g.square().mean() - LAMBDA * g.mean().square()).clamp(min=1e-12).sqrt()


def scale_loss(
    predicted: Float[Tensor, "*b h w"], true: Float[Tensor, "*b h w"], valid: Bool[Tensor, "*b h w"]
) -> Float[Tensor, ""]:
    """The part of `sig_loss` that sees only the common factor; the first steps of the official schedule use it."""
    g = torch.log(predicted[valid] + EPSILON) - torch.log(true[valid] + EPSILON)
    return ((1 - LAMBDA) * g.mean().square()).clamp(min=1e-12).sqrt()


def gradient_loss(
    predicted: Float[Tensor, "*b h w"], true: Float[Tensor, "*b h w"], valid: Bool[Tensor, "*b h w"]
) -> Float[Tensor, ""]:
    """Differences of g = ln predicted - ln true between pixels two apart, at four scales (Li and Snavely 2018).

    The sum over both directions of |g(i) - g(i + 2)| where both ends are valid, over the number of valid pixels, summed
    over the pictures with every pixel, every second, fourth and sixth.
    """
    valid = valid.to(predicted.dtype)
    g = (torch.log(predicted.clamp(min=0) + EPSILON) - torch.log(true.clamp(min=0) + EPSILON)) * valid
    total = predicted.new_zeros(())
    for stride in STRIDES:
        part, known = g[..., ::stride, ::stride], valid[..., ::stride, ::stride]
        down = (part[..., 2:, :] - part[..., :-2, :]).abs() * known[..., 2:, :] * known[..., :-2, :]
        across = (part[..., 2:] - part[..., :-2]).abs() * known[..., 2:] * known[..., :-2]
        total = total + (down.sum() + across.sum()) / known.sum().clamp(min=1)
    return total


def angular_loss(
    predicted: Float[Tensor, "b 4 h w"], true: Float[Tensor, "b h w 3"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Negative log likelihood of angles with a concentration kappa per pixel (Bae et al. 2021), without constants.

    kappa a - ln(kappa² + 1) + ln(1 + exp(-kappa pi)), a the angle between the first three channels and the truth,
    kappa = elu(fourth channel) + 1.01; the mean over valid pixels.
    """
    output = predicted.movedim(1, -1)[valid]
    cosine = cosine_similarity(output[:, :3], true[valid], dim=-1)
    angle = cosine.clamp(-1 + EDGE, 1 - EDGE).acos()
    kappa = elu(output[:, 3]) + 1 + LEAST_KAPPA
    return (kappa * angle - torch.log(kappa.square() + 1) + softplus(-kappa * math.pi)).mean()


def label_loss(
    logits: Float[Tensor, "b c h w"], true: Int[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Cross entropy over the valid pixels of the batch."""
    return cross_entropy(logits.movedim(1, -1)[valid], true[valid].long())
