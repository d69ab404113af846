"""Feature maps of an extractor as the feature pictures that lifting reads.

Letters: d feature dimension · h w pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from jaxtyping import Float, Int
from torch import Tensor

from featurefields.lifting.maps import Maps
from featurefields.scene import View
from featurefields.vision.compress import FeatureBasis
from featurefields.vision.grids import upsample
from featurefields.vision.interface import FeatureMap


def segments_of(view: View) -> Int[Tensor, "h w"] | None:
    """Instance ids of a view's pixels, or None."""
    layer = view.picture.layer("instance")
    return None if layer is None else layer[..., 0].round().long()


def feature_pictures(
    views: Sequence[View],
    maps: Mapping[str, FeatureMap],
    basis: FeatureBasis | None,
    *,
    mask_aware: bool = False,
) -> Maps:
    """Functions that make every view's features at each of its pixels, in the basis' dimensions if there is one."""

    def picture(view: View) -> Float[Tensor, "h w d"]:
        stored = maps[view.name] if basis is None else basis.encode_map(maps[view.name])
        masks = segments_of(view) if mask_aware else None
        return upsample(stored.features.float(), view.camera.size, masks=masks)

    return {view.name: partial(picture, view) for view in views}


class Together(Mapping[str, FeatureMap]):
    """Maps of several sources as one, read only when asked for."""

    def __init__(self, sources: Mapping[str, Mapping[str, FeatureMap]]) -> None:
        self._places = {f"{source}/{name}": (maps, name) for source, maps in sources.items() for name in maps}

    def __getitem__(self, name: str) -> FeatureMap:
        maps, inner = self._places[name]
        return maps[inner]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
