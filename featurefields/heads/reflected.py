"""Colour as matter plus reflection, shaded once per pixel (deferred).

Letters: n Gaussians · h w pixels · k harmonics.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.heads.lights import LightMap, LightNetwork
from featurefields.heads.walls import Walls
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.maths.compositing import over_alpha
from featurefields.maths.harmonic_rows import ROWS_DEGREE, harmonic_rows
from featurefields.maths.harmonics import harmonics, harmonics_count
from featurefields.maths.reflections import reflect, reflectance_factors
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

SKY_DEGREE = 3
DIELECTRIC = 0.04
"""Reflectance at normal incidence of glass, lacquer, plastic, water (index of refraction about 1.5)."""


class ReflectedHead(Head):
    """rgb = tone(max(0, matter + distant + near)), all in linear light.

    - matter: diffuse light that leaves a surface the same in all directions, and the sky;
    - distant: gloss (tint a + b) light(reflected direction, roughness): what a surface of reflectance `tint` at
      normal incidence mirrors of the surroundings, which all surfaces share; a and b carry the Fresnel effect. With
      `walls` the direction is that in which the centre of `Walls` sees what the reflected ray hits;
    - near: what single Gaussians mirror beyond that (other things, light that is blocked), harmonics of degree
      1..`near` of the reflected direction times the gloss, with zero mean over the directions a Gaussian is seen
      from, so that no matter can hide in them; surfaces that mirror less than glass have less of it. `near` = 0
      leaves it out.

    `tone` is the sRGB curve, continued above 1 (pictures are clipped when they are written). Matter, tint, gloss,
    normal, roughness, place and near light are drawn in one pass; light is looked up once per pixel, from their
    means over what covers the pixel (deferred shading, as in 3DGS-DR, Ye et al. 2024). It is a `LightMap`, or with
    `light="network"` a `LightNetwork`.

    Columns: "diffuse", "tint" (n 3), "gloss" and "roughness" (n 1), all logits, "normals" (n 3) of any length,
    with `near` > 0 "near" (n k 3) and "near_centre" (n k).

    Layers: "total", "indep" (matter), "dep" (reflection), "distant" (its distant part alone) and "near" (as much
    again, signed), display-referred sRGB; "normal" (unit, world), "roughness" (0..1), "tint" (reflectance at normal
    incidence, gloss included).
    """

    kind = "reflected"

    def __init__(
        self,
        light: Literal["map", "network"] = "map",
        sky: bool = True,
        near: int = 3,
        hidden: int = 32,
        walls: bool = False,
    ) -> None:
        super().__init__()
        self.light_kind, self.sky, self.near, self.hidden = light, sky, near, hidden
        self.light = LightMap() if light == "map" else LightNetwork(hidden)
        self.walls = Walls() if walls else None
        self.background = nn.Parameter(torch.zeros(harmonics_count(SKY_DEGREE), 3), requires_grad=sky)
        self.light_from_world: Tensor
        self.register_buffer("light_from_world", torch.eye(3))

    @property
    def reads(self) -> tuple[str, ...]:
        near = ("near", "near_centre") if self.near else ()
        return ("diffuse", "tint", "gloss", "normals", "roughness", *near)

    def initial_columns(
        self, colours: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> dict[str, Tensor]:
        """Columns that show sRGB `colours` as matter under a dull coat of lacquer."""
        n, k = len(colours), harmonics_count(self.near) - 1
        columns = {
            "diffuse": logit_from_diffuse(linear_from_srgb(colours)),
            "tint": torch.logit(colours.new_full((n, 3), DIELECTRIC)),
            "gloss": colours.new_full((n, 1), 2.0),
            "normals": normalize(normals, dim=-1),
            "roughness": colours.new_zeros(n, 1),
        }
        if self.near:
            columns |= {"near": colours.new_zeros(n, k, 3), "near_centre": colours.new_zeros(n, k)}
        return columns

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        del columns
        k = harmonics_count(self.near) - 1
        shapes = {"diffuse": (3,), "tint": (3,), "gloss": (1,), "normals": (3,), "roughness": (1,)}
        return shapes | ({"near": (k, 3), "near_centre": (k,)} if self.near else {})

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        columns = splats.columns
        gloss = torch.sigmoid(columns["gloss"])
        towards = normalize(splats.means - camera.position, dim=-1)
        return torch.cat(
            [
                diffuse_from_logit(columns["diffuse"]),
                gloss * torch.sigmoid(columns["tint"]),
                gloss,
                normalize(columns["normals"], dim=-1),
                torch.sigmoid(columns["roughness"]),
                splats.means.detach(),
                self.near_light(splats, towards),
            ],
            dim=-1,
        )

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        directions = camera.directions().to(pixels)
        return self._shaded(pixels, alpha, directions, self._uncovered(alpha, directions))

    def at_gaussians(self, splats: Splats, camera: Camera) -> Layers:
        towards = normalize(splats.means - camera.position, dim=-1)
        channels = self.splat(splats, camera)
        return self._shaded(channels, channels.new_ones(len(channels)), towards, torch.zeros_like(towards))

    def _shaded(
        self,
        pixels: Float[Tensor, "... c"],
        alpha: Float[Tensor, "..."],
        directions: Float[Tensor, "... 3"],
        uncovered: Float[Tensor, "... 3"],
    ) -> Layers:
        """Layers of what is seen along unit `directions`, before `uncovered` linear light."""
        diffuse, near = pixels[..., :3], pixels[..., -3:]
        parts = over_alpha(pixels[..., 3:-3], alpha).split([3, 1, 3, 1, 3], dim=-1)
        tint, gloss, normals, roughness, places = parts
        normals = normalize(normals, dim=-1)
        matter = diffuse + uncovered
        distant = alpha[..., None] * self.distant_light(
            places.detach(), directions, normals, tint, gloss, roughness
        )
        return {
            "total": srgb_from_linear(relu(matter + distant + near)),
            "indep": srgb_from_linear(matter),
            "dep": srgb_from_linear(relu(distant + near)),
            "distant": srgb_from_linear(matter + distant) - srgb_from_linear(matter),
            "near": torch.sign(near) * srgb_from_linear(near.abs()),
            "normal": normals,
            "roughness": roughness,
            "tint": tint,
        }

    def distant_light(
        self,
        places: Float[Tensor, "... 3"],
        towards: Float[Tensor, "... 3"],
        normals: Float[Tensor, "... 3"],
        tint: Float[Tensor, "... 3"],
        gloss: Float[Tensor, "... 1"],
        roughness: Float[Tensor, "... 1"],
    ) -> Float[Tensor, "... 3"]:
        """Linear light of the surroundings that surfaces at world `places`, seen along unit `towards`, mirror.

        `tint` includes the gloss, as it is drawn.
        """
        facing = -(towards * normals).sum(-1, keepdim=True)
        scale, bias = reflectance_factors(roughness, facing)
        leaving = reflect(towards, normals)
        if self.walls is None:
            direction = leaving @ self.light_from_world.T
        else:
            direction = self.walls(places, leaving)
        return (tint * scale + gloss * bias) * self.light(direction, roughness)

    def near_light(self, splats: Splats, towards: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Linear light, of either sign, that every Gaussian adds when seen along unit `towards`."""
        if not self.near:
            return torch.zeros_like(towards)
        columns = splats.columns
        basis = self.near_basis(splats, towards) - columns["near_centre"]
        tint = torch.sigmoid(columns["tint"]).mean(-1, keepdim=True).detach()
        glossy = torch.sigmoid(columns["gloss"]).detach() * (tint / DIELECTRIC).clamp(max=1)
        return glossy * torch.einsum("nk,nkc->nc", basis, columns["near"])

    def near_basis(self, splats: Splats, towards: Float[Tensor, "n 3"]) -> Float[Tensor, "n k"]:
        """Harmonics of the reflected direction; they teach neither places nor normals."""
        normals = normalize(splats.columns["normals"].detach(), dim=-1)
        leaving = reflect(towards.detach(), normals) @ self.light_from_world.T
        if self.near > ROWS_DEGREE:
            return harmonics(leaving, tuple(range(1, self.near + 1)))
        return harmonic_rows(leaving.T.contiguous(), self.near)[1:].T

    @torch.no_grad()
    def near_centre(self, splats: Splats, positions: Float[Tensor, "v 3"]) -> Float[Tensor, "n k"]:
        """Means of `near_basis` over viewpoints, those that see a Gaussian's front weighted by its foreshortening."""
        normals = normalize(splats.columns["normals"], dim=-1)
        total, weights = (
            torch.zeros_like(splats.columns["near_centre"]),
            torch.zeros_like(splats.means[:, :1]),
        )
        for position in positions.to(splats.means):
            towards = normalize(splats.means - position, dim=-1)
            weight = -(towards * normals).sum(-1, keepdim=True).clamp(max=-1e-3)
            total, weights = total + weight * self.near_basis(splats, towards), weights + weight
        return total / weights

    def sky_light(self, directions: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
        """Linear light of what no Gaussian covers."""
        basis = harmonics(directions @ self.light_from_world.T, tuple(range(SKY_DEGREE + 1)))
        return diffuse_from_logit(basis @ self.background) if self.sky else torch.zeros_like(directions)

    def _uncovered(
        self, alpha: Float[Tensor, "h w"], directions: Float[Tensor, "h w 3"]
    ) -> Float[Tensor, "h w 3"]:
        """Sky where the Gaussians leave it visible; evaluated only there."""
        light = torch.zeros_like(directions)
        seen = alpha < 1 - 1e-3
        if self.sky:
            light[seen] = (1 - alpha[seen])[:, None] * self.sky_light(directions[seen])
        return light

    def matter(self, splats: Splats) -> Float[Tensor, "n 3"]:
        return srgb_from_linear(diffuse_from_logit(splats.columns["diffuse"]))

    def config(self) -> dict[str, Any]:
        return {
            "light": self.light_kind,
            "sky": self.sky,
            "near": self.near,
            "hidden": self.hidden,
            "walls": self.walls is not None,
        }

    def in_moved_world(self, similarity: Similarity) -> "ReflectedHead":
        """The same light and sky for a world that was moved by `similarity`."""
        moved = copy.deepcopy(self)
        moved.light_from_world = self.light_from_world @ similarity.rotation.T.to(self.light_from_world)
        if moved.walls is not None:
            moved.walls.move(similarity)
        return moved

    def without_surroundings(self) -> "ReflectedHead":
        """The same reflections on black."""
        alone = copy.deepcopy(self)
        alone.sky = False
        return alone

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """Normals turn; what is mirrored belongs to the surroundings and stays."""
        return super().turned(columns, rotation) | {"normals": columns["normals"] @ rotation.T}


def diffuse_from_logit(logit: Tensor) -> Tensor:
    """Linear diffuse light in 0..1; the square makes steps of the logit about even to the eye."""
    return torch.sigmoid(logit) ** 2


def logit_from_diffuse(diffuse: Tensor) -> Tensor:
    """The inverse of `diffuse_from_logit`, kept away from 0 and 1 so that it stays finite."""
    return torch.logit(diffuse.clamp(0, 1).sqrt().clamp(0.01, 0.995))
