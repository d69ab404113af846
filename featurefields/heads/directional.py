"""Features with a view-independent part and one linear in functions of the reflected direction.

Letters: n Gaussians · d feature dimension · k directional functions · h w pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.compositing import over_alpha
from featurefields.maths.harmonics import harmonics, harmonics_count, turn_harmonics
from featurefields.maths.reflections import reflect
from featurefields.splats import Splats


class DirectionalHead(Head):
    """f = f_indep + sum_k (Y_k(w) - mean_k) h_k, w the viewing direction reflected at the Gaussian's normal.

    Columns: `<name>` (n d) is f_indep; `<name>_dep` (n k d) is h; `<name>_centre` (n k) is the mean of Y_k over
    the directions the Gaussian was seen from, so that the reflective part averages to zero over them and
    nothing view-independent can hide in it. Uses column "normals" (n 3) where there is one, otherwise the
    viewing direction itself. k = 3 for degree 1, 8 for degree 2, 15 for degree 3.

    Where f_indep is known from elsewhere (from pictures without reflections), what reflections add on average over
    all directions belongs to them: with `constant` the first function is 1, its mean_k is 0, and k is one more.
    """

    kind = "directional"

    def __init__(self, name: str = "feature", degree: int = 1, constant: bool = False) -> None:
        super().__init__()
        self.name, self.degree, self.constant = name, degree, constant

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}_dep", f"{self.name}_centre")

    def basis(self, splats: Splats, camera: Camera) -> Float[Tensor, "n k"]:
        """Y_k of the reflected viewing direction of every Gaussian, not centred."""
        directions = torch.nn.functional.normalize(splats.means - camera.position, dim=-1)
        if "normals" in splats.columns:
            directions = reflect(directions, torch.nn.functional.normalize(splats.columns["normals"], dim=-1))
        functions = harmonics(directions, tuple(range(1, self.degree + 1)))
        return (
            torch.cat([torch.ones_like(functions[:, :1]), functions], dim=-1) if self.constant else functions
        )

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        d, k = columns[self.name].shape[-1], harmonics_count(self.degree) - (not self.constant)
        return dict(zip(self.reads, [(d,), (k, d), (k,)], strict=True))

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        indep, slopes, centre = (splats.columns[name] for name in self.reads)
        dep = torch.einsum("nk,nkd->nd", self.basis(splats, camera) - centre, slopes)
        return torch.cat([indep, dep], dim=-1)

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        indep, dep = over_alpha(pixels, alpha).chunk(2, dim=-1)
        return {"total": indep + dep, "indep": indep, "dep": dep}

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "degree": self.degree, "constant": self.constant}

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """Turned slopes, centres and, where there are any, normals."""
        name_dep, name_centre = self.reads[1:]
        slopes, centre = columns[name_dep], columns[name_centre]
        both = torch.cat([slopes, centre[..., None]], dim=-1)
        if not self.constant:
            both = torch.cat([torch.zeros_like(both[:, :1]), both], dim=1)
        turned = turn_harmonics(both, rotation)[:, not self.constant :]
        normals = {"normals": columns["normals"] @ rotation.T} if "normals" in columns else {}
        own = {self.name: columns[self.name], name_dep: turned[..., :-1], name_centre: turned[..., -1]}
        return own | normals
