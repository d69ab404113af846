"""Monocular depth from the transformers library: Depth Anything, DPT (MiDaS), GLPN, ZoeDepth and others.

Letters: h w pixels.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.foreign_json import parsed
from featurefields.vision.hub import weights_folder
from featurefields.vision.transformers_backbone import one_line, picture_statistics, quiet_transformers

_SIDE, _MULTIPLE = 384, 32
"""Shorter side that a network sees, and what both sides are multiples of, where its settings do not tell."""


class DepthModel:
    """A network from one picture to a number at every pixel that grows, or falls, with depth.

    Whether the numbers are depths or inverse depths, and on what scale, is for the caller to find out: networks differ
    and few say.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        side: int = _SIDE,
        multiple: int = _MULTIPLE,
    ) -> None:
        self.model = model.eval()
        self.mean, self.std, self.side, self.multiple = mean, std, side, multiple

    @torch.no_grad()
    def __call__(self, picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
        """The network's numbers for an sRGB picture in 0..1, at its size and on its device."""
        height, width = picture.shape[1:]
        device = next(self.model.parameters()).device
        seen = interpolate(
            picture[None].to(device), self._size(height, width), mode="bicubic", antialias=True
        ).clamp(0, 1)
        mean, std = (torch.tensor(values).to(seen)[:, None, None] for values in (self.mean, self.std))
        found = self.model(pixel_values=(seen - mean) / std).predicted_depth
        return interpolate(found.float().reshape(1, 1, *found.shape[-2:]), (height, width), mode="bilinear")[
            0, 0
        ].to(picture)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that the network sees: the shorter side as it was trained, both in whole patches."""
        ratio = self.side / min(height, width)
        rows, columns = (
            max(1, round(extent * ratio / self.multiple)) * self.multiple for extent in (height, width)
        )
        return rows, columns


def load_depth_model(name: str, *, device: torch.device | str = "cpu") -> DepthModel:
    """The depth network in a local folder, or of a hub id; safetensors weights only, in single precision.

    Raises:
        UnavailableError: transformers is missing, the hub cannot be reached, or the model has no safetensors.
        FileFormatError: the folder holds no readable depth network, or its weights are incomplete.
    """
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError as error:
        raise UnavailableError(
            f"depth model '{name}' needs the transformers library: {error}; install it with: pip install transformers"
        ) from error
    folder = weights_folder(name, "depth model")
    try:
        with quiet_transformers():
            model, report = AutoModelForDepthEstimation.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # transformers' and safetensors' errors have no common type
        raise FileFormatError(
            f"cannot load depth model '{name}' from {folder}: {one_line(error)}; check that it is a network for depth "
            "estimation and complete"
        ) from error
    lost = sorted(report["missing_keys"])
    if lost:
        raise FileFormatError(
            f"depth model '{name}' in {folder} lacks {len(lost)} weights such as {lost[0]}; use a complete checkpoint"
        )
    mean, std = picture_statistics(folder)
    side, multiple = _seen_size(folder, model.config)
    return DepthModel(
        model.float().to(device).requires_grad_(False), mean=mean, std=std, side=side, multiple=multiple
    )


def _seen_size(folder: Path, config: Any) -> tuple[int, int]:
    """Shorter side and multiple that the network's picture settings name, or usual ones."""
    path = folder / "preprocessor_config.json"
    try:
        settings = parsed(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise FileFormatError(f"{path} is no JSON ({one_line(error)}); restore the file") from error
    size = settings.get("size") or {}
    side = min((size.get(key, 0) for key in ("height", "width")), default=0) or size.get("shortest_edge", 0)
    patch = getattr(config, "patch_size", None) or getattr(
        getattr(config, "backbone_config", None), "patch_size", None
    )
    multiple = settings.get("ensure_multiple_of") or patch or _MULTIPLE
    return int(side or _SIDE), max(1, int(multiple))
