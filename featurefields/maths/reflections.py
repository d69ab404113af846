"""Reflected directions and their integrated directional encoding (IDE).

Letters: `...` any batch · k encoding functions.

The IDE (Verbin et al. 2022, "Ref-NeRF") is the mean of spherical harmonics over a von Mises-Fisher lobe around
the reflected direction: to a good approximation Y_lm(w) exp(-l(l+1)/2 / kappa) with concentration kappa. Orders
1, 2, 4, 8 are kept. Real harmonics are used: sine and cosine parts with m > 0 carry the factor sqrt(2) and the
sine parts with m = 0, which are zero, are not stored, so that 34 numbers remain and without attenuation their
norm is the same in every direction.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.maths.harmonics import harmonics, polar_polynomials

ORDERS = (1, 2, 4, 8)
IDE_DIM = sum(2 * order + 1 for order in ORDERS)


def reflect(towards: Float[Tensor, "... 3"], normals: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """Unit directions in which light travelling along `towards` leaves a mirror with unit `normals`."""
    along = (towards * normals).sum(-1, keepdim=True)
    return torch.nn.functional.normalize(towards - 2 * along * normals, dim=-1)


def lobe_width(roughness: Float[Tensor, "... 1"]) -> Float[Tensor, "... 1"]:
    """1/kappa of the reflected lobe of a surface with perceptual roughness (square root of the GGX alpha) in 0..1.

    A GGX lobe of half-vectors is close to a spherical Gaussian of sharpness 2/alpha^2, which reflection widens
    fourfold at normal incidence (Wang et al. 2009): kappa = 1/(2 alpha^2).
    """
    return 2 * roughness**4


def reflectance_factors(
    roughness: Float[Tensor, "... 1"], facing: Float[Tensor, "... 1"]
) -> tuple[Float[Tensor, "... 1"], Float[Tensor, "... 1"]]:
    """(scale, bias): a surface with reflectance f at normal incidence mirrors f scale + bias of the light in its lobe.

    `facing` is the cosine between normal and view. The analytic fit to the integral of the GGX lobe with Schlick's
    Fresnel term by Karis ("Physically Based Shading on Mobile", 2014), of perceptual roughness.
    """
    smooth = 1 - roughness
    y, z, w = 0.0425 - 0.0275 * roughness, 1.04 - 0.572 * roughness, 0.022 * roughness - 0.04
    a = torch.minimum(smooth * smooth, torch.exp2(-9.28 * facing.clamp(min=0))) * smooth + y
    return z - 1.04 * a, (1.04 * a + w).clamp(min=0)


def ide(directions: Float[Tensor, "... 3"], inverse_kappa: Float[Tensor, "... 1"]) -> Float[Tensor, "... k"]:
    """Integrated directional encoding of unit directions for lobes of width `inverse_kappa` >= 0; k = 34.

    float32 on the CPU is computed by compiled kernels (`ide_kernel`), everything else by `ide_by_formula`.
    """
    compiled = all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32
        for tensor in (directions, inverse_kappa)
    )
    if not compiled or directions.numel() == 0:
        return ide_by_formula(directions, inverse_kappa)
    from featurefields.maths.ide_kernel import IdeFunction

    widths = inverse_kappa.expand(*directions.shape[:-1], 1)
    flat = IdeFunction.apply(directions.reshape(-1, 3), widths.reshape(-1, 1), *_kernel_tables())
    return flat.reshape(*directions.shape[:-1], IDE_DIM)  # type: ignore[union-attr]


def ide_by_formula(
    directions: Float[Tensor, "... 3"], inverse_kappa: Float[Tensor, "... 1"]
) -> Float[Tensor, "... k"]:
    """`ide` in plain tensor operations: the definition, for any device and dtype."""
    rates = torch.tensor([order * (order + 1) / 2 for order in ORDERS for _ in range(2 * order + 1)])
    return harmonics(directions, ORDERS) * torch.exp(-rates.to(directions) * inverse_kappa)


@lru_cache(maxsize=1)
def _kernel_tables() -> tuple[NDArray, NDArray]:
    """Orders, and the polynomial coefficients of every (order, m >= 0), lowest power first."""
    coefficients = polar_polynomials(ORDERS)[0].numpy().T
    return np.array(ORDERS), np.ascontiguousarray(coefficients, dtype=np.float32)
