"""What lifting gives: a field with one more head.

Letters: n Gaussians · d feature dimension · k directional functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.heads.interface import Head


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Attributes:
        field: the given field with the new head and its columns.
        losses: the error as it fell. Mean over the pixels that count, each weighted by its squared coverage, of the
            mean squared difference between shown and given feature (of 1 - cosine where that is minimised).
    """

    field: FeatureField
    losses: tuple[float, ...]


def with_head(field: FeatureField, name: str, head: Head, columns: Mapping[str, Tensor]) -> FeatureField:
    """The field with `head` called `name` and its columns; those that only a head of this name read are dropped."""
    others = {column for other, kept in field.heads.items() if other != name for column in kept.reads}
    stale = set(field.heads[name].reads) - others if name in field.heads else set()
    splats = field.splats.without_columns(*stale).with_columns(**columns)
    return FeatureField(splats, {**field.heads, name: head}, field.about)


def with_directional(
    field: FeatureField,
    name: str,
    degree: int,
    indep: Float[Tensor, "n d"],
    slopes: Float[Tensor, "n k d"],
    centre: Float[Tensor, "n k"],
) -> FeatureField:
    """The field with a `DirectionalHead` called `name`; for degree 0 a `DirectHead`, which has no dependent part."""
    if degree == 0:
        return with_head(field, name, DirectHead(name), {name: indep})
    columns = {name: indep, f"{name}_dep": slopes, f"{name}_centre": centre}
    return with_head(field, name, DirectionalHead(name, degree), columns)
