"""The session that `ff segment` goes on with: prompts of earlier commands, kept selections."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .console import Console
from .features import find_extractor
from .inputs import load_selection
from .options import OptionalName, OptionalPath

if TYPE_CHECKING:
    import torch

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.segmentation.prompts import Prompt, TextTower
    from featurefields.segmentation.session import Session

Combinations = tyro.conf.UseAppendAction[
    Annotated[
        tuple[tuple[Literal["or", "and", "minus"], str], ...],
        tyro.conf.arg(name="with", metavar="or|and|minus SELECTION", help_behavior_hint="(may be repeated)"),
    ]
]


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Going on with what was prompted before, and with other selections."""

    session: OptionalPath = None
    """File that remembers prompts and settings: made where there is none, else its prompts come before the new ones."""
    undo: Annotated[int, tyro.conf.arg(metavar="N", help_behavior_hint="")] = 0
    """Take back the last N steps of the session first."""
    clear: bool = False
    """Take back all steps of the session first; selections that it keeps by name stay."""
    name: OptionalName = None
    """What is selected is kept under this name in the session."""
    combine: Combinations = ()
    """Combine what is prompted with a selection: one that the session keeps, by its name, or a file."""

    def check(self) -> None:
        """Raise `PromptError` when the options contradict each other."""
        if self.undo < 0:
            raise PromptError(f"--undo takes back a number of steps, got {self.undo}; give 0 or more")
        if (self.undo or self.clear) and not self.goes_on:
            raise PromptError(
                "--undo and --clear take back steps of an earlier command; say which with --session FILE that exists"
            )

    @property
    def goes_on(self) -> bool:
        """Whether there is something to go on with."""
        return self.session is not None and self.session.exists()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a command says about how is selected; None and False leave what the session says."""

    field: Literal["indep", "total", "dep"] | None
    threshold: float | None
    everywhere: bool
    candidate: int | None


def open_session(
    options: SessionOptions,
    settings: Settings,
    field: "FeatureField",
    rasterizer: "Rasterizer",
    text: "TextTower | None",
) -> "Session":
    """The session in the file, after what is taken back, or a new one.

    Raises:
        FileFormatError: the file is no session.
        PromptError: it belongs to another field, or has fewer steps than are to be taken back.
    """
    from featurefields.files.session import read_session
    from featurefields.segmentation.select import SelectConfig
    from featurefields.segmentation.session import Session

    if options.session is not None and options.goes_on:
        session = Session.replay(read_session(options.session), field, rasterizer, text=text)
    else:
        session = Session(field, rasterizer, text=text)
    for count in range(options.undo):
        if not session.undo():
            raise PromptError(
                f"--undo {options.undo} was asked for, but {options.session} has only {count} steps"
            )
    if options.clear:
        session.clear()
    config = session.config
    chosen = {} if settings.candidate is None else {"candidate": settings.candidate}
    session.config = SelectConfig(  # which candidate it was before means nothing after other prompts
        field=settings.field or config.field,
        threshold=config.threshold if settings.threshold is None else settings.threshold,
        connected=config.connected and not settings.everywhere,
        centred=config.centred,
        radius_px=config.radius_px,
        **chosen,
    )
    return session


def text_tower(
    prompts: "list[Prompt]", options: SessionOptions, features: str, device: "torch.device", console: Console
) -> "TextTower | None":
    """The extractor, when there are words that it has to understand and it can; it is loaded only then.

    Raises:
        PromptError: there are words and it was not said which extractor understands them.
        UnknownNameError, UnavailableError, FileFormatError: the extractor cannot be loaded.
    """
    from featurefields.segmentation.prompts import Text, TextTower

    words = any(isinstance(prompt, Text) for prompt in prompts)
    if not words and options.session is not None and options.goes_on:
        words = f'"kind": "{Text.kind}"' in options.session.read_text(encoding="utf-8", errors="replace")
    if words and features == "auto":
        raise PromptError(
            "words were given, but not which extractor understands them; name the one that the field's features are "
            "of, which needs a text tower, with --features"
        )
    extractor = find_extractor(features, device, console) if words else None
    return extractor if isinstance(extractor, TextTower) else None


def go_on(
    session: "Session", prompts: "list[Prompt]", options: SessionOptions, field: "FeatureField"
) -> None:
    """Add prompts, combine with other selections, keep the result by its name.

    Raises:
        PromptError: a prompt says nothing, or a selection is of another field.
        FileFormatError: a selection is neither kept nor a file.
    """
    for prompt in prompts:
        session.add(prompt)
    for operation, name in options.combine:
        if name in session.kept:
            session.combine(operation, name)
        else:
            session.combine(operation, load_selection(Path(name), field), name)
    if options.name is not None:
        session.keep(options.name)


def reflections(session: "Session", prompts: "list[Prompt]") -> list[str]:
    """One line for every new positive prompt that shows a reflection, unless reflections are what is compared."""
    from featurefields.segmentation.reflection import REFLECTION

    if session.config.field == "dep":
        return []
    found = []
    for prompt in prompts:
        share = session.evidence(prompt).reflected
        if prompt.positive and share is not None and share >= REFLECTION:
            found.append(
                f"the {prompt.kind} {prompt} shows a reflection: {share:.0%} of its light depends on the view; what "
                "reflects it is selected, and --field dep selects what shows the same reflection"
            )
    return found
