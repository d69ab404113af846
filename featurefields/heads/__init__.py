"""Heads: what the columns of the splats mean, before and after drawing."""

from featurefields.heads.interface import Head, Layers
from featurefields.heads.registered import HEADS, head_from_config

__all__ = ["HEADS", "Head", "Layers", "head_from_config"]
