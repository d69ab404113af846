"""What every test has: runtime shape checks of the whole package, backends by name, shared data.

FF_BACKENDS names the rasterizer backends that must run (default "reference,cpu"; also "gsplat"): one that is
named and cannot load fails its tests. FF_DATA is a folder of further scenes (default ../shared/data).
Property tests draw the same examples in every run; FF_EXAMPLES=random draws others, to look for what is still unknown.
"""

import os
import re
from pathlib import Path

os.environ.setdefault(
    "GOMP_SPINCOUNT", "2000"
)  # read when torch loads: idle threads leave the cores to others

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = [
    name.strip() for name in os.environ.get("FF_BACKENDS", "reference,cpu").split(",") if name.strip()
]


def _checkable_modules() -> list[str]:
    """Every module of the package but those that numba compiles, which takes no wrapped functions."""
    files = [path for path in (ROOT / "featurefields").rglob("*.py") if path.name != "__init__.py"]
    readable = [
        path for path in files if not re.search(r"numba|^@(kernel|piece)$", path.read_text("utf-8"), re.M)
    ]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in readable]


install_import_hook(_checkable_modules(), "beartype.beartype")
from featurefields.memory import keep_freed_memory  # noqa: E402 (after the hook)

settings.register_profile("same", derandomize=True, deadline=None)  # a busy machine is no failure
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("FF_EXAMPLES", "same"))
keep_freed_memory()
torch.set_num_threads(2)


@pytest.fixture(params=BACKENDS)
def backend_name(request: pytest.FixtureRequest) -> str:
    """Each name of FF_BACKENDS in turn."""
    return request.param


@pytest.fixture
def device(backend_name: str) -> torch.device:
    """Where the splats must be for the backend in turn."""
    return torch.device("cuda" if backend_name == "gsplat" else "cpu")


@pytest.fixture
def backend(backend_name: str):
    """The rasterizer of each name of FF_BACKENDS in turn."""
    from featurefields.errors import FeatureFieldsError
    from featurefields.raster import choose_rasterizer

    try:
        return choose_rasterizer(backend_name)
    except FeatureFieldsError as error:
        pytest.fail(f"FF_BACKENDS names '{backend_name}': {error}")


@pytest.fixture
def generator() -> torch.Generator:
    """Random numbers, the same in every run."""
    return torch.Generator().manual_seed(20)


@pytest.fixture(scope="session")
def demo_scene() -> Path:
    """The folder of the scene that ships with the package."""
    from featurefields_assets import demo_scene

    return demo_scene()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of further scenes; skips where there is none."""
    folder = Path(os.environ["FF_DATA"]) if "FF_DATA" in os.environ else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of further scenes at {folder} (set FF_DATA)")
    return folder
