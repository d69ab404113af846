"""Features with a view-independent part and one that a small network makes for every pixel.

Letters: n Gaussians · d feature dimension · l code dimension · h w pixels.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.compositing import over_alpha
from featurefields.maths.reflections import IDE_DIM, ide, lobe_width, reflect
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats


class DeferredHead(Head):
    """f = f_indep + network(code, IDE of the reflected direction, n·v), the network evaluated once per pixel.

    Columns: `<name>` (n d) is f_indep; `<name>_code` (n l) tells the network what it is looking at. Where there are
    columns "normals" (n 3) and "roughness" (n 1, logits), they shape the reflected lobe and are not changed; without
    normals the network sees the viewing direction itself, without roughness a mirror.

    After "Structurally Disentangled Feature Fields Distillation" (arXiv 2502.14789), deferred.
    """

    kind = "deferred"

    def __init__(self, name: str = "feature", dim: int = 32, code: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.name, self.dim, self.code, self.hidden = name, dim, code, hidden
        self.network = nn.Sequential(
            nn.Linear(code + IDE_DIM + 1, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
        )
        self.light_from_world: Tensor
        self.register_buffer("light_from_world", torch.eye(3))

    def start_at_nothing(self) -> None:
        """Make the view-dependent part zero everywhere, with gradients that let it grow."""
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}_code")

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        del columns
        return dict(zip(self.reads, [(self.dim,), (self.code,)], strict=True))

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        columns = splats.columns
        indep, code = (columns[name] for name in self.reads)
        blank = torch.zeros_like(splats.means)
        normals = normalize(columns["normals"], dim=-1) if "normals" in columns else blank
        roughness = torch.sigmoid(columns["roughness"]) if "roughness" in columns else blank[:, :1]
        return torch.cat([indep, code, normals, roughness], dim=-1)

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        means = over_alpha(pixels, alpha)
        layers = self._shaded(means, camera.directions().to(pixels))
        # the network answers for uncovered pixels too
        dep = over_alpha(alpha[..., None] * layers["dep"], alpha)
        return layers | {"total": layers["indep"] + dep, "dep": dep}

    def at_gaussians(self, splats: Splats, camera: Camera) -> Layers:
        return self._shaded(self.splat(splats, camera), normalize(splats.means - camera.position, dim=-1))

    def _shaded(self, channels: Float[Tensor, "... c"], towards: Float[Tensor, "... 3"]) -> Layers:
        """The layers of surfaces with these channels, seen along unit directions."""
        indep, code, normals, roughness = channels.split([self.dim, self.code, 3, 1], dim=-1)
        dep = self.reflected(towards, normalize(normals, dim=-1), roughness, code)
        return {"total": indep + dep, "indep": indep, "dep": dep}

    def reflected(
        self,
        towards: Float[Tensor, "... 3"],
        normals: Float[Tensor, "... 3"],
        roughness: Float[Tensor, "... 1"],
        code: Float[Tensor, "... l"],
    ) -> Float[Tensor, "... d"]:
        """What surfaces with unit normals (or none: zeros) show beyond f_indep, seen along unit `towards`."""
        facing = -(towards * normals).sum(-1, keepdim=True)
        leaving = reflect(towards, normals) @ self.light_from_world.T
        return self.network(torch.cat([code, ide(leaving, lobe_width(roughness)), facing], dim=-1))

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "code": self.code, "hidden": self.hidden}

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """Normals turn; what is reflected belongs to the surroundings and stays."""
        normals = {"normals": columns["normals"] @ rotation.T} if "normals" in columns else {}
        return super().turned(columns, rotation) | normals

    def in_moved_world(self, similarity: Similarity) -> "DeferredHead":
        """The same view-dependence for a world that was turned by `rotation`."""
        turned = copy.deepcopy(self)
        turned.light_from_world = self.light_from_world @ similarity.rotation.T.to(self.light_from_world)
        return turned
