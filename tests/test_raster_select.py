"""Choosing a backend by name or device, and what the CUDA backend asks of gsplat."""

import inspect
import sys
import types

import pytest
import torch
from laws import CONFIG, random_scene

from featurefields.errors import UnavailableError, UnknownNameError
from featurefields.raster import BACKENDS, choose_rasterizer
from featurefields.raster.gsplat import GsplatRasterizer
from featurefields.raster.reference import ReferenceRasterizer


def test_names_are_found():
    assert choose_rasterizer("cpu").name == "cpu"
    assert choose_rasterizer("reference").name == "reference"
    assert choose_rasterizer().name == "cpu"
    assert choose_rasterizer("auto", torch.device("cpu")).name == "cpu"
    assert set(BACKENDS.names()) >= {"cpu", "gsplat", "reference"}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        UnknownNameError, match=r"unknown backend 'cpy' \(did you mean 'cpu'\?\); known: .*reference"
    ):
        choose_rasterizer("cpy")


@pytest.mark.parametrize("ask", [{"name": "gsplat"}, {"device": "cuda"}, {"device": torch.device("cuda:1")}])
def test_gsplat_without_a_device_says_so(monkeypatch, ask):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnavailableError, match="needs a CUDA device and torch finds none; use --backend cpu"):
        choose_rasterizer(**ask)


def test_gsplat_that_cannot_be_imported_keeps_its_reason(monkeypatch):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError("no kernel image for this device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "gsplat", Broken("gsplat"))
    with pytest.raises(
        UnavailableError, match=r"no kernel image for this device; install it with: pip install"
    ):
        choose_rasterizer("gsplat")
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(UnavailableError, match=r"'gsplat' cannot be loaded: .*gsplat"):
        choose_rasterizer("gsplat")


@pytest.fixture
def calls(monkeypatch) -> list[dict[str, object]]:
    """Calls of a stand-in for gsplat that draws with the reference from the arguments alone."""
    recorded: list[dict[str, object]] = []

    def rasterization(**arguments):
        recorded.append(arguments)
        return stand_in(**arguments)

    module = types.ModuleType("gsplat")
    module.rasterization = rasterization
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "gsplat", module)
    return recorded


def stand_in(means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane, eps2d, **_):
    """gsplat's signature and output shapes, by the reference rasterizer."""
    from featurefields.camera import Camera
    from featurefields.raster import RasterConfig
    from featurefields.splats import Splats

    assert viewmats.shape == (1, 4, 4) and Ks.shape == (1, 3, 3)
    assert (quats.norm(dim=-1) - 1).abs().max() < 1e-6
    splats = Splats(means, quats, scales.log(), torch.logit(opacities))
    focal, centre = torch.stack([Ks[0, 0, 0], Ks[0, 1, 1]]), Ks[0, :2, 2]
    camera = Camera(torch.linalg.inv(viewmats[0]), focal, centre, (width, height))
    drawn = ReferenceRasterizer().draw(splats, colors, camera, RasterConfig(near=near_plane, blur_px2=eps2d))
    return drawn.image[None], drawn.alpha[None, ..., None], {}


@pytest.mark.parametrize("channels", [3, 40])
def test_gsplat_is_asked_for_the_same_picture(calls, channels):
    scene = random_scene("plain", 30, (13, 9), 2, channels=channels)
    drawn = GsplatRasterizer().draw(*scene, CONFIG)
    wanted = ReferenceRasterizer().draw(*scene, CONFIG)
    assert len(calls) == 1
    assert drawn.image.shape == (9, 13, channels) and drawn.alpha.shape == (9, 13)
    torch.testing.assert_close(drawn.image, wanted.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(drawn.alpha, wanted.alpha, atol=1e-5, rtol=0)


def test_gsplat_gathers_by_differentiating(calls):
    splats, channels, camera = random_scene("plain", 30, (13, 9), 2)
    maps = torch.randn(9, 13, 3).double()
    gathered = GsplatRasterizer().gather(splats, maps, camera, CONFIG)
    torch.testing.assert_close(
        gathered, ReferenceRasterizer().gather(splats, maps, camera, CONFIG), atol=1e-5, rtol=0
    )
    assert gathered.shape == channels.shape


def test_gsplat_itself_takes_these_arguments(calls, monkeypatch):
    """The stand-in is asked by names that the installed gsplat knows."""
    GsplatRasterizer().draw(*random_scene("plain", 3, (5, 4), 2), CONFIG)
    monkeypatch.delitem(sys.modules, "gsplat")
    gsplat = pytest.importorskip("gsplat", reason="gsplat is not installed")
    inspect.signature(gsplat.rasterization).bind(**calls[0])
