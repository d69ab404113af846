"""Probes of frozen features: depth, normals, segmentation and correspondence (docs/probes.md).

`run_probes(extractor, data, config) -> ProbeReport` measures one extractor.
"""

from featurefields.evaluation.probes.config import ProbeConfig
from featurefields.evaluation.probes.report import ProbeReport, TaskResult
from featurefields.evaluation.probes.run import run_probes

__all__ = ["ProbeConfig", "ProbeReport", "TaskResult", "run_probes"]
