"""Colour of an ordinary 3D Gaussian splat file: spherical harmonics of the viewing direction.

Letters: n Gaussians · k harmonics · h w pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.harmonics import CONSTANT, harmonics, harmonics_count, turn_harmonics
from featurefields.splats import Splats


class HarmonicsHead(Head):
    """Reads column "harmonics" (n k 3), k = (degree + 1)^2; colour = max(0, 0.5 + sum_k Y_k(direction) h_k).

    Colours are display-referred (sRGB) and composited as they are, as splat viewers do. The layer "indep" is
    the constant band alone, "dep" what the others add to it.
    """

    kind = "harmonics"

    def __init__(self, degree: int = 3) -> None:
        super().__init__()
        self.degree = degree

    @property
    def reads(self) -> tuple[str, ...]:
        return ("harmonics",)

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        stored = columns["harmonics"].shape[1:2]
        return {"harmonics": (max((*stored, harmonics_count(self.degree))), 3)}

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        coefficients = splats.columns["harmonics"][:, : harmonics_count(self.degree)]
        directions = torch.nn.functional.normalize(splats.means - camera.position, dim=-1)
        basis = harmonics(directions, tuple(range(self.degree + 1)))
        terms = basis[..., None] * coefficients
        indep = (0.5 + terms[:, 0]).clamp(min=0)
        total = (0.5 + terms.sum(1)).clamp(min=0)
        return torch.cat([total, indep], dim=-1)

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        total, indep = pixels.split(3, dim=-1)
        return {"total": total, "indep": indep, "dep": total - indep}

    def matter(self, splats: Splats) -> Float[Tensor, "n 3"]:
        return (0.5 + CONSTANT * splats.columns["harmonics"][:, 0]).clamp(min=0)

    def config(self) -> dict[str, Any]:
        return {"degree": self.degree}

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """Turned harmonics, and turned "normals" where a PLY brought some along."""
        normals = {"normals": columns["normals"] @ rotation.T} if "normals" in columns else {}
        return {"harmonics": turn_harmonics(columns["harmonics"], rotation), **normals}
