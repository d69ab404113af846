"""Data sets that frozen features are probed on: pictures with depth, normals or labels, split by scenes."""

from featurefields.readers.probe_sets.interface import IGNORED, ProbeSample, ProbeSet
from featurefields.readers.probe_sets.registered import PROBE_LAYOUTS, ProbeSource, read_probe_set

__all__ = ["IGNORED", "PROBE_LAYOUTS", "ProbeSample", "ProbeSet", "ProbeSource", "read_probe_set"]
