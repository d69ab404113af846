"""The field as an ordinary splat: what `ns-export gaussian-splat` and the viewer read of a splat model.

Letters: n Gaussians · k harmonics.
"""

from abc import abstractmethod
from functools import cached_property

import torch
from jaxtyping import Float
from nerfstudio.models.splatfacto import SplatfactoModel
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from featurefields.editing.baking import bake_harmonics
from featurefields.field import FeatureField
from featurefields.maths.harmonics import CONSTANT
from featurefields.splats import Splats

COLOURS = ("baked", "shs_0", "shs_rest", "features_dc", "features_rest", "colors")


class OrdinarySplats(SplatfactoModel):
    """A `SplatfactoModel` by name, because nerfstudio asks for one; nothing of that class is used.

    Everything here is in the frame of nerfstudio's own world. Derived tensors are kept until `forget`.
    """

    @property
    @abstractmethod
    def moved(self) -> FeatureField | None:
        """The field as it is now, in nerfstudio's world; None before there is one."""

    @cached_property
    def baked(self) -> Splats:
        """The field's Gaussians with spherical harmonics, without its sky."""
        assert self.moved is not None, "there is no field yet"
        CONSOLE.log("baking the colours into spherical harmonics; on a CPU this takes a minute or more")
        with torch.no_grad():
            return bake_harmonics(self.moved, self.config.sh_degree)

    def forget(self) -> None:
        """Derive everything anew when it is asked for."""
        for name in COLOURS:
            self.__dict__.pop(name, None)

    @property
    def means(self) -> Float[Tensor, "n 3"]:
        return torch.zeros(0, 3) if self.moved is None else self.moved.splats.means.detach()

    @property
    def quats(self) -> Float[Tensor, "n 4"]:
        return torch.zeros(0, 4) if self.moved is None else self.moved.splats.quats.detach()

    @property
    def scales(self) -> Float[Tensor, "n 3"]:
        """Logarithms, as nerfstudio keeps them."""
        return torch.zeros(0, 3) if self.moved is None else self.moved.splats.log_scales.detach()

    @property
    def opacities(self) -> Float[Tensor, "n 1"]:
        """Logits, as nerfstudio keeps them."""
        return torch.zeros(0, 1) if self.moved is None else self.moved.splats.opacity_logits.detach()[:, None]

    # Colours need baking, which takes seconds; the viewer looks at every property when it starts, but at no cached one.

    @cached_property
    def shs_0(self) -> Float[Tensor, "n 3"]:
        return self.baked.columns["harmonics"][:, 0]

    @cached_property
    def shs_rest(self) -> Float[Tensor, "n k 3"]:
        return self.baked.columns["harmonics"][:, 1:]

    @cached_property
    def features_dc(self) -> Float[Tensor, "n 3"]:
        return self.shs_0

    @cached_property
    def features_rest(self) -> Float[Tensor, "n k 3"]:
        return self.shs_rest

    @cached_property
    def colors(self) -> Float[Tensor, "n 3"]:
        return (self.shs_0 * CONSTANT + 0.5).clamp(0, 1)
