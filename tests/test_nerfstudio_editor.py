"""What the viewer's panel does with clicks and edits, without a viewer and without nerfstudio."""

import json
from pathlib import Path

import pytest
import torch
from tiny_fields import part, pixel_of, two_balls

from featurefields.adapters.nerfstudio.editor import Editor
from featurefields.editing.edits import Delete, Duplicate, Recolor, RemoveSpecular
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.files.archive import read_archive
from featurefields.files.selection import read_selection
from featurefields.raster import choose_rasterizer
from featurefields.segmentation.prompts import Click
from featurefields.segmentation.select import SelectConfig
from featurefields_cli import main

CONFIG = SelectConfig(field="indep")
RED = (0.9, 0.1, 0.1)


@pytest.fixture(scope="module")
def field() -> FeatureField:
    return two_balls()


@pytest.fixture
def editor(field: FeatureField) -> Editor:
    return Editor(lambda: field, lambda: choose_rasterizer("cpu"))


def click(field: FeatureField, name: str, positive: bool = True) -> Click:
    camera = next(iter(field.about.cameras.values()))
    x, y = pixel_of(field, camera, name)
    return Click(x + 0.5, y + 0.5, camera, positive)


def overlap(mask: torch.Tensor, name: str) -> float:
    truth = part(name)
    return float((mask & truth).sum() / (mask | truth).sum())


def changed(one: FeatureField, other: FeatureField) -> torch.Tensor:
    """Which Gaussians look other than they did."""
    before, after = other.splats.columns, one.splats.columns
    assert before.keys() == after.keys()
    return torch.stack([(after[name] != before[name]).reshape(len(one), -1).any(-1) for name in after]).any(0)


class TestClicks:
    def test_a_click_selects_what_is_there(self, editor: Editor, field: FeatureField):
        assert editor.selected is None and editor.selection is None and editor.shown is field
        editor.add(click(field, "red"), CONFIG)
        assert editor.selected is not None and overlap(editor.selected.mask, "red") > 0.9
        assert editor.selection is editor.selected

    def test_negative_clicks_take_away(self, editor: Editor, field: FeatureField):
        editor.add(click(field, "red"), CONFIG)
        editor.add(click(field, "blue"), CONFIG)
        assert editor.selected is not None and overlap(editor.selected.mask, "blue") > 0.4
        editor.undo()
        editor.add(click(field, "blue", positive=False), CONFIG)
        assert overlap(editor.selected.mask, "red") > 0.9 and overlap(editor.selected.mask, "blue") == 0

    def test_a_threshold_decides(self, editor: Editor, field: FeatureField):
        editor.add(click(field, "red"), CONFIG)
        counts = []
        for threshold in (0.99, 0.5, 0.0):
            editor.set_config(SelectConfig(field="indep", threshold=threshold))
            assert editor.selected is not None
            counts.append(editor.selected.count)
        assert counts[0] < counts[2] and counts == sorted(counts)

    def test_clicks_are_taken_back_and_cleared(self, editor: Editor, field: FeatureField):
        with pytest.raises(PromptError, match="no click to take back"):
            editor.undo()
        editor.add(click(field, "red"), CONFIG)
        editor.clear()
        assert editor.selected is None
        editor.undo()
        assert editor.selected is not None
        editor.undo()
        assert editor.selected is None

    def test_everything_that_may_change_the_picture_changes_the_version(
        self, editor: Editor, field: FeatureField
    ):
        seen = [editor.version]
        for act in (
            lambda: editor.add(click(field, "red"), CONFIG),
            lambda: editor.set_config(SelectConfig(threshold=0.4)),
            lambda: editor.edit(RemoveSpecular()),
            editor.undo_edit,
            editor.clear,
            editor.undo,
            editor.reset,
        ):
            act()
            seen.append(editor.version)
        assert seen == sorted(set(seen))

    def test_without_features_it_says_when_they_come(self, field: FeatureField):
        early = FeatureField(field.splats, {"rgb": field.heads["rgb"]}, field.about)
        for made in (None, early):
            editor = Editor(lambda made=made: made, lambda: choose_rasterizer("cpu"))
            with pytest.raises(PromptError, match="come at the end of training"):
                editor.add(click(field, "red"), CONFIG)


class TestEdits:
    def test_an_edit_is_of_what_is_selected(self, editor: Editor, field: FeatureField):
        with pytest.raises(PromptError, match="nothing is selected"):
            editor.edit(Recolor(RED))
        editor.add(click(field, "blue"), CONFIG)
        editor.edit(Recolor(RED))
        assert editor.shown is not None and editor.selected is not None
        assert torch.equal(changed(editor.shown, field), editor.selected.mask)

    def test_one_thing_after_another_is_deleted(self, editor: Editor, field: FeatureField):
        """The number of Gaussians changes; what is selected stays what it was."""
        for name in ("red", "blue"):
            editor.clear()
            editor.add(click(field, name), CONFIG)
            selected = editor.selected
            assert selected is not None
            editor.edit(Delete(clean_up=False))
        assert editor.shown is not None and len(editor.edits) == 2
        left = editor.shown.splats.means
        assert len(left) < 160 and float(left[:, 2].max()) < 0.5 * float(field.splats.means[:, 2].max())
        assert editor.selection is not None and editor.selection.mask.shape == (len(left),)
        assert editor.selection.count == 0

    def test_a_copy_is_shown_and_of_no_selection(self, editor: Editor, field: FeatureField):
        editor.add(click(field, "red"), CONFIG)
        assert editor.selected is not None
        chosen = editor.selected.count
        editor.edit(Duplicate((0.0, 0.0, 1.0), name="twin"))
        assert editor.shown is not None and len(editor.shown) == len(field) + chosen
        assert editor.selection is not None and editor.selection.count == chosen
        assert float(editor.selection.score[len(field) :].max()) == -1.0

    def test_edits_are_taken_back(self, editor: Editor, field: FeatureField):
        with pytest.raises(PromptError, match="no edit to take back"):
            editor.undo_edit()
        editor.add(click(field, "red"), CONFIG)
        editor.edit(Recolor(RED))
        once = editor.shown
        editor.edit(Delete())
        editor.undo_edit()
        assert once is not None and editor.shown is not None
        assert not changed(editor.shown, once).any()
        editor.undo_edit()
        assert editor.shown is field and editor.edits == ()


class TestSaving:
    def test_what_is_saved_is_what_ff_edit_and_ff_segment_write(
        self, editor: Editor, field: FeatureField, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        editor.add(click(field, "red"), CONFIG)
        editor.edit(Recolor(RED))
        editor.edit(Delete())
        paths = editor.save(tmp_path / "saved")
        names = {
            "field.safetensors",
            "base.safetensors",
            "edits.json",
            "session.json",
            "selection.safetensors",
        }
        assert {path.name for path in paths} == names
        assert editor.selected is not None and editor.shown is not None
        read_selection(tmp_path / "saved" / "selection.safetensors").check(field)
        assert len(read_archive(tmp_path / "saved")) == len(editor.shown) < len(field)
        assert main(["edit", "--undo", str(tmp_path / "saved"), "--steps", "2", "--json"]) == 0
        capsys.readouterr()
        assert len(read_archive(tmp_path / "saved")) == len(field)

    def test_what_was_saved_before_is_replaced(self, editor: Editor, field: FeatureField, tmp_path: Path):
        editor.add(click(field, "red"), CONFIG)
        editor.edit(Delete())
        editor.save(tmp_path)
        editor.reset()
        assert [path.name for path in editor.save(tmp_path)] == ["field.safetensors"]
        assert [path.name for path in tmp_path.iterdir()] == ["field.safetensors"]
        assert len(read_archive(tmp_path)) == len(field)

    def test_contradicting_prompts_do_not_keep_the_field_from_being_saved(
        self, editor: Editor, field: FeatureField, tmp_path: Path
    ):
        editor.add(click(field, "red", positive=False), CONFIG)
        with pytest.raises(PromptError):
            _ = editor.selected
        assert editor.selection is None
        editor.save(tmp_path)
        assert len(read_archive(tmp_path)) == len(field)
        assert json.loads((tmp_path / "session.json").read_text())["steps"]

    def test_before_there_is_a_field_nothing_is_saved(self, tmp_path: Path):
        with pytest.raises(PromptError, match="no field to save yet"):
            Editor(lambda: None, lambda: choose_rasterizer("cpu")).save(tmp_path)
