"""`ff`: finds the command, imports only its file, and turns every outcome into an exit code.

Adding a command takes one file and one line of `COMMANDS`. The file, say `cli/count.py`, holds

    @dataclass(frozen=True, kw_only=True)
    class CountOptions:
        \"\"\"What `ff count --help` says first.\"\"\"
        path: tyro.conf.Positional[Path]
        \"\"\"Every attribute docstring is the help of its option.\"\"\"
        report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

    def run(options: CountOptions, console: Console) -> Summary: ...

- `run`'s annotation names the options; `report` (from `options.py`) is required, the other shared groups of
  `options.py` are nested the same way: `output`, `compute`.
- The top of the file imports nothing heavy (no torch, numba or cv2): those imports belong inside `run`, and
  the functions it calls, so that `ff count --help` answers at once.
- `inputs.load_field` reads any field; `console.progress` shows progress; `run` returns a `Summary` and prints
  nothing on stdout itself (with `--json` stdout carries exactly one JSON object).
- Refuse what cannot work by raising a `FeatureFieldsError` before any long work.

Exit codes: 0 done · 1 a `FeatureFieldsError`, one line on stderr · 2 wrong usage · 70 a bug, with its
traceback · 130 interrupted · 141 whoever read the output has gone (`ff … | head`). With `--json` every error is
also told on stdout as `{"error": {kind, message}}`.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "demo": (".demo", "make a small scene and take it through every step"),
    "fit": (".fit", "photos to a feature field: colours, reflections and features"),
    "lift": (".lift", "a few photos to a feature field in seconds, without fitting"),
    "train-lifter": (".train_lifter", "train the network that gives `ff lift` its geometry"),
    "segment": (".segment", "choose Gaussians with clicks, boxes, masks or text"),
    "edit": (".edit", "recolour, remove or roughen what is selected, without loss"),
    "view": (".view", "see, select and edit in a browser"),
    "eval": (".eval", "measure a field against its photos and, where there is any, ground truth"),
    "bench": (".bench", "measure segmentation: public protocols and a simulated user"),
    "probe": (".probe", "measure what frozen features know: depth, normals, classes, correspondence"),
    "distill": (".distill", "teach a 2D backbone features that other views agree on"),
    "render": (".render", "draw views and layers of a field to PNG files or videos; compare two"),
    "masks": (".masks", "draw selections as masks of the photos: PNG and COCO JSON"),
    "labels": (".labels", "number a .ply's splats by object; give an edited .ply its numbers back"),
    "export": (".export", "write a field, or a part of it, as splats, points or a mesh"),
    "extract": (".extract", "features of all photos into the cache"),
    "batch": (".batch", "fit, lift, probe or extract many scenes, here or on a Ray cluster"),
    "plan": (".plan", "minutes, memory and disk of a fit, before it is run"),
    "doctor": (".doctor", "what works on this machine, what does not, and what to do about it"),
    "info": (".info", "say what a field, .ply, selection or folder of photos holds"),
}
"""Command name → (module of this package, one line for `ff --help`)."""

USAGE_ERROR = 2
INTERNAL_ERROR = 70
INTERRUPTED = 130
NO_READER = 141
"""What a shell says of a program that a closed pipe ended."""


def overview() -> str:
    """The text of `ff --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ff COMMAND [OPTIONS]",
            "",
            "3D feature fields on Gaussian splats: fit, segment, edit, export.",
            "",
            "commands:",
            *lines,
            "",
            "`ff COMMAND --help` explains a command; every command takes --json; see also `ff --version`.",
            "In the place of a field, `--load-config outputs/…/config.yml` takes that of a nerfstudio run.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's arguments) and return its exit code."""
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_pipes()
        return NO_READER
    return code


def _leave_pipes() -> None:
    """Nobody reads what is printed from now on, also what Python still holds back for the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())


def _main(arguments: list[str]) -> int:
    if not arguments:
        print(overview(), file=sys.stderr)
        return USAGE_ERROR
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0
    if name == "--version":
        from featurefields import __version__

        print(f"featurefields {__version__}")
        return 0
    if name not in COMMANDS:
        return _unknown(name)
    return _run_command(name, rest)


def _settle_process() -> None:
    """Settings that work only before torch is loaded: memory is kept, and waiting threads soon sleep.

    Threads that spin while they wait make everything many times slower as soon as another program wants a core.
    """
    from featurefields.memory import keep_freed_memory

    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    keep_freed_memory()


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(COMMANDS)}"
    print(f"error: ff has no command '{name}'; {hint}", file=sys.stderr)
    return USAGE_ERROR


def _run_command(name: str, arguments: Sequence[str]) -> int:
    import inspect

    import tyro

    from featurefields.errors import FeatureFieldsError

    from .console import Console
    from .load_config import with_archive

    _settle_process()
    try:
        arguments = with_archive(name, arguments)
    except FeatureFieldsError as error:
        Console(json="--json" in arguments).error(type(error).__name__, str(error))
        return 1
    run = import_module(COMMANDS[name][0], __package__).run
    kind = next(iter(inspect.signature(run, eval_str=True).parameters.values())).annotation
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)
    try:
        options = tyro.cli(kind, prog=f"ff {name}", args=arguments, config=config)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE_ERROR
    console = Console(json=options.report.json)
    try:
        with console.stdout_kept_clean():
            summary = run(options, console)
        console.show(summary)
    except FeatureFieldsError as error:
        console.error(type(error).__name__, str(error))
        return 1
    except KeyboardInterrupt:
        console.error("Interrupted", "interrupted; what was written before is complete")
        return INTERRUPTED
    except BrokenPipeError:  # `main` ends quietly
        raise
    except Exception as error:  # the last resort: a bug becomes an exit code
        console.bug(error)
        return INTERNAL_ERROR
    return 0
