"""Which photos may be fitted and which are held out."""

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from featurefields.errors import SceneError
from featurefields.readers.capture import Shot
from featurefields.readers.record import Record

Split = Literal["train", "test"]


class NamedSplits:
    """The lists `train_filenames`, `val_filenames` and `test_filenames` of a nerfstudio file.

    Held out is what `test_filenames`, or else `val_filenames`, lists; train is what `train_filenames` lists,
    or else everything not listed elsewhere. A photo on both sides is held out.
    """

    def __init__(self, document: Record) -> None:
        lists = {key: document.texts(f"{key}_filenames") for key in ("train", "val", "test")}
        train = lists["train"]
        self.train = None if train is None else {_plain(name) for name in train}
        self.test = {_plain(name) for name in lists["test"] or lists["val"] or []}
        self.spare = {_plain(name) for name in lists["val"] or []} - self.test
        self.given = any(names for names in lists.values())

    def of(self, *names: str) -> Split | Literal["none"] | None:
        """The split of the photo that goes by any of `names`; None without lists, "none" when it is unused."""
        if not self.given:
            return None
        known = {_plain(name) for name in names}
        if known & self.test:
            return "test"
        if self.train is None:
            return "none" if known & self.spare else "train"
        if known & self.train:
            return "train"
        return "none" if self.test else "test"


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def hold_out(shots: Collection[Shot], every: int) -> tuple[Shot, ...]:
    """Of the shots without a split every `every`-th, from the first on, becomes test, the others train.

    0 holds out nothing; a single photo is always train.

    Raises:
        SceneError: `every` is 1 or negative.
    """
    if every == 1 or every < 0:
        raise SceneError(f"cannot hold out every {every}-th view; choose 0 for none, or a number from 2 on")
    undecided = [shot for shot in shots if shot.split is None]
    held = set() if every == 0 or len(undecided) < 2 else {shot.name for shot in undecided[::every]}
    return tuple(
        shot if shot.split else replace(shot, split="test" if shot.name in held else "train")
        for shot in shots
    )
