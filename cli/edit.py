"""`ff edit`: changes of what is selected, which can be taken back."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import PromptError

from .console import Console, Summary
from .edit_flags import NEEDS_SELECTION, EditFlags
from .edit_folder import (
    HISTORY_FILE,
    Opened,
    has_history,
    open_edited,
    restore_base,
    write_base,
    write_list,
)
from .edit_selections import NamedSelections
from .edited import HOLES, PLY_FILE, REVEALED, STRIP_FILE, write_edited, write_holes
from .inputs import FIELD_FILE, existing
from .options import ComputeOptions, OptionalPath, ReportOptions, WriteOptions

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.editing.history import Edited, History
    from featurefields.raster import Rasterizer

OptionalOutput = Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PATH", help_behavior_hint="")]
Chosen = Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME", help_behavior_hint="")]
OUTPUTS = (FIELD_FILE, PLY_FILE, STRIP_FILE, HISTORY_FILE, HOLES, REVEALED)


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Change what a selection shows, where it is, or take it out; the input is not touched.

    The output is a folder with the edited field, the same as an ordinary .ply, a before/after picture, and the list of
    edits, which --undo and --redo go back and forth in; or just a .ply when its name ends so. Editing such a folder
    goes on with its list, in place when no output is given.
    """

    source: Annotated[tyro.conf.Positional[OptionalPath], tyro.conf.arg(name="field", metavar="FIELD")] = None
    """A folder that `ff fit` or `ff edit` wrote, a .safetensors archive, or any 3DGS .ply."""
    splat: OptionalPath = None
    """An ordinary .ply to edit as it is: everything but the edited values stays, byte by byte."""
    output: OptionalOutput = None
    """Folder for the results, or a .ply to write."""
    selection: Chosen = None
    """What to change: a selection file of `ff segment`, a name that --session keeps, or a copy; else everything."""
    session: OptionalPath = None
    """Session of `ff segment` that keeps selections by name."""
    script: OptionalPath = None
    """Carry out the list of edits in this JSON file, before the flags."""
    undo: bool = False
    """Take back the last edit of FIELD."""
    redo: bool = False
    """Do again what was taken back."""
    steps: int = 1
    """How many edits --undo and --redo go."""
    edits: tyro.conf.OmitArgPrefixes[EditFlags] = EditFlags()
    holes: bool = False
    """Also write, for every view, where something is missing now (holes/) and where something else shows
    (revealed/)."""
    data: OptionalPath = None
    """Folder of the photos, when it is not where the field was fitted."""
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

    @property
    def field(self) -> Path:
        """What is edited. Raises `PromptError` when nothing was given."""
        if self.source is None:
            raise PromptError(
                "nothing to edit was given; name a FIELD that `ff fit` or `ff edit` wrote, or a .ply"
            )
        return self.source

    @property
    def target(self) -> Path:
        """Where the results go. Raises `PromptError` when that was not said."""
        if self.output is not None:
            return self.output
        if has_history(self.field):
            return self.field
        raise PromptError(f"where should the edited {self.field} go? pass --output FOLDER (or -o)")

    @property
    def in_place(self) -> bool:
        """Whether a folder of edits is gone on with where it is; nothing is lost by that."""
        return has_history(self.field) and self.target.resolve() == self.field.resolve()


def run(options: EditOptions, console: Console) -> Summary:
    """Open, edit or go back and forth, write."""
    if options.splat is not None:
        from .edit_splat import run_splat

        return run_splat(options, console)
    _refuse(options)
    rasterizer = options.compute.rasterizer()
    opened = open_edited(options.field, overwrite=options.write.overwrite)
    back = opened.history.cursor
    if options.undo or options.redo:
        history = opened.history
        history = history.undone(options.steps) if options.undo else history.redone(options.steps)
        edited = history.replay(opened.base)
    else:
        history, edited = _edit(options, opened)
    if options.undo:
        back = history.cursor
    paths = _write(options, opened, history, edited, rasterizer, console)
    rows = {
        "edits": [type(step.edit).__name__ for step in history.done[back:]],
        "splats changed": _changed(edited, history.cursor - back),
        "splats": len(edited.field),
        "before": len(opened.edited.field),
        "done": [step.words for step in history.done],
        "undone": [step.words for step in history.steps[history.cursor :]],
    }
    verb = "took back edits of" if options.undo else "did again edits of" if options.redo else "edited"
    return Summary(f"{verb} {options.field}", rows, paths, [f"ff info {paths[0]}"])


def _refuse(options: EditOptions) -> None:
    """Refuse what cannot work before anything is read."""
    from featurefields.atomic import refuse_existing

    existing(options.field)
    flags, going = options.edits, options.undo or options.redo
    flags.check()
    if going and (flags != EditFlags() or options.script is not None or options.undo == options.redo):
        raise PromptError("--undo and --redo go by themselves: one of them, without other edits")
    if going and (not has_history(options.field) or options.steps < 1):
        raise PromptError(
            f"--undo and --redo go 1 step or more back and forth in a folder that `ff edit` wrote; {options.field} "
            f"{'is one' if has_history(options.field) else 'is none'}, and --steps is {options.steps}"
        )
    if not going and flags == EditFlags() and options.script is None:
        raise PromptError(
            "no edit was asked for; pass --remove-specular, --recolor R,G,B, --roughness F, --move X Y Z, --delete or "
            "another (see `ff edit --help`)"
        )
    needy = [name for name in NEEDS_SELECTION if getattr(flags.presence, name)]
    if needy and options.selection is None:
        raise PromptError(f"--{needy[0]} needs to know what; pass --selection FILE of `ff segment`")
    alone = options.target.suffix.lower() == ".ply"
    if alone and (going or options.holes):
        raise PromptError("--undo, --redo and --holes need a folder for --output, not a .ply")
    if options.in_place:
        return
    for path in [options.target] if alone else [options.target / name for name in OUTPUTS]:
        refuse_existing(path, options.write.overwrite)


def _edit(options: EditOptions, opened: Opened) -> "tuple[History, Edited]":
    """The script, then the flags."""
    from featurefields.editing.edits import TintSurroundings
    from featurefields.editing.history import step_of
    from featurefields.editing.scripts import read_script

    history, edited = opened.history, opened.edited
    if options.script is not None:
        script = read_script(options.script)
        resolve = NamedSelections.of_script(script, options.script, options.session, opened, options.compute)
        history, edited = script.carry_out(history, edited, resolve)
    edits, who = options.edits.edits(opened.base), None
    if edits and options.selection is not None:
        if options.selection in edited.copies:
            who = edited.who(edited.copied(options.selection))
        else:
            who = NamedSelections(opened, options.compute, options.session)(options.selection)
    for edit in edits:
        whole = who is None or isinstance(edit, TintSurroundings)
        mask, name = (None, "") if whole else (edited.rows(who), Path(options.selection or "").stem)
        step = step_of(edit, edited, mask, name=name)
        history, edited = history.did(step), edited.after(step)
    return history, edited


def _changed(edited: "Edited", fresh: int) -> int:
    """Most Gaussians that one of the last `fresh` edits changed."""
    from featurefields.editing.history import NOTE

    notes = edited.field.about.notes.get(NOTE, [])
    told = notes[len(notes) - fresh :] if isinstance(notes, list) else []
    return max((int(entry["splats"]) for entry in told), default=0)


def _write(
    options: EditOptions,
    opened: Opened,
    history: "History",
    edited: "Edited",
    rasterizer: "Rasterizer",
    console: Console,
) -> list[Path]:
    """Everything, the list of edits last."""
    output, overwrite = options.target, options.write.overwrite or options.in_place
    alone, device = output.suffix.lower() == ".ply", options.compute.torch_device()
    if not alone:
        write_base(opened, output, overwrite=overwrite)
    base, shown, touched = opened.base.to(device), edited.to(device), _touched(opened, history).to(device)
    paths = write_edited(base, shown.field, touched, output, rasterizer, console, overwrite=overwrite)
    if alone:
        return paths
    if options.holes or (options.in_place and (output / HOLES).is_dir()):  # else they would tell what was
        paths += write_holes(base, shown, output, rasterizer, console, data=options.data, overwrite=overwrite)
    if history.cursor == 0:
        restore_base(opened, output)
    return [*paths, write_list(opened, history, output, overwrite=overwrite)]


def _touched(opened: Opened, history: "History") -> "Tensor":
    """Rows of the base that some edit was meant for."""
    import torch

    touched = torch.zeros(len(opened.base), dtype=torch.bool)
    for step in history.steps:
        touched |= True if step.who is None else step.who[: len(touched)]
    return touched
