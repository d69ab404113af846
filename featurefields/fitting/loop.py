"""Running a fit to its end: checkpoints, resuming, and the field that comes out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from featurefields.errors import FittingError
from featurefields.field import About, FeatureField
from featurefields.files.container import read_container, write_container
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.interrupts import interrupts_held
from featurefields.scene import Scene

CHECKPOINT_EVERY_S = 60.0


def identity_of(scene: Scene, config: AppearanceConfig) -> dict[str, object]:
    """What a checkpoint must share with the fit it continues: the settings, and a digest of the views fitted."""
    digest = sha256()
    for view in scene.split("train"):
        digest.update(f"{view.name} {view.camera.size}".encode())
        digest.update(view.camera.world_from_camera.float().numpy().tobytes())
    return {"config": asdict(config), "views": digest.hexdigest()}


def save_checkpoint(fit: AppearanceFit, scene: Scene, path: Path) -> None:
    """Write everything needed to continue bit for bit; replaces an older checkpoint atomically."""
    tensors, facts = fit.state()
    header = {"facts": facts, "identity": identity_of(scene, fit.config)}
    write_container(path, tensors, header, kind="checkpoint", overwrite=True)


def load_checkpoint(fit: AppearanceFit, scene: Scene, path: Path) -> None:
    """Continue `fit` from a checkpoint.

    Raises:
        FileFormatError: missing or damaged.
        FittingError: written with other settings or other photos; the message names the first difference.
    """
    tensors, header = read_container(path, "checkpoint")
    then, now = header.get("identity", {}), identity_of(scene, fit.config)
    if then.get("views") != now["views"]:
        raise FittingError(
            f"{path} was written for other photos or poses than those of '{scene.name}'; fit again without --resume"
        )
    before, present = then.get("config", {}), now["config"]
    assert isinstance(present, dict)
    for key, value in present.items():
        if before.get(key) != value:
            raise FittingError(
                f"{path} was written with {key} = {before.get(key)}, now it is {value}; resume with the same settings "
                "or fit again without --resume"
            )
    fit.load(tensors, header["facts"])


def run_fit(
    fit: AppearanceFit,
    scene: Scene,
    *,
    checkpoint: Path | None = None,
    every_s: float = CHECKPOINT_EVERY_S,
    on_step: Callable[[dict[str, float]], object] = lambda facts: None,
) -> None:
    """Run the remaining steps; `on_step` gets each step's loss, error and number of splats.

    With `checkpoint`, the state is saved there every `every_s` seconds, and when the user stops the run: a Ctrl-C
    waits for the end of the step, so that what is saved is whole.
    """
    saved = time.monotonic()
    try:
        while fit.step < fit.config.steps:
            with interrupts_held():
                facts = fit.run_step()
            on_step(facts)
            if checkpoint and time.monotonic() - saved > every_s:
                save_checkpoint(fit, scene, checkpoint)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if checkpoint:
            save_checkpoint(fit, scene, checkpoint)
        raise


def about_fit(fit: AppearanceFit, scene: Scene, notes: Mapping[str, object]) -> About:
    """Where the field of a fit, at its end or not, comes from."""
    return About(
        scene=scene.name,
        data=str(scene.folder.resolve()),
        world_from_capture=scene.world_from_capture,
        cameras=dict(scene.cameras()),
        notes={
            "steps": fit.step,
            "seed": fit.config.seed,
            "test_views": [view.name for view in scene.split("test")],
            **notes,
        },
    )


def finished_field(fit: AppearanceFit, scene: Scene, notes: Mapping[str, object]) -> FeatureField:
    """The fitted field, on the CPU, with where it comes from."""
    head = fit.head.cpu()
    return FeatureField(fit.splats.detach().to("cpu"), {"rgb": head.eval()}, about_fit(fit, scene, notes))
