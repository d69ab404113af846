"""A named set of Gaussians and how it came about.

Letters: n Gaussians.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField


@dataclass(frozen=True)
class Selection:
    """Which Gaussians of one field were chosen.

    Selections of one field form a Boolean algebra: `a | b`, `a & b`, `a - b` and `~a`. Scores follow as in fuzzy sets:
    the larger, the smaller, the smaller of the one and minus the other, and minus the score.

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

    def __or__(self, other: "Selection") -> "Selection":
        """What either has. Raises `PromptError` when they belong to different fields, as all operators do."""
        other = self._of_same_field(other)
        return self._made("or", other, self.mask | other.mask, torch.maximum(self.score, other.score))

    def __and__(self, other: "Selection") -> "Selection":
        """What both have."""
        other = self._of_same_field(other)
        return self._made("and", other, self.mask & other.mask, torch.minimum(self.score, other.score))

    def __sub__(self, other: "Selection") -> "Selection":
        """What this one has and the other has not."""
        other = self._of_same_field(other)
        return self._made("minus", other, self.mask & ~other.mask, torch.minimum(self.score, -other.score))

    def __invert__(self) -> "Selection":
        """What this one has not."""
        return Selection(~self.mask, -self.score, self.field_id, {"operation": "not", "of": [dict(self.how)]})

    def to(self, device: torch.device | str) -> "Selection":
        """The same on another device."""
        return replace(self, mask=self.mask.to(device), score=self.score.to(device))

    def _of_same_field(self, other: "Selection") -> "Selection":
        if self.field_id != other.field_id or self.mask.shape != other.mask.shape:
            raise PromptError(
                f"selections of different scenes cannot be combined: one was made on field {self.field_id} with "
                f"{self.mask.shape[0]} splats, the other on {other.field_id} with {other.mask.shape[0]}; select "
                "both on the same scene"
            )
        return other.to(self.mask.device)

    def _made(
        self, operation: str, other: "Selection", mask: Bool[Tensor, "n"], score: Float[Tensor, "n"]
    ) -> "Selection":
        how = {"operation": operation, "of": [dict(self.how), dict(other.how)]}
        return Selection(mask, score, self.field_id, how)
