"""A fit that starts from Gaussians that are there already: lifted ones, or those of an earlier fit.

Letters: n Gaussians · k harmonics.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.errors import FittingError
from featurefields.field import FeatureField
from featurefields.fitting.initialize import facing_normals
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.interface import Head
from featurefields.maths.harmonics import CONSTANT, harmonics_count
from featurefields.scene import Scene
from featurefields.splats import Splats


@dataclass(frozen=True)
class Start:
    """What a fit starts from.

    Attributes:
        splats: the geometry, without columns.
        colours: sRGB of every Gaussian.
        normals: unit, towards the cameras.
        head: the colours as a head of an earlier fit has them, or None.
        columns: that head's columns.
    """

    splats: Splats
    colours: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    head: Head | None = None
    columns: dict[str, Tensor] | None = None

    @staticmethod
    def of(field: FeatureField, scene: Scene) -> "Start":
        """The Gaussians of `field` in the frame of the scene's photos.

        Raises:
            FittingError: the field has no colours to start from.
        """
        rgb = field.heads.get("rgb")
        field = field.moved(field.about.world_from_capture.inverse).moved(scene.world_from_capture)
        splats = field.splats.detach()
        colours = None if rgb is None else rgb.matter(splats)
        if rgb is None or colours is None or len(splats) == 0:
            raise FittingError(
                f"--start needs Gaussians with colours; this field has {len(splats)} Gaussians and the heads "
                f"{', '.join(field.heads) or 'none'}"
            )
        normals = splats.columns.get("normals")
        if normals is None:
            normals = facing_normals(splats.means, splats.shortest_axes, scene.split("train"))
        columns = {name: splats.columns[name] for name in rgb.reads}
        if "normals" in splats.columns:
            columns["normals"] = splats.columns["normals"]
        geometry = Splats(splats.means, splats.quats, splats.log_scales, splats.opacity_logits)
        return Start(geometry, colours.clamp(0, 1), normalize(normals, dim=-1), field.heads["rgb"], columns)

    def columns_for(self, head: Head) -> dict[str, Tensor] | None:
        """The earlier fit's columns, and its head's state put into `head`, where both are of one make; else None."""
        if self.head is None or self.columns is None:
            return None
        if self.head.kind != head.kind or self.head.config() != head.config():
            return None
        head.load_state_dict(self.head.state_dict())
        return {name: value.clone() for name, value in self.columns.items()}

    def harmonics(self, degree: int) -> Float[Tensor, "n k 3"]:
        """Coefficients up to `degree`: the field's own where it has any, else the constant band alone."""
        bands = self.colours.new_zeros(len(self.colours), harmonics_count(degree), 3)
        bands[:, 0] = (self.colours - 0.5) / CONSTANT
        if isinstance(self.head, HarmonicsHead) and self.columns is not None:
            own = self.columns["harmonics"][:, : min(harmonics_count(self.head.degree), bands.shape[1])]
            bands[:, : own.shape[1]] = own
        return bands
