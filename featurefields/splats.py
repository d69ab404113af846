"""The table of Gaussians: geometry columns plus any number of named channel columns.

Letters: n Gaussians · `...` the shape of one row of a column.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.maths.rotations import matrix_from_quat, quat_from_matrix, quat_multiply
from featurefields.maths.similarity import Similarity


@dataclass(frozen=True)
class Splats:
    """n anisotropic Gaussians and what each of them carries.

    Attributes:
        means: centres in world units.
        quats: orientations (w, x, y, z), not necessarily unit.
        log_scales: logarithms of the standard deviations along the three axes.
        opacity_logits: logits of the opacities.
        columns: channel columns by name, first axis n.
    """

    means: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]
    log_scales: Float[Tensor, "n 3"]
    opacity_logits: Float[Tensor, "n"]
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def opacities(self) -> Float[Tensor, "n"]:
        return torch.sigmoid(self.opacity_logits)

    @property
    def scales(self) -> Float[Tensor, "n 3"]:
        """Standard deviations along the three axes, world units."""
        return torch.exp(self.log_scales)

    @property
    def footprints(self) -> Float[Tensor, "n"]:
        """Opacity times the product of the two largest deviations: how much a Gaussian can show, square world units."""
        return self.opacities * torch.exp(self.log_scales.topk(2, dim=-1).values.sum(-1))

    @property
    def shortest_axes(self) -> Float[Tensor, "n 3"]:
        """Unit direction of each Gaussian's smallest extent (sign arbitrary)."""
        axes = matrix_from_quat(self.quats)
        index = self.log_scales.argmin(-1)[:, None, None].expand(-1, 3, 1)
        return axes.gather(-1, index).squeeze(-1)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name; channel columns are prefixed with "columns."."""
        geometry = {name: getattr(self, name) for name in ("means", "quats", "log_scales", "opacity_logits")}
        return geometry | {f"columns.{name}": column for name, column in self.columns.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "Splats":
        """The inverse of `tensors`."""
        prefix = "columns."
        columns = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        return Splats(
            tensors["means"], tensors["quats"], tensors["log_scales"], tensors["opacity_logits"], columns
        )

    def each(self, function: Callable[[Tensor], Tensor]) -> "Splats":
        """`function` applied to every column, geometry included, so that none falls out of step."""
        return Splats.from_tensors({name: function(tensor) for name, tensor in self.tensors().items()})

    def select(self, rows: Bool[Tensor, "n"] | Int[Tensor, "m"]) -> "Splats":
        """The chosen rows (a mask, or indices which may repeat)."""
        return self.each(lambda column: column[rows])

    def to(self, target: torch.device | torch.dtype | str | Tensor) -> "Splats":
        return self.each(lambda column: column.to(target))

    def detach(self) -> "Splats":
        return self.each(lambda column: column.detach())

    def with_columns(self, **columns: Tensor) -> "Splats":
        """The same Gaussians with columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})

    def without_columns(self, *names: str) -> "Splats":
        return replace(
            self, columns={name: value for name, value in self.columns.items() if name not in names}
        )

    def moved(self, similarity: Similarity) -> "Splats":
        """The Gaussians in another frame. Directional columns are the heads' business (`Head.turned`)."""
        turn = quat_from_matrix(similarity.rotation).to(self.quats)
        log_scale = torch.log(torch.tensor(similarity.scale, dtype=torch.float64)).item()
        return replace(
            self,
            means=similarity.points(self.means),
            quats=quat_multiply(turn.expand_as(self.quats), self.quats),
            log_scales=self.log_scales + log_scale,
        )


def concatenate(parts: Iterable[Splats]) -> Splats:
    """All rows of all parts; every part must have the same columns."""
    tables = [part.tensors() for part in parts]
    return Splats.from_tensors({name: torch.cat([table[name] for table in tables]) for name in tables[0]})
