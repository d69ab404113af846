"""A named set of Gaussians and how it came about.

Letters: n Gaussians.
"""

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField


@dataclass(frozen=True)
class Selection:
    """Which Gaussians of one field were chosen.

    Attributes:
        mask: True where chosen.
        score: soft agreement with the prompts in [-1, 1] (cosine), before threshold and connectivity.
        field_id: fingerprint of the field it belongs to (`FeatureField.fingerprint`).
        how: JSON-able record of the prompts and settings that made it.
    """

    mask: Bool[Tensor, "n"]
    score: Float[Tensor, "n"]
    field_id: str
    how: dict[str, object] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return int(self.mask.sum())

    def check(self, target: FeatureField) -> None:
        """Raise `PromptError` when this selection was made on other Gaussians than `target`'s."""
        if self.mask.shape[0] != len(target) or self.field_id != target.fingerprint():
            raise PromptError(
                f"the selection belongs to another scene: it was made on field {self.field_id} with "
                f"{self.mask.shape[0]} splats, this one is {target.fingerprint()} with {len(target)}; "
                "select again on this scene"
            )
