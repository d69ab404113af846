"""Photos to feature maps: extractors behind one registry, their cache, patch grids and compression."""

from featurefields.vision.cache import FeatureMaps, default_cache_dir, extract_features
from featurefields.vision.compress import FeatureBasis, fit_basis
from featurefields.vision.interface import Extractor, FeatureMap
from featurefields.vision.select import EXTRACTORS, choose_extractor

__all__ = [
    "EXTRACTORS",
    "Extractor",
    "FeatureBasis",
    "FeatureMap",
    "FeatureMaps",
    "choose_extractor",
    "default_cache_dir",
    "extract_features",
    "fit_basis",
]
