"""The examples of docs/extending.md run, and what it says about registries is true."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")


def examples() -> dict[str, object]:
    """All names defined by the page's Python examples."""
    namespace: dict[str, object] = {"__name__": "example"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/extending.md", "exec"), namespace)
    return namespace


def test_the_extractor_extracts() -> None:
    from featurefields.vision.interface import Extractor

    extractor = examples()["ColourExtractor"](device="cpu")
    assert isinstance(extractor, Extractor)
    image = torch.zeros(1, 3, 16, 24)
    image[0, 1, 8:, 16:] = 1.0
    features = extractor(image)
    expected = torch.zeros(1, 3, 2, 3)
    expected[0, 1, 1, 2] = 1.0
    assert torch.equal(features, expected)


def test_the_head_shows_heights() -> None:
    from featurefields.camera import Camera
    from featurefields.field import FeatureField, render
    from featurefields.raster import choose_rasterizer
    from featurefields.splats import Splats

    head = examples()["HeightHead"]()
    splats = Splats(
        torch.tensor([[0.0, 0.0, 2.0]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), -1.0),
        torch.ones(1) * 4,
    )
    camera = Camera(torch.eye(4), torch.tensor([20.0, 20.0]), torch.tensor([8.0, 8.0]), (16, 16))
    shown = render(FeatureField(splats, {"height": head}), camera, rasterizer=choose_rasterizer("reference"))
    picture = shown["height"]["total"]
    assert picture.shape == (16, 16, 1)
    torch.testing.assert_close(picture[8, 8], torch.tensor([2.0]))


def registries() -> dict[str, tuple[str, str]]:
    """Variable name of every registry on the page → (its file, its entry point group)."""
    rows = re.findall(r"`(\w+)`, `(\w+/\w+\.py)` \| `(featurefields\.\w+)`", PAGE)
    return {name: (file, group) for name, file, group in rows}


@pytest.mark.parametrize("name", ["EXTRACTORS", "BACKENDS", "HEADS", "READERS"])
def test_registries_are_where_the_page_says(name: str) -> None:
    file, group = registries()[name]
    registry = getattr(import_module("featurefields." + file.removesuffix(".py").replace("/", ".")), name)
    assert registry.group == group
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(registry.extras.values()) <= set(extras), (
        "an error message would name an extra that does not exist"
    )
    for target in registry.entries.values():
        module, _, attribute = target.partition(":")
        path = ROOT.joinpath(*module.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert re.search(rf"\b{attribute}\b", source.read_text(encoding="utf-8")), target
