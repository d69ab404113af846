"""Readers: a folder of posed photos in, a `Scene` out."""

from featurefields.readers.assemble import read_scene
from featurefields.readers.registered import READERS

__all__ = ["READERS", "read_scene"]
