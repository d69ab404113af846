"""Our feed-forward geometry network: posed pictures in, depth and confidence out (see docs/lifter.md)."""

from featurefields.lifting.lifter.provider import lifter_provider

__all__ = ["lifter_provider"]
