"""The law of the layers and the rules of the house, read from the source (docs/architecture.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "featurefields"


def stated_layers() -> list[tuple[str, ...]]:
    """The layers of docs/architecture.md, lowest first: "L0 errors · L1 registry, atomic" and so on."""
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = plan.partition("## Layers")[2].partition("```")[2].partition("```")[0]
    stated = re.findall(r"L(\d+) ([^·\n]+)", section)
    assert [int(number) for number, _ in stated] == list(range(len(stated))), (
        "layers out of order in the plan"
    )
    return [tuple(name.strip() for name in names.split(",")) for _, names in stated]


LAYERS = stated_layers()
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

CONFINED = {
    "gsplat": ("featurefields/raster/gsplat.py",),
    "nerfstudio": ("featurefields/adapters/",),
    "onnxruntime": ("featurefields/vision/",),
    "plyfile": (),  # GPL; tests may compare with it
    "pycolmap": ("featurefields/readers/",),
    "transformers": ("featurefields/vision/",),
    "tyro": ("cli/",),
    "viser": ("featurefields/viewer/",),
    "open3d": tuple(f"featurefields/{name}/" for names in LAYERS[LAYER["selection"] :] for name in names)
    + ("cli/",),
}
CUDA_ALLOWED = ("cli/", "featurefields/raster/select.py", "featurefields/raster/gsplat.py")
CHECKPOINTS_OF_OTHERS = ("featurefields/adapters/",)
"""Where torch.load may read what another program wrote, as tensors alone."""
EMPTY_NAMES = {"utils", "util", "misc", "common", "helpers", "helper", "base"}
LINES_AT_MOST = 400


def source_files() -> list[Path]:
    return sorted(path for folder in (PACKAGE, ROOT / "cli") for path in folder.rglob("*.py"))


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported, inside functions and `if TYPE_CHECKING` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = path.relative_to(ROOT).parent.parts
                stem = ".".join(parents[: len(parents) - node.level + 1])
                module = f"{stem}.{module}" if module else stem
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def trespasses(tree: ast.AST, path: Path) -> list[str]:
    """Imports of the package that reach up, sideways to a sibling package, or out to the command line."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = parts[0]
    if own == "__init__":
        return []
    wrong = []
    for line, name in imported(tree, path):
        top, _, rest = name.partition(".")
        target = rest.split(".")[0]
        place = f"{where(path)}:{line}"
        if top in ("featurefields_cli", "featurefields_assets", "cli", "assets"):
            wrong.append(f"{place} imports {name}: nothing in featurefields/ knows {top}")
        if top != "featurefields" or target == own:
            continue
        if target not in LAYER:
            wrong.append(f"{place} imports {name}: import the module itself, not the package's front")
        elif LAYER[target] > LAYER[own]:
            wrong.append(
                f"{place} imports {name}: layer {LAYER[own]} may not reach up to layer {LAYER[target]}"
            )
        elif LAYER[target] == LAYER[own] and not (PACKAGE / f"{target}.py").is_file():
            wrong.append(f"{place} imports {name}: {own} and {target} are siblings; sink what both want")
    return wrong


def escapes(tree: ast.AST, path: Path) -> list[str]:
    """Third-party imports outside the one place that may know them."""
    return [
        f"{where(path)}:{line} imports {name}; only {', '.join(allowed) or 'tests'} may"
        for line, name in imported(tree, path)
        if (allowed := CONFINED.get(name.split(".")[0])) is not None and not where(path).startswith(allowed)
    ]


def unsafe(tree: ast.AST, path: Path) -> list[str]:
    """Pickle, eval, exec, torch.load but of another program's tensors, bare except."""
    wrong = [
        f"{where(path)}:{line} imports {name}"
        for line, name in imported(tree, path)
        if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            tensors_alone = any(ast.unparse(word) == "weights_only=True" for word in node.keywords)
            foreign = (
                called == "torch.load" and tensors_alone and where(path).startswith(CHECKPOINTS_OF_OTHERS)
            )
            if called in ("eval", "exec", "torch.load", "torch.save") and not foreign:
                wrong.append(f"{where(path)}:{node.lineno} calls {called}()")
            wrong += [
                f"{where(path)}:{node.lineno} allows pickle"
                for keyword in node.keywords
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
            ]
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"{where(path)}:{node.lineno} has a bare except")
    return wrong


def names_a_device(tree: ast.AST, path: Path) -> list[str]:
    """The literal "cuda" (alone, or with an index) where code should follow its inputs' device.

    Asking what a device is (`device.type == "cuda"`) is fine.
    """
    if where(path).startswith(CUDA_ALLOWED):
        return []
    asked = {
        id(constant)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".type")
        for constant in node.comparators
    }
    return [
        f'{where(path)}:{node.lineno} writes "{node.value}"'
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in asked
        if re.fullmatch(r"cuda(:\d+)?", node.value)
    ]


@pytest.fixture(params=source_files(), ids=where)
def source(request: pytest.FixtureRequest) -> tuple[ast.AST, Path]:
    return ast.parse(request.param.read_text(encoding="utf-8")), request.param


def test_imports_go_down(source: tuple[ast.AST, Path]) -> None:
    tree, path = source
    if path.is_relative_to(PACKAGE):
        assert not trespasses(tree, path)


def test_third_parties_are_confined(source: tuple[ast.AST, Path]) -> None:
    assert not escapes(*source)


def test_nothing_unsafe(source: tuple[ast.AST, Path]) -> None:
    assert not unsafe(*source)


def test_device_is_never_named(source: tuple[ast.AST, Path]) -> None:
    assert not names_a_device(*source)


def test_files_are_small_and_say_what_they_are(source: tuple[ast.AST, Path]) -> None:
    tree, path = source
    assert path.stem not in EMPTY_NAMES and path.parent.name not in EMPTY_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_AT_MOST
    assert isinstance(tree, ast.Module) and ast.get_docstring(tree), f"{where(path)} has no docstring"


def test_every_module_has_a_layer() -> None:
    tops = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")} - {
        "__init__"
    }
    assert not tops - set(LAYER), f"give {sorted(tops - set(LAYER))} a layer in docs/architecture.md"


def test_the_plan_is_a_plan() -> None:
    """Every name has one layer, and the order is the one everything else relies on."""
    assert len(LAYER) == sum(map(len, LAYERS)) >= 20
    chain = ("errors", "maths", "splats", "raster", "field", "selection", "files", "editing", "viewer", "cli")
    assert [LAYER[name] for name in chain] == sorted({LAYER[name] for name in chain})


BREACHES = {
    "reaches up": (
        trespasses,
        "featurefields/maths/x.py",
        "def f():\n    from featurefields.field import render",
    ),
    "reaches up relatively": (trespasses, "featurefields/maths/x.py", "from ..scene import View"),
    "reaches up by name": (trespasses, "featurefields/maths/x.py", "import_module('featurefields.field')"),
    "sibling": (trespasses, "featurefields/editing/x.py", "import featurefields.segmentation.scores"),
    "front": (trespasses, "featurefields/editing/x.py", "from featurefields import Scene"),
    "command line": (trespasses, "featurefields/editing/x.py", "from featurefields_cli import main"),
    "third party": (escapes, "featurefields/raster/x.py", "if True:\n    import gsplat.cuda as g"),
    "tyro": (escapes, "featurefields/fitting/x.py", "from tyro import conf"),
    "GPL": (escapes, "featurefields/readers/x.py", "from plyfile import PlyData"),
    "open3d too low": (escapes, "featurefields/maths/x.py", "import open3d"),
    "pickle": (unsafe, "featurefields/files/x.py", "import pickle"),
    "eval": (unsafe, "featurefields/files/x.py", "eval('1')"),
    "torch.load": (unsafe, "featurefields/files/x.py", "import torch\ntorch.load('x', weights_only=True)"),
    "torch.load of pickles": (
        unsafe,
        "featurefields/adapters/x.py",
        "import torch\ntorch.load('x', weights_only=False)",
    ),
    "torch.save": (
        unsafe,
        "featurefields/adapters/x.py",
        "import torch\ntorch.save({}, 'x', weights_only=True)",
    ),
    "numpy pickle": (unsafe, "featurefields/files/x.py", "np.load('x', allow_pickle=True)"),
    "bare except": (unsafe, "featurefields/files/x.py", "try:\n    pass\nexcept:\n    pass"),
    "cuda": (names_a_device, "featurefields/fitting/x.py", "t.to('cuda:0')"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_each_law_catches_its_breach(breach: str) -> None:
    law, path, code = BREACHES[breach]
    assert law(ast.parse(code), ROOT / path)


def test_lawful_code_passes() -> None:
    code = "import torch\nfrom featurefields.maths.rotations import matrix_from_quat\nfrom .prompts import Click\n"
    code += "fast = points.device.type == 'cuda'\n"
    tree, path = ast.parse(code), PACKAGE / "segmentation" / "x.py"
    assert not [
        *trespasses(tree, path),
        *escapes(tree, path),
        *unsafe(tree, path),
        *names_a_device(tree, path),
    ]
