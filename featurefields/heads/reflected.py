"""Colour as matter plus reflection, shaded once per pixel (deferred).

Letters: n Gaussians · h w pixels · k encoding functions.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.maths.compositing import over_alpha
from featurefields.maths.harmonics import harmonics, harmonics_count
from featurefields.maths.reflections import IDE_DIM, ide, lobe_width, reflect
from featurefields.splats import Splats

SKY_DEGREE = 3


class ReflectedHead(Head):
    """rgb = tone(diffuse + tint * light(IDE(reflected direction, roughness), n·v) + uncovered * sky).

    Everything inside the parentheses is non-negative linear light; `tone` is the sRGB curve, continued above 1
    (pictures are clipped when they are written). Diffuse colour, tint, normal and roughness are drawn in one pass;
    the reflected light, a small network shared by the scene, is evaluated once per pixel from their means over what
    covers the pixel, after Ref-NeRF (Verbin et al. 2022) and deferred 3DGS.

    Columns: "diffuse" (n 3) and "roughness" (n 1) logits, "tint" (n 3) logarithms, "normals" (n 3) of any
    length. With `latent` > 0 the light also sees a code of so many numbers that every Gaussian carries (column
    "latent"): it can tell near reflections apart, but lets matter leak into the reflections.

    Layers: "total", "indep" (diffuse and sky), "dep" (reflection), display-referred sRGB, and "normal" (unit,
    world), "roughness" (0..1), "tint" (linear).
    """

    kind = "reflected"

    def __init__(self, hidden: int = 32, sky: bool = True, latent: int = 0) -> None:
        super().__init__()
        self.hidden, self.sky, self.latent = hidden, sky, latent
        self.light = nn.Sequential(
            nn.Linear(IDE_DIM + 1 + latent, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 3),
        )
        self.background = nn.Parameter(torch.zeros(harmonics_count(SKY_DEGREE), 3), requires_grad=sky)
        self.light_from_world: Tensor
        self.register_buffer("light_from_world", torch.eye(3))

    @property
    def reads(self) -> tuple[str, ...]:
        return ("diffuse", "tint", "normals", "roughness", *(["latent"] if self.latent else []))

    @staticmethod
    def initial_columns(colours: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
        """Columns that show sRGB `colours` as matter with hardly any reflection."""
        n = len(colours)
        return {
            "diffuse": logit_from_diffuse(linear_from_srgb(colours)),
            "tint": colours.new_full((n, 3), -3.0),
            "normals": torch.nn.functional.normalize(normals, dim=-1),
            "roughness": colours.new_zeros(n, 1),
        }

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        shapes = {"diffuse": (3,), "tint": (3,), "normals": (3,), "roughness": (1,)}
        return shapes | ({"latent": (self.latent,)} if self.latent else {})

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        columns = splats.columns
        return torch.cat(
            [
                diffuse_from_logit(columns["diffuse"]),
                torch.exp(columns["tint"]),
                torch.nn.functional.normalize(columns["normals"], dim=-1),
                torch.sigmoid(columns["roughness"]),
                *([columns["latent"]] if self.latent else []),
            ],
            dim=-1,
        )

    def reflected_light(
        self,
        towards: Float[Tensor, "... 3"],
        normals: Float[Tensor, "... 3"],
        roughness: Float[Tensor, "... 1"],
        latent: Float[Tensor, "... l"] | None = None,
    ) -> Float[Tensor, "... 3"]:
        """Linear light that surfaces with unit normals send back along unit viewing directions `towards`."""
        facing = -(towards * normals).sum(-1, keepdim=True)
        leaving = reflect(towards, normals) @ self.light_from_world.T
        code = ide(leaving, lobe_width(roughness))
        seen = [code, facing, *([latent] if latent is not None and self.latent else [])]
        return torch.nn.functional.softplus(self.light(torch.cat(seen, dim=-1)))

    def sky_light(self, directions: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
        """Linear light of what no Gaussian covers."""
        basis = harmonics(directions @ self.light_from_world.T, tuple(range(SKY_DEGREE + 1)))
        return diffuse_from_logit(basis @ self.background) if self.sky else torch.zeros_like(directions)

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        diffuse = pixels[..., :3]
        tint, normals, roughness, latent = over_alpha(pixels[..., 3:], alpha).split(
            [3, 3, 1, self.latent], dim=-1
        )
        normals = torch.nn.functional.normalize(normals, dim=-1)
        directions = camera.directions().to(pixels)
        light = self.reflected_light(directions, normals, roughness, latent)
        matter = diffuse + self._uncovered(alpha, directions)
        reflection = alpha[..., None] * tint * light
        return {
            "total": srgb_from_linear(matter + reflection),
            "indep": srgb_from_linear(matter),
            "dep": srgb_from_linear(reflection),
            "normal": normals,
            "roughness": roughness,
            "tint": tint,
        }

    def _uncovered(
        self, alpha: Float[Tensor, "h w"], directions: Float[Tensor, "h w 3"]
    ) -> Float[Tensor, "h w 3"]:
        """Sky where the Gaussians leave it visible; evaluated only there."""
        light = torch.zeros_like(directions)
        seen = alpha < 1 - 1e-3
        if self.sky:
            light[seen] = (1 - alpha[seen])[:, None] * self.sky_light(directions[seen])
        return light

    def config(self) -> dict[str, Any]:
        return {"hidden": self.hidden, "sky": self.sky, "latent": self.latent}

    def in_turned_world(self, rotation: Float[Tensor, "3 3"]) -> "ReflectedHead":
        """The same light and sky for a world that was turned by `rotation`."""
        turned = copy.deepcopy(self)
        turned.light_from_world = self.light_from_world @ rotation.T.to(self.light_from_world)
        return turned

    def without_surroundings(self) -> "ReflectedHead":
        """The same reflections on black."""
        alone = copy.deepcopy(self)
        alone.sky = False
        return alone

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """Normals turn; the reflected light belongs to the surroundings and stays."""
        return super().turned(columns, rotation) | {"normals": columns["normals"] @ rotation.T}


def diffuse_from_logit(logit: Tensor) -> Tensor:
    """Linear diffuse light in 0..1; the square makes steps of the logit about even to the eye."""
    return torch.sigmoid(logit) ** 2


def logit_from_diffuse(diffuse: Tensor) -> Tensor:
    """The inverse of `diffuse_from_logit`, kept away from 0 and 1 so that it stays finite."""
    return torch.logit(diffuse.clamp(0, 1).sqrt().clamp(0.01, 0.995))
