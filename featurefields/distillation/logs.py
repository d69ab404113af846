"""What a training tells while it runs: a line of JSON a step, and TensorBoard where it is installed."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

LOG_FILE = "log.jsonl"


class TrainingLog:
    """Facts by step, in `folder`/log.jsonl; a resumed training goes on after the step it resumes from."""

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_FILE
        kept = []
        if from_step and self.path.exists():
            kept = [
                line
                for line in self.path.read_text(encoding="utf-8").splitlines()
                if _before(line, from_step)
            ]
        self._file = self.path.open("w", encoding="utf-8")
        self._file.writelines(f"{line}\n" for line in kept)
        self._board = _board(folder / "tensorboard", from_step)

    def write(self, step: int, facts: Mapping[str, float]) -> None:
        """Add one step."""
        self._file.write(json.dumps({"step": step, **facts}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in facts.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _before(line: str, step: int) -> bool:
    """Whether a line is whole and tells of an earlier step."""
    try:
        return int(json.loads(line)["step"]) < step
    except (ValueError, KeyError, TypeError):
        return False


def _board(folder: Path, from_step: int) -> Any:
    """A TensorBoard writer; None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=from_step or None)
