"""Whole fits of a tiny scene: they get better, they repeat, and they go on after a stop as if there was none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import photograph

from featurefields.errors import FileFormatError, FittingError
from featurefields.evaluation.heldout import held_out_psnr, mean
from featurefields.field import FeatureField, render
from featurefields.files.archive import write_archive
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.fitting.densify import DensifyConfig
from featurefields.fitting.loop import (
    finished_field,
    load_checkpoint,
    run_fit,
    save_checkpoint,
)
from featurefields.fitting.priors import NONE
from featurefields.heads.lights import LightMap
from featurefields.heads.reflected import ReflectedHead
from featurefields.interrupts import interrupts_held
from featurefields.maths.colour import linear_from_srgb
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene

CPU = choose_rasterizer("cpu")
DENSE = DensifyConfig(budget=330, every=5, start=0.0, stop=1.0)
SHORT = AppearanceConfig(steps=20, densify=DENSE)
"""Twenty steps that cross every boundary: half size, waiting reflections, four changes of the table."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return read_scene(photograph(tmp_path_factory.mktemp("balls")))


def fresh(scene: Scene, config: AppearanceConfig = SHORT) -> AppearanceFit:
    return AppearanceFit(scene, config, rasterizer=CPU)


def steps(fit: AppearanceFit, count: int) -> AppearanceFit:
    for _ in range(count):
        fit.run_step()
    return fit


def assert_same(one: AppearanceFit, other: AppearanceFit) -> None:
    """Every tensor bit for bit, and every fact."""
    (tensors, facts), (others, other_facts) = one.state(), other.state()
    assert facts == other_facts and tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), f"{name} differs"


def light(fit: AppearanceFit) -> torch.Tensor:
    assert isinstance(fit.head, ReflectedHead) and isinstance(fit.head.light, LightMap)
    return fit.head.light.log_light.detach()


class TestQuality:
    @pytest.mark.parametrize(
        "colour, gain_db, least_db", [("reflected", 4.0, 14.0), ("harmonics", 4.0, 20.0)]
    )
    def test_a_short_fit_explains_the_photos_much_better(
        self, scene: Scene, tmp_path: Path, colour: str, gain_db: float, least_db: float
    ):
        if colour == "harmonics":  # which know no sky: black behind everything
            scene = read_scene(photograph(tmp_path / "dark", sky=0.0))
        config = AppearanceConfig(steps=150, colour=colour, densify=DensifyConfig(budget=330, every=25))  # type: ignore[arg-type]
        fit = fresh(scene, config)
        before = self.quality(fit, scene)
        run_fit(fit, scene)
        after = self.quality(fit, scene)
        assert fit.step == 150
        assert after > before + gain_db and after > least_db, f"{before:.1f} dB to {after:.1f} dB"
        assert len(fit.splats) <= 330

    @staticmethod
    def quality(fit: AppearanceFit, scene: Scene) -> float:
        """Mean over all views: the fitted ones must be explained, the held-out ones follow."""
        values = held_out_psnr(finished_field(fit, scene, {}), scene.views, rasterizer=CPU)
        assert list(values) == [view.name for view in scene.views]
        return mean(list(values.values()))

    def test_without_seed_points_it_learns_too(self, scene: Scene):
        fit = fresh(replace(scene, points=None), replace(SHORT, steps=60, densify=DensifyConfig(budget=300)))
        first = [fit.run_step()["loss"] for _ in range(7)]
        steps(fit, 46)
        last = [fit.run_step()["loss"] for _ in range(7)]
        assert sum(last) < 0.85 * sum(first)


class TestSteps:
    def test_the_budget_holds_at_every_step_and_is_used(self, scene: Scene):
        fit = fresh(scene)
        counts = [fit.run_step()["splats"] for _ in range(20)]
        assert max(counts) <= 330 and counts[0] == 264 and counts[-1] > 264

    def test_every_photo_is_looked_at_before_any_comes_again(self, scene: Scene):
        fit = fresh(scene)
        seen = []
        for _ in range(14):
            fit.run_step()
            seen.append(fit._next_photo().camera.position.tolist())
            fit.queue.append(
                next(i for i, p in enumerate(fit.photos[1]) if p.camera.position.tolist() == seen[-1])
            )
        assert len({tuple(position) for position in seen}) == 7

    def test_near_reflections_stand_still_before_their_time(self, scene: Scene):
        fit = fresh(scene, replace(SHORT, densify=DensifyConfig(budget=264, every=10**6), near_from=0.5))
        held = ["columns.near"]
        start = {name: fit.adam.parameters[name].detach().clone() for name in held}
        steps(fit, 9)
        assert all(torch.equal(fit.adam.parameters[name], value) for name, value in start.items())
        steps(fit, 8)
        assert not any(torch.equal(fit.adam.parameters[name], value) for name, value in start.items())

    def test_near_reflections_are_centred_on_the_photos_in_the_end(self, scene: Scene):
        fit = steps(fresh(scene), 20)
        assert isinstance(fit.head, ReflectedHead)
        positions = torch.stack([photo.camera.position for photo in fit.photos[1]])
        wanted = fit.head.near_centre(fit.splats, positions)
        assert torch.equal(fit.splats.columns["near_centre"], wanted) and bool(wanted.any())

    def test_what_is_mirrored_alike_goes_from_matter_to_the_surroundings_once(self, scene: Scene):
        still = replace(SHORT, densify=DensifyConfig(budget=264, every=10**6))
        moved, kept = (fresh(scene, replace(still, unveil_at=at)) for at in (0.7, 1.0))
        steps(moved, 13), steps(kept, 13)
        assert_same(moved, kept)
        before = self.pictures(steps(kept, 1))
        matter, total = (after - b for after, b in zip(self.pictures(steps(moved, 1)), before, strict=True))
        gained = (light(moved).exp() - light(kept).exp()).flatten()
        assert float(gained.min()) > 0.05 and float(gained.std()) < 1e-4 * float(gained.mean()), "even"
        assert float(matter.max()) < 1e-5 and float(matter.mean()) < -0.005, "only taken from matter"
        assert float(total.abs().mean()) < 0.6 * float(matter.abs().mean()), "most of it is mirrored instead"
        first = moved.adam.first["columns.diffuse"]
        assert not bool(first.any()) and bool(kept.adam.first["columns.diffuse"].any()), (
            "no way back by momentum"
        )

    @pytest.mark.parametrize(
        "change",
        [{"light": "network"}, {"priors": NONE}, {"colour": "harmonics"}, {"unveil_at": 1.0}],
        ids=str,
    )
    def test_matter_is_left_alone_where_nothing_keeps_light_from_the_surroundings(
        self, scene: Scene, change: dict
    ):
        fits = [fresh(scene, replace(SHORT, **({"unveil_at": at} | change))) for at in (0.7, 1.0)]
        assert_same(*(steps(fit, 15) for fit in fits))

    @staticmethod
    def pictures(fit: AppearanceFit) -> tuple[torch.Tensor, torch.Tensor]:
        """Matter alone and everything, in linear light, of all training views."""
        field = FeatureField(fit.splats.detach(), {"rgb": fit.head})
        with torch.no_grad():
            layers = [render(field, photo.camera, rasterizer=CPU).layers["rgb"] for photo in fit.photos[1]]
        return tuple(
            linear_from_srgb(torch.stack([layer[name] for layer in layers])) for name in ("indep", "total")
        )  # type: ignore[return-value]

    @pytest.mark.parametrize(
        "change", [{"light": "network"}, {"near": 0}, {"near": 1}, {"priors": NONE}], ids=str
    )
    def test_the_variants_of_the_colour_model_learn(self, scene: Scene, change: dict):
        fit = fresh(scene, replace(SHORT, steps=60, densify=DensifyConfig(budget=300), **change))
        first = [fit.run_step()["loss"] for _ in range(7)]
        steps(fit, 46)
        last = [fit.run_step()["loss"] for _ in range(7)]
        assert sum(last) < 0.85 * sum(first)
        field = finished_field(fit, scene, {})
        assert ("near" in field.splats.columns) == (change.get("near") != 0)

    def test_all_that_is_fitted_stays_finite(self, scene: Scene):
        fit = steps(fresh(scene), 20)
        assert all(torch.isfinite(value).all() for value in fit.adam.parameters.values())


class TestRepeatability:
    @pytest.mark.parametrize("colour", ["reflected", "harmonics"])
    def test_the_same_seed_gives_the_same_bytes(self, scene: Scene, tmp_path: Path, colour: str):
        config = replace(SHORT, colour=colour)
        files = []
        for name in ("one", "two"):
            fit = steps(fresh(scene, config), 20)
            files.append(write_archive(finished_field(fit, scene, {}), tmp_path / f"{name}.safetensors"))
        assert files[0].read_bytes() == files[1].read_bytes()

    def test_another_seed_gives_another_fit(self, scene: Scene):
        one, other = (steps(fresh(scene, replace(SHORT, seed=seed)), 3) for seed in (0, 1))
        assert not torch.equal(one.splats.means, other.splats.means)

    def test_the_global_generator_is_left_alone(self, scene: Scene):
        before = torch.random.get_rng_state()
        steps(fresh(scene), 2)
        assert torch.equal(torch.random.get_rng_state(), before)


class TestCheckpoint:
    @pytest.mark.parametrize("colour", ["reflected", "harmonics"])
    @pytest.mark.parametrize("halt", [1, 10])
    def test_a_stop_changes_nothing_bit_for_bit(self, scene: Scene, tmp_path: Path, halt: int, colour: str):
        config = replace(SHORT, colour=colour)
        straight = steps(fresh(scene, config), 20)
        save_checkpoint(steps(fresh(scene, config), halt), scene, tmp_path / "c.safetensors")
        resumed = fresh(scene, config)
        load_checkpoint(resumed, scene, tmp_path / "c.safetensors")
        assert resumed.step == halt
        run_fit(resumed, scene)
        assert_same(straight, resumed)

    def test_a_checkpoint_replaces_the_older_one(self, scene: Scene, tmp_path: Path):
        fit = fresh(scene)
        for _ in range(2):
            steps(fit, 1)
            save_checkpoint(fit, scene, tmp_path / "c.safetensors")
        assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]
        resumed = fresh(scene)
        load_checkpoint(resumed, scene, tmp_path / "c.safetensors")
        assert_same(fit, resumed)

    @pytest.mark.parametrize(
        "change, said",
        [
            (lambda c: replace(c, steps=21), "steps = 20, now it is 21"),
            (lambda c: replace(c, seed=4), "seed = 0, now it is 4"),
            (lambda c: replace(c, colour="harmonics"), "colour = reflected, now it is harmonics"),
            (lambda c: replace(c, densify=replace(DENSE, budget=300)), "budget"),
        ],
        ids=["steps", "seed", "colour", "budget"],
    )
    def test_other_settings_are_refused_in_one_line(
        self, scene: Scene, tmp_path: Path, change: Callable[[AppearanceConfig], AppearanceConfig], said: str
    ):
        save_checkpoint(steps(fresh(scene), 1), scene, tmp_path / "c.safetensors")
        other = fresh(scene, change(SHORT))
        state = other.state()[0]["parameter.means"].clone()
        with pytest.raises(FittingError, match="without --resume") as caught:
            load_checkpoint(other, scene, tmp_path / "c.safetensors")
        assert said in str(caught.value) and "\n" not in str(caught.value)
        assert torch.equal(other.state()[0]["parameter.means"], state) and other.step == 0

    def test_other_photos_are_refused_in_one_line(self, scene: Scene, tmp_path: Path):
        save_checkpoint(steps(fresh(scene), 1), scene, tmp_path / "c.safetensors")
        fewer = replace(scene, views=scene.views[:-2])
        with pytest.raises(FittingError, match=r"other photos or poses than those of '[^']+'; fit again"):
            load_checkpoint(fresh(fewer), fewer, tmp_path / "c.safetensors")

    def test_a_missing_and_a_cut_off_checkpoint_are_refused(self, scene: Scene, tmp_path: Path):
        file = tmp_path / "c.safetensors"
        with pytest.raises(FileFormatError, match="no such file"):
            load_checkpoint(fresh(scene), scene, file)
        save_checkpoint(steps(fresh(scene), 1), scene, file)
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(FileFormatError, match="truncated"):
            load_checkpoint(fresh(scene), scene, file)

    def test_another_file_of_ours_is_no_checkpoint(self, scene: Scene, tmp_path: Path):
        file = write_archive(finished_field(fresh(scene), scene, {}), tmp_path / "field.safetensors")
        with pytest.raises(FileFormatError, match="is a featurefields field, not a checkpoint"):
            load_checkpoint(fresh(scene), scene, file)

    def test_it_is_saved_now_and_then(self, scene: Scene, tmp_path: Path):
        fit, file = fresh(scene), tmp_path / "c.safetensors"
        existed = []
        run_fit(fit, scene, checkpoint=file, every_s=0.0, on_step=lambda facts: existed.append(file.exists()))
        assert existed == [False] + [True] * 19


class TestInterrupt:
    def test_between_two_steps_a_checkpoint_is_left(self, scene: Scene, tmp_path: Path):
        fit, file = fresh(scene), tmp_path / "c.safetensors"

        def stop(facts: dict[str, float]) -> None:
            if fit.step == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_fit(fit, scene, checkpoint=file, on_step=stop)
        resumed = fresh(scene)
        load_checkpoint(resumed, scene, file)
        assert resumed.step == 7
        run_fit(resumed, scene)
        assert_same(resumed, steps(fresh(scene), 20))

    def test_in_the_middle_of_a_step_that_step_is_finished_first(
        self, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """A real Ctrl-C while the table changes must not leave half a table behind."""
        import signal

        fit, file = fresh(scene), tmp_path / "c.safetensors"
        whole = fit.adam.replace_rows

        def disturbed(names, keep, new):
            signal.raise_signal(signal.SIGINT)
            whole(names, keep, new)

        monkeypatch.setattr(fit.adam, "replace_rows", disturbed)
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run_fit(fit, scene, checkpoint=file)
        assert signal.getsignal(signal.SIGINT) is handler
        resumed = fresh(scene)
        load_checkpoint(resumed, scene, file)
        assert resumed.step == 5
        run_fit(resumed, scene)
        assert_same(resumed, steps(fresh(scene), 20))

    def test_outside_the_main_thread_and_where_it_is_ignored_nothing_is_held(self):
        import signal
        from concurrent.futures import ThreadPoolExecutor

        def handler_inside() -> object:
            with interrupts_held():
                return signal.getsignal(signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        assert handler_inside() is not before
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(handler_inside).result() is before
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            assert handler_inside() is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    def test_without_a_checkpoint_nothing_is_written(self, scene: Scene, tmp_path: Path):
        def stop(facts: dict[str, float]) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_fit(fresh(scene), scene, on_step=stop)
        assert list(tmp_path.iterdir()) == []


class TestResult:
    def test_the_field_remembers_where_it_comes_from(self, scene: Scene):
        fit = steps(fresh(scene), 1)
        field = finished_field(fit, scene, {"downscale": 2.0})
        assert isinstance(field, FeatureField) and list(field.heads) == ["rgb"]
        assert field.about.scene == scene.name and Path(field.about.data) == scene.folder.resolve()
        assert list(field.about.cameras) == [view.name for view in scene.views]
        assert field.about.notes["test_views"] == [view.name for view in scene.split("test")]
        assert (field.about.notes["steps"], field.about.notes["downscale"]) == (1, 2.0)
        assert not any(tensor.requires_grad for tensor in field.splats.tensors().values())

    def test_only_training_views_are_fitted(self, scene: Scene):
        fit = fresh(scene)
        assert len(fit.photos[1]) == len(scene.split("train")) == 7
