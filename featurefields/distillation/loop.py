"""Running a training to its end: checkpoints, resuming, logs."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from featurefields.distillation.logs import TrainingLog
from featurefields.distillation.train import Distillation
from featurefields.errors import FittingError
from featurefields.files.container import read_container, write_container
from featurefields.interrupts import interrupts_held
from featurefields.scene import View

CHECKPOINT_EVERY_S = 120.0
CHECKPOINT_KIND = "distillation"
CHECKPOINT_FILE = "checkpoint.safetensors"


def identity_of(features: str, views: Sequence[View], processes: int, **choices: object) -> dict[str, object]:
    """What a checkpoint must share with the training that goes on: network, views, processes and further choices."""
    digest = sha256()
    for view in views:
        digest.update(f"{view.name} {view.camera.size}".encode())
        digest.update(view.camera.world_from_camera.float().numpy().tobytes())
    return {"network": features, "views": digest.hexdigest(), "processes": processes, **choices}


def save_checkpoint(training: Distillation, path: Path, identity: dict[str, object]) -> None:
    """Write everything needed to continue bit for bit; replaces an older checkpoint atomically."""
    tensors, facts = training.state()
    header = {"facts": facts, "identity": identity, "config": asdict(training.config)}
    write_container(path, tensors, header, kind=CHECKPOINT_KIND, overwrite=True)


def load_checkpoint(training: Distillation, path: Path, identity: dict[str, object]) -> None:
    """Continue from a checkpoint.

    Raises:
        FileFormatError: missing or damaged.
        FittingError: written with other settings, another network or other data; the message names what differs.
    """
    tensors, header = read_container(path, CHECKPOINT_KIND)
    for part, now in (("identity", identity), ("config", asdict(training.config))):
        before = header.get(part, {})
        for key, value in now.items():
            if before.get(key) != value:
                raise FittingError(
                    f"{path} was written with {key} = {before.get(key)}, now it is {value}; resume with the same "
                    "settings, or train anew without --resume"
                )
    training.load(tensors, header["facts"])


def run_training(
    training: Distillation,
    folder: Path,
    *,
    identity: dict[str, object],
    every_s: float = CHECKPOINT_EVERY_S,
    on_step: Callable[[dict[str, float]], object] = lambda facts: None,
) -> list[float]:
    """Run the remaining steps and return their losses; the first process logs and saves in `folder`.

    The state is saved every `every_s` seconds, at the end, and when the user stops the run: a Ctrl-C waits for the
    end of the step, so that what is saved is whole.
    """
    first, checkpoint = training.world.rank == 0, folder / CHECKPOINT_FILE
    saved, losses = time.monotonic(), []
    with TrainingLog(folder, from_step=training.step) if first else nullcontext() as log:
        try:
            while training.step < training.config.steps:
                with interrupts_held():
                    facts = training.run_step()
                    losses.append(facts["loss"])
                    if log is not None:
                        log.write(training.step - 1, facts)
                on_step(facts)
                if first and time.monotonic() - saved > every_s:
                    save_checkpoint(training, checkpoint, identity)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if first:
                save_checkpoint(training, checkpoint, identity)
            raise
    if first:
        save_checkpoint(training, checkpoint, identity)
    return losses
