"""Documentation runs: tutorials word by word, other examples as far as they can; its pages are made from the package.

A fenced block of Python or shell is run, or a comment in the line above says `<!-- not run: why -->`. What is not run
is still read: Python must compile, and every `ff` line must be one that its command accepts.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from inspect import signature
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
import tyro

from featurefields_cli import main
from featurefields_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")])
TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
ELSEWHERE = {"docs/extending.md"}
"""Pages whose examples another test runs."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    kind: str
    code: str
    why_not: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Python and shell of a page; a block without a language that holds an `ff` command should have one."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(name, line, found["kind"], found["code"], found["why"])


BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL, PYTHON = ("sh", "bash"), ("python",)


def commands(code: str) -> list[list[str]]:
    """Words of every line of shell, comments and line ends with a backslash taken away."""
    lines = re.sub(r"\\\n\s*", " ", code).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_block(block: Block, names: dict[str, object]) -> None:
    """Run a block in the working folder: `ff` in this process, other commands in a shell."""
    if block.kind in PYTHON:
        exec(compile(block.code, str(block), "exec"), names)
        return
    for words in commands(block.code):
        if words[0] == "ff":
            assert main(words[1:]) == 0, f"{block}: {shlex.join(words)}"
        else:
            words = [sys.executable, *words[1:]] if words[0] == "python" else words
            subprocess.run(words, check=True, timeout=120)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FF_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {"__name__": "tutorial"}
    ran = [run_block(block, names) for block in blocks(page) if block.why_not is None]
    assert len(ran) >= 4


def test_the_readme_runs_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_fields import photograph, two_balls

    from featurefields import write_archive

    monkeypatch.chdir(tmp_path)
    photograph(tmp_path / "my_scene")
    write_archive(two_balls(), tmp_path / "out" / "field.safetensors")
    (block,) = [block for block in BLOCKS if block.page == "README.md" and block.kind in PYTHON]
    run_block(block, {"__name__": "example"})


def test_editing_runs_in_python() -> None:
    from tiny_fields import part, two_balls

    from featurefields import FeatureField
    from featurefields.selection import Selection

    field = two_balls(gloss=0.0)
    mask = part("red")
    selection = Selection(mask, mask.float(), field.fingerprint())
    (block,) = [block for block in BLOCKS if block.page == "docs/editing.md" and block.kind in PYTHON]
    names: dict[str, object] = {"field": field, "base": field, "selection": selection}
    run_block(block, names)
    edited = names["field"]
    assert isinstance(edited, FeatureField) and edited.fingerprint() == field.fingerprint()
    changed = (edited.splats.columns["gloss"] != field.splats.columns["gloss"]).any(dim=-1)
    assert changed[mask].all() and not changed[~mask].any()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind in SHELL], ids=str)
def test_every_command_is_one_that_is_accepted(block: Block) -> None:
    for words in commands(block.code):
        if words[0] == "ff" and words[1] in COMMANDS and "--load-config" not in words:
            assert_accepted(words[1], words[2:])


def assert_accepted(name: str, arguments: list[str]) -> None:
    """The options of `ff NAME` are read from these words, as `main` reads them."""
    module = importlib.import_module(COMMANDS[name][0], "featurefields_cli")
    kind = next(iter(signature(module.run, eval_str=True).parameters.values())).annotation
    told = StringIO()
    try:
        with redirect_stderr(told):
            tyro.cli(
                kind, args=arguments, config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)
            )
    except SystemExit:
        pytest.fail(f"ff {name} {shlex.join(arguments)}\n{told.getvalue()}")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind in PYTHON], ids=str)
def test_every_python_example_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


def test_what_is_not_run_says_why() -> None:
    run_here = {"README.md": PYTHON, "docs/editing.md": PYTHON}
    tutorials = {page.relative_to(ROOT).as_posix() for page in TUTORIALS}
    for block in BLOCKS:
        runs = block.page in tutorials | ELSEWHERE or block.kind in run_here.get(block.page, ())
        runs = runs or (block.page == "docs/quick_start.md" and block.code == "ff doctor\n")
        if block.kind in (*SHELL, *PYTHON):
            assert runs or block.why_not, f"{block}: run it, or say above it why not: <!-- not run: … -->"
        assert block.kind or not block.code.startswith(("ff ", "ns-")), f"{block}: say that this is ```sh"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/reference.py."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_made_from_the_package(reference: ModuleType, tmp_path: Path) -> None:
    reference.write_pages(tmp_path / "made")
    made = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "made").glob("*.md")}
    for name in COMMANDS:
        assert f"usage: ff {name}" in made[f"ff-{name}"] and "--json" in made[f"ff-{name}"]
        assert "\x1b" not in made[f"ff-{name}"] and "| `-h, --help` |" in made[f"ff-{name}"]
    assert "DINOv3" in made["licences"] and "dinov2-with-registers-small" in made["licences"]
    assert "featurefields.raster.interface" in made["api-drawing"]


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in [*ROOT.glob("docs/*.md"), *TUTORIALS]:
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or re.search(rf"^{name}$", contents, re.M), f"docs/index.md leaves out {name}"
