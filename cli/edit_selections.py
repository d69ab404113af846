"""Selections that edits name: files, and what a session of `ff segment` keeps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FileFormatError, PromptError

from .edit_folder import Opened
from .options import ComputeOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from featurefields.editing.scripts import Script
    from featurefields.selection import Selection


@dataclass(frozen=True)
class NamedSelections:
    """Finds selections of a field that is edited; call it with a name for the identities.

    Attributes:
        opened: the field; selections were made on it as it is, or on its base.
        compute: where a session is gone through again, and what draws.
        session: file of the session.
        files: files by name.
        folder: where the files are.
    """

    opened: Opened
    compute: ComputeOptions
    session: Path | None = None
    files: "Mapping[str, str]" = field(default_factory=dict)
    folder: Path = Path()

    @staticmethod
    def of_script(
        script: "Script", path: Path, session: Path | None, opened: Opened, compute: ComputeOptions
    ) -> "NamedSelections":
        """Those that a script names; its files are beside it."""
        own = path.parent / script.session if script.session else None
        return NamedSelections(opened, compute, session or own, script.selections, path.parent)

    def __call__(self, name: str) -> "Tensor":
        """Identities of the selection.

        Raises:
            PromptError: nothing has this name, or it was made on another field.
            FileFormatError: a file is no selection, or no session.
        """
        edited = self.opened.edited
        return edited.who(edited.chosen(self._selection(name)))

    def _selection(self, name: str) -> "Selection":
        from featurefields.files.selection import read_selection

        kept = self._kept()
        if name in kept and name not in self.files:
            return kept[name]
        path = self.folder / self.files.get(name, name)
        if not path.exists():
            names = ", ".join([*self.files, *kept, *self.opened.edited.copies])
            known = f"known by name: {names}" if names else "make one with `ff segment`"
            raise FileFormatError(f"no selection '{name}' was found: {path} does not exist; {known}")
        return read_selection(path)

    def _kept(self) -> "Mapping[str, Selection]":
        """What the session keeps, by name."""
        if self.session is None:
            return {}
        from featurefields.files.session import read_session
        from featurefields.segmentation.session import Session

        record, opened = read_session(self.session), self.opened
        fields = [opened.edited.field, opened.base]
        made_on = [field for field in fields if field.fingerprint() == record.get("field_id")]
        if not made_on and record.get("field_id"):
            raise PromptError(
                f"{self.session} belongs to another scene (field {record['field_id']}, this one is "
                f"{fields[0].fingerprint()}); give the session of this one"
            )
        field = [*made_on, *fields][0].to(self.compute.torch_device())
        session = Session.replay(record, field, self.compute.rasterizer())
        return {name: kept.selection.to("cpu") for name, kept in session.kept.items()}
