"""A column drawn as it is.

Letters: n Gaussians · h w pixels · d channels.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.compositing import over_alpha
from featurefields.splats import Splats


class DirectHead(Head):
    """Draws column `column` (n d) and decodes its mean over what covers the pixel; no view dependence.

    The single-field baseline ("DFF") is this head on lifted features.
    """

    kind = "direct"

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {self.column: tuple(columns[self.column].shape[-1:])}

    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        return splats.columns[self.column]

    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        mean = over_alpha(pixels, alpha)
        return {"total": mean, "indep": mean}

    def matter(self, splats: Splats) -> Float[Tensor, "n d"]:
        return splats.columns[self.column]

    def config(self) -> dict[str, Any]:
        return {"column": self.column}
