"""What is worked on in the viewer: undo over everything, saving, and the same results as the command line."""

from pathlib import Path

import pytest
import torch
from tiny_fields import BALLS, looking, part, pixel_of, two_balls

from featurefields.editing.edits import Delete, Duplicate, Hide, Move, Recolor, RemoveSpecular
from featurefields.editing.scripts import Base
from featurefields.errors import FileFormatError, PromptError
from featurefields.field import FeatureField
from featurefields.raster import choose_rasterizer
from featurefields.segmentation.prompts import Click
from featurefields.viewer.autosave import EDITS, SESSION, VIEW, default_folder, read_saved, save
from featurefields.viewer.document import CURRENT, EVERYTHING, Document
from featurefields.viewer.edits import EDITED_KEPT, Edits

CPU = choose_rasterizer("cpu")
VIEW_OF = looking((3.0, 0.0, 1.6))


@pytest.fixture
def field() -> FeatureField:
    return two_balls(gloss=1.0)


@pytest.fixture
def document(field: FeatureField) -> Document:
    return Document(field, CPU)


def on(field: FeatureField, name: str, *, positive: bool = True) -> Click:
    x, y = pixel_of(field, VIEW_OF, name)
    return Click(x + 0.5, y + 0.5, VIEW_OF, positive)


def state(document: Document) -> tuple:
    """Everything that undo is about."""
    selection = document.selections.current
    splats = document.edits.edited.field.splats
    columns = tuple(sorted((name, column.sum().item()) for name, column in splats.columns.items()))
    kept = tuple((name, int(entry.selection.count)) for name, entry in document.session.kept.items())
    count = None if selection is None else selection.count
    looks = tuple((name, look.colour) for name, look in document.selections.looks.items())
    return count, document.session.config, kept, looks, len(splats), splats.means.sum().item(), columns


def acts(field: FeatureField) -> list:
    """One of every kind of change."""
    return [
        lambda d: d.prompt(on(field, "red")),
        lambda d: d.prompt(on(field, "floor", positive=False)),
        lambda d: d.did(d.selections.configure(candidate=2 if len(d.selections.candidates()) > 1 else 1)),
        lambda d: d.keep("red"),
        lambda d: d.edit(RemoveSpecular(), "red"),
        lambda d: d.did(d.selections.clear()),
        lambda d: d.prompt(on(field, "blue")),
        lambda d: d.did(d.selections.combine("or", "red")),
        lambda d: d.did(d.selections.invert()),
        lambda d: d.keep("the rest"),
        lambda d: d.rename("the rest", "floor"),
        lambda d: d.edit(Recolor((0.1, 0.8, 0.1)), CURRENT),
        lambda d: d.edit(Duplicate((0.0, 0.0, 0.5), "world", "twin"), "red"),
        lambda d: d.edit(Move((0.2, 0.0, 0.0), "world"), "twin"),
        lambda d: d.did(d.selections.pick("red")),
        lambda d: d.edit(Hide(), "floor"),
        lambda d: d.edit(Delete(), CURRENT),
        lambda d: d.did(d.selections.forget("floor")),
    ]


def test_everything_can_be_taken_back_and_done_again(document: Document, field: FeatureField):
    states = [state(document)]
    for act in acts(field):
        act(document)
        if document.last[1] is None and state(document) != states[-1]:
            states.append(state(document))
    steps = len(states) - 1
    assert steps >= len(acts(field)) - 1
    for back in range(steps):
        assert state(document) == states[steps - back]
        assert document.undo()
        while state(document) == states[steps - back]:
            assert document.undo()
    assert state(document) == states[0] and document.undo() is None
    for forth in range(steps):
        assert document.redo()
        while state(document) == states[forth]:
            assert document.redo()
        assert state(document) == states[forth + 1]
    assert document.redo() is None


def test_something_new_forgets_what_was_taken_back(document: Document, field: FeatureField):
    document.prompt(on(field, "red"))
    document.edit(RemoveSpecular(), CURRENT)
    document.undo()
    document.keep("red")
    assert document.redo() is None and document.edits.history.steps[document.edits.history.cursor :]
    document.undo()
    assert document.selections.current is not None and document.undo() and document.selections.current is None


def test_a_prompt_that_selects_nothing_changes_nothing(document: Document, field: FeatureField):
    before = state(document)
    with pytest.raises(PromptError, match="none says what to select"):
        document.prompt(on(field, "red", positive=False))
    with pytest.raises(PromptError, match="hits nothing"):
        document.prompt(Click(0.5, 0.5, VIEW_OF))
    assert state(document) == before and document.last == (None, None) and document.version == 0


def test_a_refused_prompt_leaves_what_can_be_done_again(document: Document, field: FeatureField):
    document.prompt(on(field, "red"))
    after = state(document)
    document.undo()
    with pytest.raises(PromptError, match="none says what to select"):
        document.prompt(on(field, "red", positive=False))
    assert document.redo() and state(document) == after


def test_an_edit_is_tried_before_it_is_carried_out(document: Document, field: FeatureField):
    document.prompt(on(field, "red"))
    document.try_edit(Delete(), CURRENT)
    assert len(document.edits.shown.field) < len(field) == len(document.edits.edited.field)
    document.give_up()
    assert len(document.edits.shown.field) == len(field)
    document.try_edit(Delete(), CURRENT)
    document.edit(Delete(), CURRENT)
    assert document.edits.tried is None and len(document.edits.edited.field) < len(field)


def test_prompts_on_what_edits_moved_are_refused(document: Document, field: FeatureField):
    document.prompt(on(field, "red"))
    document.edit(Recolor((0.1, 0.8, 0.1)), CURRENT)
    document.prompt(on(field, "red"), on_edited=True)  # a colour moves nothing
    away = tuple(2 * (b - r) for r, b in zip(BALLS["red"], BALLS["blue"], strict=True))
    document.edit(Move(away, "world"), CURRENT)
    with pytest.raises(PromptError, match="moved or uncovered"):
        document.prompt(on(field, "red"), on_edited=True)
    document.prompt(on(field, "blue"), on_edited=True)
    document.prompt(on(field, "red"))  # given on the original


@pytest.mark.parametrize("name", ["", "  ", EVERYTHING, CURRENT])
def test_names_that_mean_something_else_are_refused(document: Document, field: FeatureField, name: str):
    document.prompt(on(field, "red"))
    with pytest.raises(PromptError, match="cannot be called"):
        document.keep(name)


def test_a_name_is_taken_once(document: Document, field: FeatureField):
    document.prompt(on(field, "red"))
    document.keep("a")
    document.keep("b")
    with pytest.raises(PromptError, match="already"):
        document.rename("a", "b")
    document.rename("a", "c")
    assert list(document.session.kept) == ["c", "b"] and document.targets == (CURRENT, "c", "b", EVERYTHING)
    assert [look.colour for look in document.selections.looks.values()] == [0, 1]


def test_work_is_there_again(document: Document, field: FeatureField, tmp_path: Path):
    for act in acts(field)[:14]:
        act(document)
    document.show("red", False)
    document.undo()
    base = Base("field.safetensors", "0" * 64, field.fingerprint(), len(field))
    save(document, base, tmp_path, ({"fov": 40.0},))
    saved = read_saved(tmp_path, field.fingerprint())
    again = Document(field, CPU, record=saved.record, history=saved.history, looks=saved.looks)
    assert state(again) == state(document) and saved.path == ({"fov": 40.0},)
    assert not again.selections.looks["red"].shown
    one, other = document.selections.current, again.selections.current
    assert one is not None and other is not None and torch.equal(one.mask, other.mask)
    undone = again.redo()
    assert undone is not None and "move" in undone
    for _ in range(40):
        again.undo()
    assert again.selections.current is None and len(again.edits.edited.field) == len(field)


def test_the_work_on_another_field_is_refused(document: Document, field: FeatureField, tmp_path: Path):
    save(document, Base("f.safetensors", "", field.fingerprint(), len(field)), tmp_path)
    with pytest.raises(PromptError, match="another field"):
        read_saved(tmp_path, "0" * 16)
    (tmp_path / VIEW).write_text('{"looks": 3}')
    with pytest.raises(FileFormatError, match=r"view\.json is damaged"):
        read_saved(tmp_path, field.fingerprint())


def test_saving_replaces_files_as_a_whole(document: Document, field: FeatureField, tmp_path: Path):
    base = Base("f.safetensors", "", field.fingerprint(), len(field))
    save(document, base, tmp_path)
    (tmp_path / SESSION).chmod(0o444)
    document.prompt(on(field, "red"))
    save(document, base, tmp_path)
    assert read_saved(tmp_path, field.fingerprint()).record is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([SESSION, EDITS, VIEW])


def test_the_folder_is_beside_what_is_viewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert default_folder(tmp_path, "id") == tmp_path / "viewer"
    assert default_folder(tmp_path / "scene.ply", "id") == tmp_path / "scene.viewer"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert default_folder(tmp_path, "id") == tmp_path / "state" / "featurefields" / "id"


def test_undo_goes_further_back_than_fields_are_kept(field: FeatureField):
    edits, done = Edits(field), []
    for number in range(EDITED_KEPT + 3):
        act = edits.do(Move((0.01 * number, 0.0, 0.0), "world"), part("red"), "red")
        done.append((act, edits.edited.field.splats.means.clone()))
    for act, means in reversed(done):
        assert torch.equal(edits.edited.field.splats.means, means)
        act.undo()
    assert torch.equal(edits.edited.field.splats.means, field.splats.means)
    for act, means in done:
        act.redo()
        assert torch.equal(edits.edited.field.splats.means, means)
