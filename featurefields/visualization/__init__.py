"""Tensors to pictures: colours for features, normals and scalars, overlays, contact strips, camera paths."""

from featurefields.visualization.colours import depth_colours, normal_colours, scalar_colours
from featurefields.visualization.paths import encircle, interpolate, orbit
from featurefields.visualization.principal import FeaturePalette, feature_colours
from featurefields.visualization.sheets import overlay, strip

__all__ = [
    "FeaturePalette",
    "depth_colours",
    "encircle",
    "feature_colours",
    "interpolate",
    "normal_colours",
    "orbit",
    "overlay",
    "scalar_colours",
    "strip",
]
