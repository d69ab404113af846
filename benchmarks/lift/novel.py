"""Held-out photos drawn from a few lifted ones, beside fits to the same few."""

import argparse
import time
from dataclasses import replace
from statistics import mean

import torch

from benchmarks.lift.subjects import contexts, lifted_field, pictures_of, provider_of, the_scene
from featurefields.evaluation.metrics import psnr
from featurefields.field import FeatureField, render
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.fitting.loop import finished_field
from featurefields.images import write_png
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.scene import Scene, View


def measure_views(options: argparse.Namespace) -> list[dict[str, object]]:
    """One row a source of geometry; the fits in the time of the first."""
    scene, rasterizer = the_scene(options), choose_rasterizer()
    groups = contexts(scene, options.targets, options.context)
    rows: list[dict[str, object]] = []
    spent: list[float] = []
    for name in options.geometry:
        provider = provider_of(scene, name, rasterizer)
        values, counts, seconds = [], [], []
        for target, views in groups:
            pictures = pictures_of(scene, views)
            started = time.process_time()
            field = lifted_field(pictures, provider(pictures), rasterizer)
            seconds.append(time.process_time() - started)
            values.append(_quality(field, target, rasterizer, options, name.partition(":")[0]))
            counts.append(len(field))
        rows.append(_row(name, values, counts, seconds))
        spent = seconds if not spent or name.startswith("lifter") else spent
    if not options.no_fit:
        for times in options.fit_times:
            rows += [
                _fits(replace(scene, points=points), groups, spent, times, rasterizer, options)
                for points in (scene.points, None)
            ]
    return rows


def _row(name: str, values: list[float], counts: list[int], seconds: list[float]) -> dict[str, object]:
    return {
        "what": name,
        "PSNR dB": mean(values),
        "of each": " ".join(f"{value:.1f}" for value in values),
        "Gaussians": round(mean(counts)),
        "s": mean(seconds),
    }


def _fits(
    scene: Scene,
    groups: list[tuple[View, tuple[View, ...]]],
    spent: list[float],
    times: float,
    rasterizer: Rasterizer,
    options: argparse.Namespace,
) -> dict[str, object]:
    """The same views fitted in `times` the processor time of the lift."""
    values, counts, seconds = [], [], []
    for (target, views), budget in zip(groups, spent, strict=True):
        few = replace(scene, views=tuple(replace(view, split="train") for view in views))
        step = _seconds_a_step(few, rasterizer)
        steps = max(1, round(times * budget / step))
        started = time.process_time()
        fit = AppearanceFit(few, AppearanceConfig(steps=steps), rasterizer=rasterizer)
        while fit.step < steps:
            fit.run_step()
        seconds.append(time.process_time() - started)
        field = finished_field(fit, few, {})
        values.append(_quality(field, target, rasterizer, options, f"fit{times:g}"))
        counts.append(len(field))
    label = "fit in the same time" if times == 1 else f"fit in {times:g} times the time"
    label += "" if scene.points is not None else ", without the scene's points"
    return _row(label, values, counts, seconds)


def _seconds_a_step(scene: Scene, rasterizer: Rasterizer) -> float:
    fit = AppearanceFit(scene, AppearanceConfig(steps=100, half_until=0.0), rasterizer=rasterizer)
    fit.run_step()
    started = time.process_time()
    for _ in range(3):
        fit.run_step()
    return (time.process_time() - started) / 3


@torch.no_grad()
def _quality(
    field: FeatureField, target: View, rasterizer: Rasterizer, options: argparse.Namespace, name: str
) -> float:
    """PSNR of the drawn target; with --pictures also a picture, photo | drawn."""
    drawn = render(field, target.camera, rasterizer=rasterizer, heads=("rgb",))["rgb"]["total"].clamp(0, 1)
    photo = target.picture.image()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        stem = f"{options.data.name}-{name}-{target.name.rpartition('/')[2].partition('.')[0]}.png"
        write_png(options.pictures / stem, torch.cat([photo, drawn], dim=1), overwrite=True)
    return psnr(drawn, photo, target.picture.mask())
