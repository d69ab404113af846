"""Correspondence and agreement between views of one extractor: every seed of the points that are looked for."""

import time
from collections.abc import Sequence

from featurefields.evaluation.probes.config import Progress
from featurefields.evaluation.probes.correspondence import MatchingConfig, match_pairs, recall_numbers
from featurefields.evaluation.probes.pairs import chosen_pairs, depth_points, given_pairs
from featurefields.evaluation.probes.report import TaskResult, by_seed
from featurefields.evaluation.probes.view_agreement import agreement_numbers
from featurefields.readers.probe_sets.interface import ProbeSet
from featurefields.vision.cache import FeatureMaps


def measure_matching(
    data: ProbeSet, maps: FeatureMaps, config: MatchingConfig, seeds: Sequence[int], progress: Progress
) -> TaskResult:
    """Match the pairs of the held-out scenes, those that the data prescribe or chosen ones."""
    start = time.perf_counter()
    test = [sample for sample in data.split("test") if sample.depth is not None and sample.camera is not None]
    points = {sample.name: depth_points(sample, config.longest_side) for sample in test}
    if data.pairs is None:
        pairs = chosen_pairs(test, points, config.pairs_a_bin)
    else:
        pairs = given_pairs([pair for pair in data.pairs if {*pair} <= {*points}], points)
    shared, counts = agreement_numbers(pairs, {s.name: s for s in test}, points, maps, data.regions)
    rows, matches = [], 0
    for seed in seeds:
        with progress(f"matching, seed {seed}", len(pairs)) as advance:
            found = match_pairs(pairs, points, maps, config, seed, on_pair=lambda: advance(1))
        rows.append(recall_numbers(found) | shared)
        matches = sum(recall.matches for recall in found)
    scenes = len({sample.scene for sample in test})
    total = {"pairs": len(pairs), "scenes": scenes, "matches": matches, **counts}
    return TaskResult("correspondence", by_seed(rows), total, time.perf_counter() - start)
