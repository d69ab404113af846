"""Writes the reference pages from the package itself: commands, Python API, licences. Nothing there is kept by hand.

`conf.py` calls `write_pages` in every build; git ignores what it writes.
"""

import io
import os
import re
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

COLUMNS = "90"
"""Narrow enough that groups of options do not stand side by side."""
LEAST_INDENT = 3
OPTION = re.compile(r"-|\{?[A-Z][A-Z|_.]|\[")
PIPE = "\\|"
API = {
    "The package": ["featurefields"],
    "Scenes and cameras": ["camera", "lens", "scene", "readers.assemble", "readers.detect", "images"],
    "Splats and fields": ["splats", "field", "selection", "surface_depth"],
    "Drawing": ["raster.interface", "raster.frozen", "raster.averages", "raster.adjoint", "raster.select"],
    "Heads": [
        "heads.interface", "heads.direct", "heads.directional", "heads.deferred", "heads.harmonics", "heads.reflected",
    ],
    "Files": [
        "files.archive", "files.ply", "files.selection", "files.session", "files.labels", "files.rows",
        "files.coco", "files.mesh", "files.points", "files.compressed", "files.camera_path",
    ],
    "Vision models": [
        "vision.interface", "vision.select", "vision.cache", "vision.compress", "vision.classical",
        "vision.transformers_backbone", "vision.convolutional_backbone", "vision.onnx_file", "vision.depth_model",
    ],
    "Fitting": ["fitting.appearance", "fitting.loop", "fitting.densify", "fitting.priors", "fitting.align"],
    "Lifting": [
        "lifting.stage", "lifting.uplift", "lifting.least_squares", "lifting.descent", "lifting.geometry",
        "lifting.feedforward",
    ],
    "Segmentation": [
        "segmentation.prompts", "segmentation.select", "segmentation.session", "segmentation.everything",
        "segmentation.masks", "segmentation.reattach",
    ],
    "Editing": ["editing.interface", "editing.edits", "editing.history", "editing.scripts", "editing.baking"],
    "Distillation": [
        "distillation.pairs", "distillation.student", "distillation.targets", "distillation.train",
        "distillation.loop", "distillation.distributed", "distillation.export",
    ],
    "Evaluation": ["evaluation.metrics", "evaluation.heldout", "evaluation.protocols", "evaluation.probes.config",
                   "evaluation.probes.run", "evaluation.probes.report"],
    "Foundations": ["registry", "atomic", "errors"],
}  # fmt: skip
"""Title of a page → modules of the package; what is not listed is there to serve these."""


def write_pages(folder: Path) -> None:
    """Write all reference pages into `folder`; files that would not change are left alone."""
    pages = {"commands": commands_index(), "api": api_index(), "licences": licences()}
    pages |= {f"ff-{name}": command_page(name) for name in command_names()}
    pages |= {f"api-{slug(title)}": api_page(title, modules) for title, modules in API.items()}
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.md"):
        if stale.stem not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def slug(title: str) -> str:
    """A title as part of a file's name."""
    return title.lower().replace(" ", "-")


def command_names() -> list[str]:
    """All commands of `ff`, in its own order."""
    from featurefields_cli.main import COMMANDS

    return list(COMMANDS)


def help_of(*arguments: str) -> str:
    """What `ff ARGUMENTS --help` prints, without colours."""
    from featurefields_cli import main

    out = io.StringIO()
    plain = {"COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    with patch.dict(os.environ, plain), redirect_stdout(out):
        code = main([*arguments, "--help"])
    if code != 0:
        raise RuntimeError(f"ff {' '.join(arguments)} --help ended with {code}")
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def commands_index() -> str:
    """The page of all commands."""
    from featurefields_cli.main import COMMANDS

    rows = [f"| [`ff {name}`](ff-{name}.md) | {says} |" for name, (_, says) in COMMANDS.items()]
    return "\n".join([
        "# Commands", "",
        "Made from the command line's own definitions when this page was built. Every command takes `--json`, exits "
        "with 0 (done), 1 (a problem, told in one line) or 2 (wrong usage), writes atomically and replaces nothing "
        "without `--overwrite`.", "",
        "| command | does |", "|---|---|", *rows, "",
        "```{toctree}", ":hidden:", "", *(f"ff-{name}" for name in COMMANDS), "```", "",
    ])  # fmt: skip


def command_page(name: str) -> str:
    """The page of one command: its help, with a table of options for every group."""
    usage, *rest = help_of(name).splitlines()
    starts = [index for index in range(len(rest) - 1) if rest[index].strip() and is_rule(rest[index + 1])]
    lines = [f"# ff {name}", "", "```text", usage, "```", "", *map(escaped, rest[: starts[0]]), ""]
    for start, end in zip(starts, [*starts[1:], len(rest)], strict=True):
        lines += section(rest[start].strip(), [line for line in rest[start + 1 : end] if not is_rule(line)])
    return "\n".join(lines)


def is_rule(line: str) -> bool:
    """Whether a line of a help text is only drawn, as under titles."""
    return len(line.strip()) > 8 and not line.strip().strip("-")


def section(title: str, lines: list[str]) -> list[str]:
    """A group of options as Markdown: what it says first, then a table."""
    said: list[str] = []
    options: list[list[str]] = []
    for line in filter(str.strip, lines):
        words, _, told = line.strip().partition("  ")
        indent = len(line) - len(line.lstrip())
        if indent <= LEAST_INDENT and OPTION.match(words):
            options.append([words, told.strip()])
        elif options:
            options[-1][1] += f" {line.strip()}"
        else:
            said.append(line.strip())
    table = [f"| `{words.replace('|', PIPE)}` | {escaped(told.strip())} |" for words, told in options]
    return [f"## {title}", "", escaped(" ".join(said)), "", "| | |", "|---|---|", *table, ""]


def escaped(text: str) -> str:
    """Plain text as Markdown that shows the same."""
    return re.sub(r"([<*_|\[\]])", r"\\\1", text)


def api_index() -> str:
    """The page of all API pages."""
    names = [f"api-{slug(title)}" for title in API]
    return "\n".join([
        "# Python API", "",
        "From the docstrings. Shapes are [jaxtyping's](https://docs.kidger.site/jaxtyping/): `n` Gaussians, "
        "`h w` pixels, `c` drawn channels, `d` dimensions of features, `v` views, `b` a batch. Every error is a "
        "`featurefields.FeatureFieldsError`.", "",
        "```{toctree}", ":maxdepth: 1", "", *names, "```", "",
    ])  # fmt: skip


def api_page(title: str, modules: list[str]) -> str:
    """The page of some modules."""
    lines = [f"# {title}", ""]
    for module in modules:
        name = module if module == "featurefields" else f"featurefields.{module}"
        import_module(name)  # a module that has gone is an error here, not a warning there
        lines += [f"## `{name}`", "", "```{eval-rst}", f".. automodule:: {name}"]
        lines += ["   :no-members:"] if module == "featurefields" else []
        lines += ["```", ""]
    return "\n".join(lines)


def licences() -> str:
    """What may be downloaded, and its licence: the tables of `ff doctor`."""
    from featurefields_cli.examinations import WEIGHTS
    from featurefields_cli.model_families import FAMILIES

    weights = [
        f"| [{name}](https://huggingface.co/{name}) | `{option}` | {licence} |"
        for name, (option, licence) in WEIGHTS.items()
    ]
    others = [
        f"| [{family}]({source}) | {licence} | {known} |" for family, licence, known, source in FAMILIES
    ]
    return "\n".join([
        "# Licences of what may be downloaded", "",
        "featurefields is Apache-2.0; the demo scene and the practice scenes are ours (CC0), and so are the shipped "
        "weights of the lifter (Apache-2.0). Weights of vision models are never bundled: `transformers` fetches them "
        "when they are first asked for, under their own licences. `ff doctor` tells which are here.", "",
        "## Fetched by a name of ours", "", "| model | option | licence |", "|---|---|---|", *weights, "",
        "## Fetched when you name them", "",
        "`--features transformers:HUB_ID` and `--geometry transformers:HUB_ID` take any model of these families. The "
        "licence is the model's own; what is said here of a family is what its authors publish it under, so look at "
        "the page of the very weights that you use. The links lead to where it was read.", "",
        "| family | licence | to know |", "|---|---|---|", *others, "",
        "Weights of your own (`transformers:FOLDER`, `onnx:FILE`) are read where they are; nothing is fetched.", "",
    ])  # fmt: skip
