"""All probes of one frozen extractor."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext

import torch

from featurefields.evaluation.probes.config import ProbeConfig, Progress, possible_tasks
from featurefields.evaluation.probes.matched import measure_matching
from featurefields.evaluation.probes.report import ProbeReport, TaskResult
from featurefields.evaluation.probes.schedule import TRAINED, Task, schedule_of
from featurefields.evaluation.probes.tokens import frozen_tokens
from featurefields.evaluation.probes.trained import TrainedProbe
from featurefields.readers.probe_sets.interface import ProbeSet
from featurefields.vision.class_token import with_class_token
from featurefields.vision.interface import Extractor

WITH_CLASS_TOKEN: tuple[Task, ...] = ("depth", "normals")
"""Tasks whose published probes read the class token beside every patch."""


FAST = ProbeConfig()
"""Every task, on the fast schedule, with three seeds."""


def _silent(n: int = 1, **info: object) -> None:
    del n, info


def run_probes(
    extractor: Extractor,
    data: ProbeSet,
    config: ProbeConfig = FAST,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = lambda title, steps: nullcontext(_silent),
) -> ProbeReport:
    """Probe a frozen extractor: train heads on the training scenes, measure on the held-out ones.

    The extractor is never changed. Scenes and pictures are looked at in the order of their names, so the order in
    `data` does not matter, and the same seeds give the same numbers on one machine.

    Args:
        extractor: sRGB images to a grid of features, as `choose_extractor` gives it.
        data: pictures with truth, split by scenes (`read_probe_set`).
        config: what is probed and how.
        device: where heads are trained.
        progress: shows progress.

    Raises:
        SceneError: the data have no truth for a task that was asked for, or no scene on a side.
        FittingError: no seeds, or steps that make no sense.
        UnavailableError: the extractor gave values that are not finite.
    """
    config.check()
    tasks, notes = possible_tasks(data, config.tasks)
    wrapped = with_class_token(extractor) if config.class_token else None
    beside: list[Task] = [task for task in tasks if wrapped is not None and task in WITH_CLASS_TOKEN]
    alone: list[Task] = [task for task in tasks if task not in beside]
    found: dict[Task, TaskResult] = {}
    for used, members in ((wrapped, beside), (extractor, alone)):
        if used is not None and members:
            found |= _measured(used, members, data, config, torch.device(device), progress)
    results = tuple(found[task] for task in tasks)
    return ProbeReport(
        extractor.fingerprint, data.name, config.schedule, config.seeds, results, (*data.notes, *notes)
    )


def _measured(
    extractor: Extractor,
    tasks: Sequence[Task],
    data: ProbeSet,
    config: ProbeConfig,
    device: torch.device,
    progress: Progress,
) -> dict[Task, TaskResult]:
    """Tasks that read the same tokens."""
    train = config.training(data)
    windowed = [
        task for task in tasks if task in TRAINED and not schedule_of(config.schedule, task).augmented
    ]
    extracted = (*(train if windowed else ()), *data.split("test"))
    found: dict[Task, TaskResult] = {}
    with ExitStack() as kept:
        with progress("extracting tokens", len(extracted)) as advance:
            told = [0]

            def on_progress(done: int, total: int) -> None:
                del total
                advance(done - told[0])
                told[0] = done

            maps = kept.enter_context(
                frozen_tokens(extractor, extracted, cache=config.cache, on_progress=on_progress)
            )
        for task in tasks:
            if task in TRAINED:
                probe = TrainedProbe.of(task, data, train, maps, config)
                found[task] = probe.measure(extractor, config.seeds, device, progress)
            else:
                found[task] = measure_matching(data, maps, config.matched_how(), config.seeds, progress)
    return found
