"""What stands on the table, and what it is made of."""

from dataclasses import dataclass

import numpy as np

from .mitsuba_setup import mi
from .shapes import Array, Mesh, ball, box, ring, turned
from .textures import bands, confetti, crate, linear_from_srgb, parquet

SILVER = (0.97, 0.96, 0.92)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What a thing is made of: "matte" (Lambert), "coated" (Lambert under a GGX coat) or "metal"."""

    kind: str
    colour: tuple[float, float, float] | Array
    """sRGB, one colour or a texture; for metals linear reflectance at normal incidence."""
    alpha: float = 1.0

    @property
    def roughness(self) -> float:
        return 1.0 if self.kind == "matte" else float(np.sqrt(self.alpha))

    def reflectance(self, scale: float = 1.0) -> dict:
        colour = linear_from_srgb(np.asarray(self.colour, float)) * scale
        if colour.ndim == 1:
            return {"type": "rgb", "value": colour.tolist()}
        return {"type": "bitmap", "bitmap": mi.Bitmap(colour.astype(np.float32)), "raw": True}

    def lobe(self, part: str) -> dict:
        """Mitsuba description of the "diffuse" or the "specular" part alone, or of "all"."""
        black = {"type": "rgb", "value": 0.0}
        if self.kind == "metal":
            gloss = {"type": "rgb", "value": list(self.colour)}
            if part == "diffuse":
                return {"type": "diffuse", "reflectance": black}
            metal = {
                "material": "none",
                "specular_reflectance": gloss,
                "distribution": "ggx",
                "alpha": self.alpha,
            }
            return {"type": "roughconductor", **metal}
        if self.kind == "matte":
            return {"type": "diffuse", "reflectance": black if part == "specular" else self.reflectance()}
        if part == "diffuse":  # what the coat sends back on average is missing below it
            return {"type": "diffuse", "reflectance": self.reflectance(0.91)}
        below = self.reflectance() if part == "all" else black
        coat = {"distribution": "ggx", "alpha": self.alpha, "int_ior": 1.6, "diffuse_reflectance": below}
        return {"type": "roughplastic", **coat}


@dataclass(frozen=True)
class Thing:
    name: str
    mesh: Mesh
    surface: Surface
    place: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0


def things(rng: np.random.Generator) -> list[Thing]:
    """The table first, then five objects around its middle."""
    rim = [(0.9, -0.10), (0.99, -0.09), (1.0, -0.05), (0.99, -0.01), (0.96, 0.0)]
    slab = turned([(1e-5, -0.10), *rim, (1e-5, 0.0)], 193)
    slab = Mesh(slab.vertices, slab.faces, slab.vertices[:, :2] / 2.1 + 0.5)
    pot = turned([(1e-5, 0.0), (0.10, 0.0), (0.17, 0.10), (0.185, 0.20), (0.13, 0.33), (0.09, 0.39), (0.12, 0.44),
                  (0.105, 0.45), (0.07, 0.39), (1e-5, 0.36)])  # fmt: skip

    def spot(number: int) -> tuple[float, float]:
        angle = np.radians(72 * number + 20)
        return 0.56 * np.cos(angle), 0.56 * np.sin(angle)

    lacquer = Surface(kind="coated", colour=parquet(rng), alpha=0.09)
    clay = Surface(kind="matte", colour=bands(rng))
    glaze = Surface(kind="coated", colour=confetti(rng), alpha=0.02)
    plastic = Surface(kind="coated", colour=(0.88, 0.30, 0.05), alpha=0.05)
    silver = Surface(kind="metal", colour=SILVER, alpha=0.03)
    paint = Surface(kind="matte", colour=crate(rng))
    return [
        Thing("table", slab, lacquer),
        Thing("pot-bands-matte", pot, clay, spot(0), 40),
        Thing("ball-confetti-gloss", ball(0.19), glaze, spot(1), 100),
        Thing("ring-orange-gloss", ring(0.155, 0.075), plastic, spot(2)),
        Thing("ball-silver", ball(0.18), silver, spot(3)),
        Thing("box-crate-matte", box((0.16, 0.13, 0.14), 0.02), paint, spot(4), 25),
    ]
