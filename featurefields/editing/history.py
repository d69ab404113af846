"""A list of edits that can be taken back, done again, and carried out anew.

Letters: n Gaussians · i identities.

Edits take Gaussians out and add others, so rows do not tell who is who. Every Gaussian has an identity instead: those
of the base are 0, 1, 2 … in their order, a copy gets the next free ones. A step holds the identities it was meant
for; the same list on the same base gives the same field bit for bit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from dataclasses import field as attribute

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from featurefields.editing.edits import Delete, Duplicate, Edit, TintSurroundings, apply
from featurefields.editing.residue import residue
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.raster import Rasterizer
from featurefields.selection import Selection

IDENTITY = "history.identity"
"""Column that identities travel in while an edit is carried out."""
NOTE = "edits"
"""Where `about.notes` lists the edits."""


@dataclass(frozen=True, eq=False)
class Step:
    """One edit of some Gaussians.

    Attributes:
        edit: the change.
        who: identities it is meant for, True where meant, those beyond the end are not; None: everything there is.
        name: what the selection was called, for people.
    """

    edit: Edit
    who: Bool[Tensor, "i"] | None = None
    name: str = ""

    @property
    def words(self) -> str:
        """The step for people: its kind, what is not as usual, and of what."""
        usual = {entry.name: entry.default for entry in fields(self.edit)}
        told = [
            f"{name} {_shown(value)}" for name, value in asdict(self.edit).items() if value != usual[name]
        ]
        of = [] if self.who is None else [f"of {self.name or 'a selection'}"]
        return " ".join([self.edit.kind, *told, *of])


@dataclass(frozen=True, eq=False)
class Edited:
    """A field after some steps.

    Attributes:
        field: the field; `about.notes["edits"]` tells of the steps.
        identities: who its rows are, ascending.
        born: identities given so far.
        copies: identities (from, up to) of copies, by name.
        base_id: fingerprint of the base.
    """

    field: FeatureField
    identities: Int[Tensor, "n"]
    born: int
    base_id: str
    copies: Mapping[str, tuple[int, int]] = attribute(default_factory=dict)

    @staticmethod
    def start(base: FeatureField) -> "Edited":
        """The base itself."""
        identities = torch.arange(len(base), device=base.splats.means.device)
        return Edited(base, identities, len(base), base.fingerprint())

    def rows(self, who: Bool[Tensor, "i"] | None) -> Bool[Tensor, "n"]:
        """Which rows have these identities; None: all."""
        everyone = torch.ones_like(self.identities, dtype=torch.bool)
        return everyone if who is None else self._known(who)[self.identities]

    def who(self, rows: Bool[Tensor, "n"]) -> Bool[Tensor, "i"]:
        """Identities of rows."""
        meant = torch.zeros(self.born, dtype=torch.bool)
        meant[self.identities[rows].cpu()] = True
        return meant

    def chosen(self, selection: Selection) -> Bool[Tensor, "n"]:
        """Rows of a selection that was made on this field, or on the base.

        Raises:
            PromptError: it was made on neither.
        """
        mask = selection.mask.to(self.identities.device)
        if len(mask) == len(self.field) and selection.field_id == self.field.fingerprint():
            return mask
        if selection.field_id == self.base_id:
            return self.rows(mask)
        selection.check(self.field)
        raise AssertionError("a selection of this field was not recognised")

    def copied(self, name: str) -> Bool[Tensor, "n"]:
        """Rows of the copy of this name. Raises `PromptError` when there is none."""
        if name not in self.copies:
            known = ", ".join(self.copies) or "none"
            raise PromptError(f"no copy is called '{name}'; copies so far: {known}")
        start, end = self.copies[name]
        return (self.identities >= start) & (self.identities < end)

    def after(self, step: Step) -> "Edited":
        """The field after one more step. Raises `PromptError` as `apply` does."""
        mask = self.rows(step.who)
        marked = self.field.with_splats(self.field.splats.with_columns(**{IDENTITY: self.identities}))
        changed = apply(step.edit, marked, mask)
        identities = changed.splats.columns[IDENTITY].clone()
        added = len(changed) - len(self.field) if isinstance(step.edit, Duplicate) else 0
        copies = dict(self.copies)
        if isinstance(step.edit, Duplicate):
            identities[len(self.field) :] = torch.arange(self.born, self.born + added).to(identities)
            copies[step.edit.name] = (self.born, self.born + added)
        told = {"edit": type(step.edit).__name__, **asdict(step.edit), "splats": int(mask.sum())}
        done = _noted(changed.with_splats(changed.splats.without_columns(IDENTITY)), told)
        return Edited(done, identities, self.born + added, self.base_id, copies)

    def to(self, device: torch.device | str) -> "Edited":
        """The same on another device."""
        return replace(self, field=self.field.to(device), identities=self.identities.to(device))

    def _known(self, who: Tensor) -> Bool[Tensor, "i"]:
        """`who` with one entry for every identity given so far."""
        meant = torch.zeros(max(self.born, len(who)), dtype=torch.bool, device=self.identities.device)
        meant[: len(who)] = who.to(meant.device)
        return meant


@dataclass(frozen=True, eq=False)
class History:
    """A list of steps, of which the first `cursor` are done and the rest are undone.

    Attributes:
        base_id: fingerprint of the field that the steps begin with.
        steps: all of them.
        cursor: how many are done.
    """

    base_id: str
    steps: tuple[Step, ...] = ()
    cursor: int = 0

    @property
    def done(self) -> tuple[Step, ...]:
        return self.steps[: self.cursor]

    def did(self, step: Step) -> "History":
        """One more step; what was undone is forgotten."""
        return History(self.base_id, (*self.done, step), self.cursor + 1)

    def undone(self, count: int = 1) -> "History":
        """`count` steps back. Raises `PromptError` when fewer were done."""
        if not 0 <= count <= self.cursor:
            raise PromptError(f"--undo of {count} steps was asked for, but {self.cursor} are done")
        return replace(self, cursor=self.cursor - count)

    def redone(self, count: int = 1) -> "History":
        """`count` steps forth again. Raises `PromptError` when fewer were undone."""
        left = len(self.steps) - self.cursor
        if not 0 <= count <= left:
            raise PromptError(f"--redo of {count} steps was asked for, but {left} are undone")
        return replace(self, cursor=self.cursor + count)

    def replay(self, base: FeatureField) -> Edited:
        """The field after the steps that are done.

        Raises:
            PromptError: `base` is not what the steps were made for, or a step cannot be carried out.
        """
        edited = Edited.start(base)
        if edited.base_id != self.base_id:
            raise PromptError(
                f"the edits belong to another scene: they were made on field {self.base_id}, this one is "
                f"{edited.base_id}; give the field they were made on"
            )
        for step in self.done:
            edited = edited.after(step)
        return edited


def step_of(
    edit: Edit,
    edited: Edited,
    mask: Bool[Tensor, "n"] | None = None,
    *,
    name: str = "",
    rasterizer: Rasterizer | None = None,
) -> Step:
    """The step that carries out `edit` on these rows of a field (None: all), now and whenever it is replayed.

    What has to be found out (what else a deletion takes along) is found out once and held in the step, so that
    replaying does not depend on what draws.

    Raises:
        PromptError: a copy of this name is there already, or the surroundings were to be changed for a selection.
    """
    if isinstance(edit, TintSurroundings) and mask is not None:
        raise PromptError(
            "--tint-surroundings changes what all surfaces mirror; it goes without a selection of its own"
        )
    if isinstance(edit, Duplicate) and edit.name in edited.copies:
        raise PromptError(
            f"there is a copy called '{edit.name}' already; give this one another name with --name"
        )
    if isinstance(edit, Delete) and edit.clean_up and mask is not None:
        mask = mask | residue(edited.field, mask, rasterizer=rasterizer)
        edit = Delete()
    return Step(edit, None if mask is None else edited.who(mask), name)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _noted(changed: FeatureField, told: Mapping[str, object]) -> FeatureField:
    before = changed.about.notes.get(NOTE, [])
    notes = {**changed.about.notes, NOTE: [*(before if isinstance(before, list) else []), dict(told)]}
    return replace(changed, about=replace(changed.about, notes=notes))
