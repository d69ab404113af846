"""Lists of edits: replayed, taken back, written and read, bit for bit."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_fields import part, two_balls
from torch import Tensor

from featurefields.editing.edits import (
    KINDS,
    Delete,
    Duplicate,
    Edit,
    Hide,
    Keep,
    Move,
    Recolor,
    RemoveSpecular,
    Rotate,
    Scale,
    ScaleRoughness,
    ScaleSpecular,
    SetRoughness,
    Show,
    TintSpecular,
    TintSurroundings,
)
from featurefields.editing.history import Edited, History, Step, step_of
from featurefields.editing.records import edit_of, edit_record, unpacked_rows
from featurefields.editing.scripts import Base, history_record, read_script, script_of, write_history
from featurefields.errors import FeatureFieldsError, FileFormatError, PromptError
from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.json_tensors import packed
from featurefields.selection import Selection

SHINY = -1.0
EXAMPLES: list[Edit] = [
    RemoveSpecular(0.5, "base-colour"),
    ScaleSpecular(1.5),
    TintSpecular((0.9, 0.5, 0.1)),
    Recolor((0.1, 0.2, 1 / 3), "both", True),
    SetRoughness(0.3),
    ScaleRoughness(0.5),
    TintSurroundings((0.5, 1.0, 2.0)),
    Rotate(30.0, (0.0, 1.0, 0.5), "world"),
    Scale(1.1),
    Move((0.1, -0.2, 0.0)),
    Duplicate((0.5, 0.0, 0.0), name="second"),
    Hide(),
    Show(),
    Delete(clean_up=True),
    Keep(),
]
BASE = Base("base.safetensors", "0" * 64, "f" * 16, 264)


def selection(field: FeatureField, mask: Tensor) -> Selection:
    return Selection(mask, mask.float(), field.fingerprint())


def session(field: FeatureField) -> tuple[History, Edited]:
    """Edits of many kinds, one after the other, of parts that move, go and are copied."""
    edited = Edited.start(field)
    history = History(edited.base_id)
    plan: list[tuple[Edit, str | None]] = [
        (RemoveSpecular(), "red"),
        (Duplicate((0.0, 0.4, 0.2)), "blue"),
        (Delete(clean_up=True), "red"),
        (Recolor((0.9, 0.8, 0.1)), "copy"),
        (Rotate(20.0), "copy"),
        (Hide(), "blue"),
        (TintSurroundings((1.0, 0.8, 0.6)), None),
        (ScaleRoughness(1.5), None),
    ]
    for edit, name in plan:
        mask = None
        if name == "copy":
            mask = edited.copied("copy")
        elif name:
            mask = edited.chosen(selection(field, part(name)))
        step = step_of(edit, edited, mask, name=name or "")
        history, edited = history.did(step), edited.after(step)
    return history, edited


def content(field: FeatureField, path: Path) -> bytes:
    return write_archive(field, path, overwrite=True).read_bytes()


@pytest.fixture(scope="module")
def field() -> FeatureField:
    return two_balls(gloss=SHINY)


class TestReplay:
    def test_the_same_list_gives_the_same_bytes(self, field: FeatureField, tmp_path: Path):
        history, edited = session(field)
        again = history.replay(two_balls(gloss=SHINY))
        assert content(edited.field, tmp_path / "a") == content(again.field, tmp_path / "b")
        assert torch.equal(edited.identities, again.identities) and edited.copies == again.copies
        assert len(edited.field) == 264 and edited.born == 324, "60 went, 60 came"

    def test_so_does_the_list_from_a_file(self, field: FeatureField, tmp_path: Path):
        history, edited = session(field)
        base = replace(BASE, field_id=history.base_id)
        read = read_script(write_history(history, base, tmp_path / "edits.json"))
        assert read.base == base and read.history.cursor == 8
        assert content(read.history.replay(field).field, tmp_path / "a") == content(
            edited.field, tmp_path / "b"
        )
        assert (tmp_path / "edits.json").stat().st_size < 6000, "rows are packed"

    def test_every_state_comes_back_to_the_bit(self, field: FeatureField, tmp_path: Path):
        """Undo and redo through all of them, there and back."""
        history, _ = session(field)
        states = [content(field, tmp_path / "x")]
        growing = Edited.start(field)
        for step in history.steps:
            growing = growing.after(step)
            states.append(content(growing.field, tmp_path / "x"))
        assert len(set(states)) == 9
        while history.cursor:
            history = history.undone()
            assert content(history.replay(field).field, tmp_path / "x") == states[history.cursor]
        history = history.redone(8)
        assert content(history.replay(field).field, tmp_path / "x") == states[8]

    def test_the_input_is_not_changed(self, field: FeatureField, tmp_path: Path):
        before = content(field, tmp_path / "x")
        session(field)
        assert content(field, tmp_path / "x") == before

    def test_another_field_is_one_clear_line(self, field: FeatureField):
        history, _ = session(field)
        other = field.with_splats(field.splats.select(torch.arange(200)))
        with pytest.raises(PromptError, match="the edits belong to another scene") as caught:
            history.replay(other)
        assert "\n" not in str(caught.value)

    def test_notes_tell_of_every_edit(self, field: FeatureField):
        notes = session(field)[1].field.about.notes["edits"]
        assert isinstance(notes, list) and [entry["edit"] for entry in notes][:3] == [
            "RemoveSpecular", "Duplicate", "Delete",
        ]  # fmt: skip
        assert [entry["splats"] for entry in notes][:2] == [60, 60]


class TestGoingBackAndForth:
    def test_no_farther_than_there_is(self, field: FeatureField):
        history, _ = session(field)
        with pytest.raises(PromptError, match="--undo of 9 steps was asked for, but 8 are done"):
            history.undone(9)
        with pytest.raises(PromptError, match="--redo of 1 steps was asked for, but 0 are undone"):
            history.redone()

    def test_something_else_forgets_what_was_undone(self, field: FeatureField):
        history, _ = session(field)
        other = history.undone(3).did(Step(SetRoughness(0.5)))
        assert len(other.steps) == 6 and other.cursor == 6
        with pytest.raises(PromptError, match="0 are undone"):
            other.redone()

    def test_words_for_people(self):
        assert Step(Recolor((0.5, 0.25, 1.0), "dep"), torch.ones(3, dtype=torch.bool), "cup").words == (
            "recolor rgb 0.5,0.25,1 layer dep of cup"
        )
        assert Step(Keep()).words == "keep"


class TestIdentities:
    def test_a_selection_of_the_base_is_understood_after_deletions(self, field: FeatureField):
        start = Edited.start(field)
        edited = start.after(Step(Delete(), start.who(part("red"))))
        blue = edited.chosen(selection(field, part("blue")))
        assert torch.equal(edited.field.splats.means[blue], field.splats.means[part("blue")])
        assert not bool(edited.chosen(selection(field, part("red"))).any())

    def test_so_is_one_of_the_field_as_it_is(self, field: FeatureField):
        start = Edited.start(field)
        edited = start.after(Step(Move((0.0, 0.0, 1.0)), start.who(part("red"))))
        now = torch.arange(264) < 7
        assert torch.equal(edited.chosen(selection(edited.field, now)), now)

    def test_one_of_another_field_is_refused(self, field: FeatureField):
        other = Selection(part("red"), part("red").float(), "a" * 16)
        with pytest.raises(PromptError, match="the selection belongs to another scene"):
            Edited.start(field).chosen(other)

    def test_copies_are_no_part_of_what_was_copied(self, field: FeatureField):
        start = Edited.start(field)
        edited = start.after(Step(Duplicate((0.1, 0.0, 0.0), name="two"), start.who(part("blue"))))
        assert torch.equal(edited.copied("two"), torch.arange(324) >= 264)
        assert not bool((edited.chosen(selection(field, part("blue"))) & edited.copied("two")).any())
        with pytest.raises(PromptError, match="no copy is called 'three'; copies so far: two"):
            edited.copied("three")
        with pytest.raises(PromptError, match="a copy called 'two' already"):
            step_of(Duplicate((0.0, 0.0, 0.0), name="two"), edited)

    def test_surroundings_have_no_selection(self, field: FeatureField):
        with pytest.raises(PromptError, match="changes what all surfaces mirror"):
            step_of(TintSurroundings((1.0, 1.0, 1.0)), Edited.start(field), part("red"))


class TestRecords:
    def test_every_kind_has_an_example(self):
        assert [edit.kind for edit in EXAMPLES] == list(KINDS)

    @pytest.mark.parametrize("edit", EXAMPLES, ids=lambda edit: edit.kind)
    def test_an_edit_comes_back_from_json(self, edit: Edit):
        record = json.loads(json.dumps(edit_record(edit)))
        assert edit_of(record, "edit 1") == edit
        assert set(record) == {"edit", *(entry.name for entry in fields(edit))}

    def test_defaults_may_be_left_out_and_whole_numbers_are_numbers(self):
        assert edit_of({"edit": "recolor", "rgb": [0, 1, 0.5]}, "edit 1") == Recolor((0.0, 1.0, 0.5))

    @pytest.mark.parametrize("count", [0, 1, 7, 8, 1000])
    def test_rows_are_packed_and_unpacked(self, count: int):
        rows = torch.rand(count, generator=torch.Generator().manual_seed(count)) > 0.5
        assert torch.equal(unpacked_rows(json.loads(json.dumps(packed(rows))), "edit 1"), rows)

    BROKEN: ClassVar[dict[str, Any]] = {
        r'edit 4 is no edit: write an object with the kind of edit under "edit"': "recolor",
        r'names no known edit under "edit" but none; known: remove-specular, ': {"kind": "recolor"},
        r'names no known edit under "edit" but .paint.': {"edit": "paint"},
        r'edit 4 \(recolor\) has the unknown key "colour"; it takes edit, flat, layer, rgb': {
            "edit": "recolor", "colour": [0, 0, 0],
        },
        r'edit 4 \(recolor\) lacks "rgb"; add it': {"edit": "recolor"},
        r'edit 4 \(recolor\): "rgb" should be 3 numbers in brackets, not \[1, 0\]': {
            "edit": "recolor", "rgb": [1, 0],
        },
        r'"rgb" should be a number, not .red.': {"edit": "recolor", "rgb": ["red", 0, 0]},
        r'"rgb" should be a number, not True': {"edit": "recolor", "rgb": [True, 0, 0]},
        r'"layer" should be "indep" or "dep" or "both" or "total", not .all.': {
            "edit": "recolor", "rgb": [0, 0, 0], "layer": "all",
        },
        r'"clean_up" should be true or false, not 1': {"edit": "delete", "clean_up": 1},
        r'"name" should be a text, not 3': {"edit": "duplicate", "by": [0, 0, 0], "name": 3},
        r'edit 4 \(roughness\): --roughness must be between 0 and 1, got 7': {"edit": "roughness", "value": 7},
        r'edit 4 \(roughness\): --roughness must be between 0 and 1, got nan': {
            "edit": "roughness", "value": float("nan"),
        },
    }  # fmt: skip

    @pytest.mark.parametrize("message", BROKEN)
    def test_what_is_not_understood_is_one_clear_line(self, message: str):
        with pytest.raises(FileFormatError, match=message) as caught:
            edit_of(self.BROKEN[message], "edit 4")
        assert "\n" not in str(caught.value)


class TestScripts:
    def script(self, *edits: Any, **more: Any) -> dict[str, Any]:
        return {"schema": 1, "kind": "edits", "edits": list(edits), **more}

    def test_a_person_names_selections_copies_and_files(self, field: FeatureField):
        script = script_of(
            self.script(
                {"edit": "duplicate", "by": [0, 0.4, 0], "selection": "ball"},
                {"edit": "recolor", "rgb": [0, 0, 1], "selection": "copy"},
                {"edit": "roughness", "value": 0.2},
                selections={"ball": "somewhere/red.safetensors"},
            )
        )
        assert script.selections == {"ball": "somewhere/red.safetensors"}
        asked: list[str] = []

        def resolve(name: str) -> Tensor:
            asked.append(name)
            return part("red")

        start = Edited.start(field)
        history, edited = script.carry_out(History(start.base_id), start, resolve)
        assert asked == ["ball"] and [step.name for step in history.steps] == ["ball", "copy", ""]
        changed = (edited.field.splats.columns["diffuse"][:264] != field.splats.columns["diffuse"]).any(-1)
        assert not bool(changed.any()), "only the copy was recoloured"
        with pytest.raises(FileFormatError, match="was not written by `ff edit`"):
            script.history  # noqa: B018

    def test_what_was_undone_is_not_carried_out(self, field: FeatureField):
        history, _ = session(field)
        record = history_record(history.undone(5), replace(BASE, field_id=history.base_id))
        start = Edited.start(field)
        done, _ = script_of(json.loads(json.dumps(record))).carry_out(
            History(start.base_id), start, lambda name: pytest.fail(f"{name} was looked for")
        )
        assert len(done.steps) == 3

    def test_identities_of_another_field_mean_nothing(self, field: FeatureField):
        history, _ = session(field)
        script = script_of(history_record(history, BASE))
        start = Edited.start(field)
        with pytest.raises(
            PromptError, match=r"edit 1 \(remove-specular\): its selection was written for field"
        ):
            script.carry_out(History(start.base_id), start, lambda name: part("red"))

    BROKEN: ClassVar[dict[str, Any]] = {
        "this is no list of edits": [],
        'needs "kind": "edits" and "edits"': {"schema": 1, "kind": "session", "edits": []},
        'does not say its version; add "schema": 1': {"kind": "edits", "edits": []},
        "newer featurefields .schema 2, this version reads up to 1.; upgrade": {
            "schema": 2, "kind": "edits", "edits": [],
        },
        'has the unknown key "edit"': {"schema": 1, "kind": "edits", "edits": [], "edit": []},
        '"edits" should be a list': {"schema": 1, "kind": "edits", "edits": {}},
        "edit 2 is no edit": {"schema": 1, "kind": "edits", "edits": [{"edit": "keep"}, 5]},
        '"done" should be a whole number of the 0 edits, not 3': {
            "schema": 1, "kind": "edits", "edits": [], "done": 3,
        },
        '"selections" should be text': {"schema": 1, "kind": "edits", "edits": [], "selections": {"a": 1}},
        'edit 1: "selection" should be the name of one, not 7': {
            "schema": 1, "kind": "edits", "edits": [{"edit": "keep", "selection": 7}],
        },
        'edit 1: "selection": the packed rows are damaged': {
            "schema": 1, "kind": "edits",
            "edits": [{"edit": "keep", "selection": {"who": {"shape": [9], "zlib": "eJwDAAAAAAE="}}}],
        },
        '"base" should name a file beside the list': {
            "schema": 1, "kind": "edits", "edits": [],
            "base": {"file": "../x", "sha256": "", "field_id": "", "splats": 1},
        },
        '"base" should have field_id, file, sha256, splats': {
            "schema": 1, "kind": "edits", "edits": [], "base": {},
        },
    }  # fmt: skip

    @pytest.mark.parametrize("message", BROKEN)
    def test_what_is_not_understood_is_one_clear_line(self, message: str, tmp_path: Path):
        (tmp_path / "edits.json").write_text(json.dumps(self.BROKEN[message]))
        with pytest.raises(FileFormatError, match=message) as caught:
            read_script(tmp_path / "edits.json")
        assert "\n" not in str(caught.value) and "edits.json: " in str(caught.value)

    @pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[" * 100_000])
    def test_no_json_is_one_clear_line(self, content: bytes | None, tmp_path: Path):
        path = tmp_path / "edits.json"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FeatureFieldsError, match=r"edits.json") as caught:
            read_script(path)
        assert "\n" not in str(caught.value)
