"""Prompts one after the other: undone, kept, combined, recorded and replayed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import looking, part, pixel_of, two_balls

from featurefields.camera import Camera
from featurefields.errors import FeatureFieldsError, FileFormatError, PromptError
from featurefields.field import FeatureField
from featurefields.files.archive import read_archive, write_archive
from featurefields.files.session import read_session, write_session
from featurefields.raster import RasterConfig, Rasterizer, choose_rasterizer
from featurefields.segmentation.combine import combined, nothing
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Scribble
from featurefields.segmentation.select import SelectConfig, select
from featurefields.segmentation.session import Session
from featurefields.selection import Selection
from featurefields.splats import Splats

CPU = choose_rasterizer("cpu")
VIEW = looking((3.0, 0.0, 1.6))


class CountingRasterizer:
    """The CPU backend, counting how often views are frozen."""

    name = "counting"

    def __init__(self) -> None:
        self.frozen = 0

    def draw(self, *arguments):
        return CPU.draw(*arguments)

    def gather(self, *arguments):
        return CPU.gather(*arguments)

    def freeze(self, splats: Splats, camera: Camera, config: RasterConfig, *, budget_bytes: int = 2**30):
        self.frozen += 1
        return CPU.freeze(splats, camera, config, budget_bytes=budget_bytes)


def on(field: FeatureField, name: str, camera: Camera = VIEW, *, positive: bool = True) -> Click:
    x, y = pixel_of(field, camera, name)
    return Click(x + 0.5, y + 0.5, camera, positive)


def iou(selection: Selection, wanted: torch.Tensor) -> float:
    return float((selection.mask & wanted).sum() / (selection.mask | wanted).sum())


def same(one: Selection, other: Selection) -> bool:
    return torch.equal(one.mask, other.mask) and torch.equal(one.score, other.score) and one.how == other.how


def one_of_each(field: FeatureField) -> list:
    """Prompts of all kinds on the red ball, in a view of the field and in a new one."""
    known = field.about.cameras["images/002.png"]
    x, y = pixel_of(field, known, "red")
    mask = torch.zeros(known.height, known.width, dtype=torch.bool)
    mask[y - 1 : y + 2, x - 1 : x + 2] = True
    return [
        on(field, "red"),
        Scribble(((x - 1.25, y + 0.1), (x + 1.7, y + 0.6)), known, 1.5, name="stroke"),
        MaskPrompt(mask, known, whole=False),
        Box(x - 8.0, y - 8.0, x + 9.0, y + 9.0, known, positive=False),
        on(field, "floor", positive=False),
    ]


class TestSteps:
    def test_a_session_selects_what_select_does(self, backend: Rasterizer, device: torch.device):
        field = two_balls().to(device)
        prompts = [on(two_balls(), "red"), on(two_balls(), "floor", positive=False)]
        session = Session(field, backend)
        for prompt in prompts:
            session.add(prompt)
        assert same(session.selection, select(field, prompts, rasterizer=backend))
        assert session.prompts == tuple(prompts)

    def test_nothing_is_selected_at_first_and_after_clearing(self):
        session = Session(two_balls(), CPU)
        assert session.selection.count == 0
        session.selection.check(session.field)
        session.add(on(session.field, "red"))
        assert session.selection.count > 0
        session.clear()
        assert session.selection.count == 0 and session.steps == ()

    def test_undo_takes_back_one_prompt_and_redo_brings_it_again(self):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        first = session.selection
        session.add(on(field, "blue"))
        second = session.selection
        assert second.count > first.count
        assert session.undo() and same(session.selection, first)
        assert session.redo() and same(session.selection, second)
        assert not session.redo()
        assert session.undo() and session.undo() and not session.undo()
        assert session.selection.count == 0

    def test_a_new_step_forgets_what_was_undone(self):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        session.undo()
        session.add(on(field, "blue"))
        assert not session.redo() and iou(session.selection, part("blue")) > 0.9

    def test_clearing_can_be_undone(self):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        before = session.selection
        session.clear()
        session.clear()  # nothing to clear is no step
        assert session.undo() and same(session.selection, before)

    def test_a_bad_prompt_changes_nothing(self):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        before = session.selection
        with pytest.raises(PromptError, match="outside the picture"):
            session.add(Click(-3.0, 5.0, VIEW))
        assert len(session.steps) == 1 and session.selection is before

    def test_only_negative_prompts_are_one_clear_line(self):
        session = Session(two_balls(), CPU)
        session.add(on(session.field, "red", positive=False))
        with pytest.raises(PromptError, match=r"add a positive click"):
            _ = session.selection

    def test_settings_are_for_all_prompts(self):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        automatic = session.selection
        session.config = SelectConfig(threshold=-1.0, connected=False)
        assert bool(session.selection.mask.all())
        assert session.undo() and session.redo()  # settings are no step
        assert bool(session.selection.mask.all())
        session.config = SelectConfig()
        assert same(session.selection, automatic)


class TestWhatIsKept:
    def test_views_and_evidence_are_gathered_once(self):
        field, counting = two_balls(), CountingRasterizer()
        session = Session(field, counting)
        session.add(on(field, "red"))
        assert counting.frozen == 1
        _ = session.selection
        before = counting.frozen
        equal = Camera(
            VIEW.world_from_camera.clone(), VIEW.focal_px.clone(), VIEW.centre_px.clone(), VIEW.size
        )
        session.add(on(field, "blue", equal))
        assert session.selection.count and counting.frozen == before
        session.add(on(field, "red", looking((2.8, 0.5, 1.6))))
        session.undo()
        session.config = SelectConfig(threshold=0.4)
        assert session.selection.count and counting.frozen == before + 1

    def test_a_budget_of_nothing_changes_nothing_but_the_work(self):
        field, counting = two_balls(), CountingRasterizer()
        tight, ample = Session(field, counting, budget_bytes=0), Session(field, CPU)
        for camera in (VIEW, looking((2.8, 0.5, 1.6)), VIEW):
            for session in (tight, ample):
                session.add(on(field, "red", camera))
        assert counting.frozen == 3 and same(tight.selection, ample.selection)


class TestAlgebra:
    @pytest.fixture
    def session(self) -> Session:
        field = two_balls()
        session = Session(field, CPU)
        for name in ("red", "blue"):
            session.add(on(field, name))
            session.keep(name)
            session.clear()
        return session

    def test_kept_selections_are_combined_by_name(self, session: Session):
        session.combine("or", "red")
        assert torch.equal(session.selection.mask, session.kept["red"].selection.mask)
        session.combine("or", "blue")
        both = session.selection
        assert iou(both, part("red") | part("blue")) > 0.9
        session.combine("minus", "red")
        assert torch.equal(session.selection.mask, both.mask & ~session.kept["red"].selection.mask)
        session.invert()
        assert iou(session.selection, part("red") | part("floor")) > 0.9
        session.undo()
        session.undo()
        assert same(session.selection, both)
        session.combine("and", "blue")
        assert torch.equal(session.selection.mask, both.mask & session.kept["blue"].selection.mask)

    def test_keeping_again_replaces_but_steps_remember(self, session: Session):
        session.combine("or", "red")
        before = session.selection
        session.clear()
        session.add(on(session.field, "floor"))
        session.keep("red")
        session.undo()
        session.undo()
        assert same(session.selection, before)
        session.forget("red")
        assert set(session.kept) == {"blue"} and same(session.selection, before)

    def test_unknown_names_and_operations_are_one_clear_line(self, session: Session):
        with pytest.raises(PromptError, match=r"no selection called 'green' is kept; kept are: red, blue"):
            session.combine("or", "green")
        with pytest.raises(PromptError, match=r"'xor'; the operations are or, and, minus"):
            session.combine("xor", "red")
        with pytest.raises(PromptError, match="without a name"):
            session.keep(" ")
        assert session.steps == ()

    def test_operators_are_those_of_sets_and_of_fuzzy_sets(self):
        generator = torch.Generator().manual_seed(3)
        score = 2 * torch.rand(2, 50, generator=generator) - 1
        a, b = (Selection(row > 0.2, row, "f", {"n": n}) for n, row in enumerate(score))
        for found, mask, soft in (
            (a | b, a.mask | b.mask, score.amax(0)),
            (a & b, a.mask & b.mask, score.amin(0)),
            (a - b, a.mask & ~b.mask, torch.minimum(score[0], -score[1])),
            (~a, ~a.mask, -score[0]),
        ):
            assert torch.equal(found.mask, mask) and torch.equal(found.score, soft)
        assert torch.equal((~(a | b)).mask, (~a & ~b).mask) and torch.equal((~(a | b)).score, (~a & ~b).score)
        assert (a - b).how == {"operation": "minus", "of": [{"n": 0}, {"n": 1}]}
        assert same(combined(a, "minus", b), a - b)

    def test_selections_of_different_fields_do_not_mix(self):
        blank = torch.zeros(4)
        one = Selection(blank.bool(), blank, "here")
        for other in (
            Selection(blank.bool(), blank, "there"),
            Selection(blank[:3].bool(), blank[:3], "here"),
        ):
            for operation in ("or", "and", "minus"):
                with pytest.raises(PromptError, match=r"different scenes cannot be combined") as caught:
                    combined(one, operation, other)
                assert "\n" not in str(caught.value)

    def test_nothing_is_the_zero_of_or(self):
        field = two_balls()
        chosen = select(field, [on(field, "red")], rasterizer=CPU)
        assert torch.equal((nothing(field) | chosen).mask, chosen.mask)
        assert torch.equal((nothing(field) | chosen).score, chosen.score)


class TestReplay:
    def full(self, field: FeatureField) -> Session:
        """Every kind of step there is."""
        session = Session(field, CPU, SelectConfig(radius_px=2.0))
        session.add(on(field, "blue", field.about.cameras["images/001.png"]))
        session.keep("blue ball")
        session.clear()
        for prompt in one_of_each(field):
            session.add(prompt)
        session.combine("or", "blue ball")
        session.combine("minus", select(field, [on(field, "floor")], rasterizer=CPU), "floor.safetensors")
        session.invert()
        return session

    def test_the_same_bits_after_everything_was_written_and_read(self, tmp_path: Path):
        field = two_balls()
        session = self.full(field)
        write_session(session.record(), tmp_path / "s.json")
        write_archive(field, tmp_path / "field.safetensors")
        again = Session.replay(
            read_session(tmp_path / "s.json"), read_archive(tmp_path / "field.safetensors"), CPU
        )
        assert 0 < session.selection.count < len(field)
        assert same(again.selection, session.selection)
        assert again.record() == session.record() and again.config == session.config
        assert same(again.kept["blue ball"].selection, session.kept["blue ball"].selection)

    def test_a_replayed_session_goes_on_and_back(self):
        field = two_balls()
        session = self.full(field)
        again = Session.replay(json.loads(json.dumps(session.record())), field, CPU)
        for _ in range(len(session.steps)):
            assert same(again.selection, session.selection)
            again.undo()
            session.undo()
        assert again.steps == () and not again.undo()

    def test_known_views_are_written_by_name_and_masks_are_small(self):
        record = self.full(two_balls()).record()
        views = [step.get("view") for step in record["steps"] if step["kind"] in ("scribble", "mask", "box")]
        assert views == ["images/002.png"] * 3 and "camera" in record["steps"][0]
        assert len(json.dumps(record["steps"][2])) < 600

    def test_double_precision_cameras_stay_exact(self):
        field = two_balls()
        camera = looking((3.0, 0.1, 1.6)).to(torch.float64)
        camera = replace(camera, focal_px=camera.focal_px + 1 / 3)
        session = Session(field, CPU)
        session.add(on(field, "red", camera))
        (again,) = Session.replay(json.loads(json.dumps(session.record())), field, CPU).prompts
        assert isinstance(again, Click) and again.camera.focal_px.dtype == torch.float64
        assert torch.equal(again.camera.focal_px, camera.focal_px)
        assert torch.equal(again.camera.world_from_camera, camera.world_from_camera)

    @pytest.mark.parametrize(
        "change, complaint",
        [
            ({"kind": "letter"}, "not the record of a session"),
            ({"schema": 99}, "newer featurefields"),
            ({"schema": True}, "not the record of a session"),
            ({"field_id": "0" * 16}, "recorded on another scene"),
            ({"steps": [{"kind": "dance", "positive": True, "view": "images/001.png", "name": ""}]}, "kind 'dance'"),
            ({"steps": [{"kind": "click"}]}, r"damaged \(no 'positive'\)"),
            ({"steps": 3}, "damaged"),
            ({"steps": ["x"]}, "damaged"),
            (
                {"steps": [{"kind": "click", "positive": True, "name": "", "view": "x.png", "x": 1, "y": 1}]},
                "view 'x.png', which this field does not remember",
            ),
            (
                {"steps": [{"kind": "click", "positive": 1, "name": "", "view": "images/001.png", "x": 1, "y": 1}]},
                "neither true nor false",
            ),
            (
                {"steps": [{"kind": "mask", "positive": True, "name": "", "view": "images/001.png", "whole": True,
                            "mask": {"shape": [40, 40], "zlib": "eNpjYGBgAAAABAAB"}}]},
                "packed numbers",
            ),
            ({"settings": {"sharpness": 3}}, "setting 'sharpness'"),
            ({"settings": {"connected": "yes"}}, "setting 'connected'"),
            ({"kept": [{"name": "a"}]}, "damaged"),
        ],
    )  # fmt: skip
    def test_what_is_no_session_of_this_field_is_one_clear_line(self, change: dict, complaint: str):
        field = two_balls()
        session = Session(field, CPU)
        session.add(on(field, "red"))
        with pytest.raises(FeatureFieldsError, match=complaint) as caught:
            Session.replay(session.record() | change, field, CPU)
        assert isinstance(caught.value, FileFormatError | PromptError) and "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "content, complaint", [(b"[1]", "JSON object"), (b"{", "not JSON"), (b"\xff", "not JSON")]
    )
    def test_files_that_are_no_sessions(self, tmp_path: Path, content: bytes, complaint: str):
        (tmp_path / "s.json").write_bytes(content)
        with pytest.raises(FileFormatError, match=complaint):
            read_session(tmp_path / "s.json")
        with pytest.raises(FileFormatError, match="cannot read"):
            read_session(tmp_path / "none.json")
