"""What is installed: every package, the demo scene, one version, a front that waits for nothing."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def folders_with_code() -> set[str]:
    """Installed names of all folders that hold modules."""
    installed = {folder: name for name, folder in SETUPTOOLS["package-dir"].items()}
    installed["featurefields"] = "featurefields"
    found = set()
    for folder, name in installed.items():
        for path in (ROOT / folder).rglob("*.py"):
            found.add(".".join((name, *path.parent.relative_to(ROOT / folder).parts)))
    return found


def test_every_package_ships() -> None:
    listed, there = set(SETUPTOOLS["packages"]), folders_with_code()
    assert not there - listed, f"add to packages in pyproject.toml: {sorted(there - listed)}"
    assert not listed - there, f"remove from packages in pyproject.toml: {sorted(listed - there)}"
    assert len(SETUPTOOLS["packages"]) == len(listed)


def test_every_package_has_an_init() -> None:
    folders = dict(SETUPTOOLS["package-dir"])
    for package in SETUPTOOLS["packages"]:
        top, *rest = package.split(".")
        assert (ROOT / folders.get(top, top)).joinpath(*rest, "__init__.py").is_file(), package


def test_the_whole_demo_scene_ships(demo_scene: Path) -> None:
    patterns = SETUPTOOLS["package-data"]["featurefields_assets"]
    files = [path for path in demo_scene.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        inside = path.relative_to(demo_scene.parent).as_posix()
        assert any(
            fnmatch(inside, pattern) and inside.count("/") == pattern.count("/") for pattern in patterns
        ), inside


def test_one_version() -> None:
    import featurefields

    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "featurefields.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", featurefields.__version__)
    written = [
        path
        for path in [*ROOT.glob("cli/*.py"), *(ROOT / "featurefields").rglob("*.py")]
        if re.search(r"^__version__\s*=", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert written == [ROOT / "featurefields" / "__init__.py"]


def test_the_command_is_the_installed_one() -> None:
    assert PROJECT["project"]["scripts"] == {"ff": "featurefields_cli:main"}
    (command,) = entry_points(group="console_scripts", name="ff")
    assert callable(command.load())


@pytest.mark.parametrize("module", ["featurefields", "featurefields_cli", "featurefields_assets"])
def test_importing_waits_for_nothing_heavy(module: str) -> None:
    heavy = ["torch", "numpy", "cv2", "numba", "scipy", "transformers", "mitsuba"]
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_constraints_pin_every_dependency_within_its_range() -> None:
    requirements = pytest.importorskip("packaging.requirements", reason="packaging is not installed")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(re.split("==|<=", line) for line in lines if line and not line.startswith("#"))
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [
        *PROJECT["project"]["dependencies"],
        *extras["dev"],
        *(line for name in ("cuda", "mesh", "batch", "docs") for line in extras[name]),
    ]
    for text in asked:
        wanted = requirements.Requirement(text)
        if wanted.name != "featurefields":
            assert wanted.specifier.contains(pins[wanted.name.lower()]), text


@pytest.mark.parametrize("command", ["", "fit", "distill"])
def test_help_is_quick(command: str) -> None:
    """Measured: 0.05 and 0.2 s of processor time; the goals are 0.5 and 1 s. Others may be at work, hence no clock."""
    resource = pytest.importorskip("resource", reason="processor time of children is told on Unix only")
    code = "import sys; from featurefields_cli import main; sys.exit(main())"
    taken = []
    for _ in range(3):  # the first may compile bytecode
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", code, *command.split(), "--help"],
            capture_output=True,
            check=True,
            cwd=ROOT,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < (1.0 if command else 0.5)
