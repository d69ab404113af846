"""What the user sees: progress on stderr, one summary (or one JSON object) on stdout."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.table import Table

WIDE = 240
"""Columns of a page that is no terminal; a table of a summary takes what it needs."""
LINE_EVERY_S = 5.0
"""Without a terminal, progress is one plain line at most this often."""


@dataclass(frozen=True)
class Summary:
    """What a command did.

    Attributes:
        title: one short line.
        rows: label → value; values are JSON-able (numbers, text, paths, lists and mappings of those).
            Labels are words with spaces; in JSON the spaces are underscores. The table leaves out what is empty.
        paths: files and folders written.
        next: commands the user may want now.
        details: further facts, in JSON only; labels as in `rows`.
        tables: tables for people, shown above the rows; not in JSON.
    """

    title: str
    rows: Mapping[str, object] = field(default_factory=dict)
    paths: Sequence[Path] = ()
    next: Sequence[str] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    tables: "Sequence[Table]" = ()

    def as_json(self) -> dict[str, object]:
        """The summary as one JSON object; numbers that are not finite become null."""
        facts = {**self.rows, **self.details}
        rows = {label.replace(" ", "_"): plain(value) for label, value in facts.items()}
        return {"title": self.title, **rows, "paths": plain(list(self.paths)), "next": list(self.next)}


class Advance(Protocol):
    """Tells a progress bar that `n` more steps are done, with facts worth showing (`loss=0.1`)."""

    def __call__(self, n: int = 1, **info: object) -> None: ...


@dataclass(frozen=True)
class Console:
    """Where a command talks: notes and progress to stderr, silent with `json`."""

    json: bool = False

    def note(self, line: str) -> None:
        """Tell one line while working."""
        if not self.json:
            self._tell(line)

    def error(self, kind: str, message: str) -> None:
        """Tell one error: one red line on stderr and, with `json`, an object on stdout."""
        line = " ".join(message.split())
        self._tell(f"error: {line}", style="bold red")
        if self.json:
            _print_json({"error": {"kind": kind, "message": line}})

    def bug(self, error: Exception) -> None:
        """Tell an error nobody foresaw, with its traceback."""
        import traceback

        traceback.print_exception(error, file=sys.stderr)
        self.error("InternalError", f"internal error, please report it: {type(error).__name__}: {error}")

    def show(self, summary: Summary) -> None:
        """Print the summary on stdout: a table, or with `json` exactly one JSON object."""
        if self.json:
            _print_json(summary.as_json())
        else:
            _print_summary(summary)

    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """A context that gives an `Advance`; a bar with the time left, or plain lines without a terminal.

        `total` is the number of steps; None when nobody knows.
        """
        if self.json:
            return nullcontext(_silent)
        return _bar(title, total) if sys.stderr.isatty() else _lines(title, total)

    def stdout_kept_clean(self) -> AbstractContextManager[object]:
        """With `json`, what a library prints meanwhile goes to stderr: stdout belongs to the one object."""
        return redirect_stdout(sys.stderr) if self.json else nullcontext()

    @staticmethod
    def _tell(line: str, style: str = "") -> None:
        from rich.text import Text

        _rich(stderr=True).print(Text(line, style=style), soft_wrap=True)


def plain(value: object) -> object:
    """`value` in JSON's terms: paths as text, one-number arrays as numbers, not-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if not isinstance(value, float) and hasattr(value, "item"):
        return plain(value.item())  # type: ignore[attr-defined]
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    return str(value)


def readable(value: object) -> str:
    """`value` for a table cell: thousands apart, four significant digits, lists with commas."""
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {readable(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(readable(entry) for entry in value) or "-"
    return str(value)


def _rich(*, stderr: bool = False, width: int | None = None) -> "RichConsole":
    """A console of rich's that raises `BrokenPipeError` where nobody reads any more; its own would exit with 1."""
    from rich.console import Console as RichConsole

    class Piped(RichConsole):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Piped(stderr=stderr, width=width)


def _print_json(content: Mapping[str, object]) -> None:
    import json

    print(json.dumps(content, allow_nan=False), flush=True)


def _print_summary(summary: Summary) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if summary.tables:
        wide = _rich(width=None if sys.stdout.isatty() else WIDE)
        for table in summary.tables:
            wide.print(table)
    console = _rich()
    console.print(Text(summary.title, style="bold"), soft_wrap=True)
    table = Table(show_header=False, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in summary.rows.items():
        if value is not None and value not in ([], (), {}, ""):
            table.add_row(Text(label), Text(readable(value)))
    if table.rows:
        console.print(table)
    lines = [f"wrote {path}" for path in summary.paths[:8]]
    if len(summary.paths) > 8:
        lines.append(f"… and {len(summary.paths) - 8} more files")
    for line in [*lines, *(f"next: {command}" for command in summary.next)]:
        console.print(Text(line), soft_wrap=True)


def _silent(n: int = 1, **info: object) -> None:
    del n, info


def _told(info: Mapping[str, object]) -> str:
    return "  ".join(f"{name} {readable(value)}" for name, value in info.items())


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[info]}", markup=False),
    )
    with Progress(*columns, console=_rich(stderr=True)) as progress:
        task = progress.add_task(title, total=total, info="")

        def advance(n: int = 1, **info: object) -> None:
            progress.update(task, advance=n)
            if info:
                progress.update(task, info=_told(info))

        yield advance


@contextmanager
def _lines(title: str, total: int | None) -> Iterator[Advance]:
    start = told_at = time.monotonic()
    done = 0

    def advance(n: int = 1, **info: object) -> None:
        nonlocal done, told_at
        done += n
        now = time.monotonic()
        if now - told_at < LINE_EVERY_S:
            return
        told_at = now
        left = f", {(now - start) * (total - done) / done:.0f} s left" if total and done else ""
        count = f"{done}/{total}" if total else f"{done}"
        print(f"{title}: {count}{left}  {_told(info)}".rstrip(), file=sys.stderr, flush=True)

    yield advance
    print(f"{title}: {done} done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
