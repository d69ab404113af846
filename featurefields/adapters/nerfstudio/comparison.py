"""Drawn pictures against photos, as `ff eval` compares them. Knows nothing of nerfstudio but the names in its batches.

Letters: h w pixels.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.evaluation.metrics import psnr, ssim


def truth(batch: Mapping[str, Any]) -> tuple[Float[Tensor, "h w 3"], Bool[Tensor, "h w"] | None]:
    """The photo of a batch, and which pixels count, where it says so."""
    mask = batch.get("mask")
    return batch["image"].cpu(), None if mask is None else mask[..., 0].cpu()


def compared(outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, float]:
    """`psnr` (dB) and `ssim` over the pixels that count."""
    image, mask = truth(batch)
    drawn = outputs["rgb"].detach().cpu()
    return {"psnr": psnr(drawn, image, mask), "ssim": ssim(drawn, image, mask)}
