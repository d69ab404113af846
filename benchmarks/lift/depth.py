"""Depth against true depth maps.

Letters: h w pixels · m pixels of all views.
"""

import argparse
import time

import torch
from torch import Tensor

from benchmarks.lift.subjects import contexts, pictures_of, provider_of, the_scene
from featurefields.evaluation.regions import METAL, instance_ids
from featurefields.raster import choose_rasterizer
from featurefields.readers.objects import described_objects
from featurefields.scene import View


def measure_depth(options: argparse.Namespace) -> list[dict[str, object]]:
    """One row a source of geometry."""
    scene, rasterizer = the_scene(options), choose_rasterizer()
    metals = tuple(key for key, entry in described_objects(scene.folder).items() if entry.material == METAL)
    groups = contexts(scene, options.targets, options.depth_views)
    rows: list[dict[str, object]] = []
    for name in options.geometry:
        provider = provider_of(scene, name, rasterizer)
        errors, shiny, found, known, seconds = [], [], 0, 0, 0.0
        for _, views in groups:
            pictures = pictures_of(scene, views)
            started = time.process_time()
            geometry = provider(pictures)
            seconds += time.process_time() - started
            for view, one in zip(views, geometry, strict=True):
                error, metal, true = _errors(view, one.depth, metals)
                errors.append(error)
                shiny.append(metal)
                found, known = found + len(error), known + true
        every, metal = torch.cat(errors), torch.cat(shiny)
        rows.append(
            {
                "geometry": name,
                "median error %": 100 * _median(every),
                "no metal %": 100 * _median(every[~metal]),
                "metal %": 100 * _median(every[metal]),
                "within 5 % of it": float((every < 0.05).float().mean()) if len(every) else None,
                "found of true": found / max(known, 1),
                "views": options.depth_views,
                "s a view": seconds / (len(groups) * options.depth_views),
            }
        )
    return rows


def _errors(view: View, depth: Tensor, metals: tuple[int, ...]) -> tuple[Tensor, Tensor, int]:
    """Relative errors (m) where both depths are known, whether each is on metal (m), and how many are true."""
    true = view.picture.depth()
    if true is None:
        raise SystemExit(
            f"{view.name} has no depth map, so depth cannot be measured; leave out the part 'depth'"
        )
    both = (true > 0) & (depth > 0)
    metal = torch.isin(instance_ids(view), torch.tensor(metals, dtype=torch.long))
    return ((depth - true).abs() / true.clamp(min=1e-9))[both], metal[both], int((true > 0).sum())


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else float("nan")
