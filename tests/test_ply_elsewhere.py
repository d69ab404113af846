"""Our splat PLYs in the hands of others: gsplat's formulas and its exporter, and splat-transform."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from tiny_fields import two_balls
from torch import Tensor

from featurefields.files.compressed import COMMAND
from featurefields.files.labels import Label, Labels, read_labels, write_labels
from featurefields.files.ply import read_ply, write_ply
from featurefields.maths.harmonics import harmonics
from featurefields.maths.rotations import matrix_from_quat
from featurefields.segmentation.reattach import recognise
from featurefields.splats import Splats


def splats() -> Splats:
    return two_balls("harmonics").splats


def as_gsplat_stores(path: Path) -> dict[str, Tensor]:
    """The file's numbers under the names and in the shapes that gsplat's trainer has them."""
    rows = PlyData.read(str(path))["vertex"]

    def stacked(*names: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(rows[name], np.float32) for name in names], axis=-1))

    rest = stacked(*(f"f_rest_{index}" for index in range(45)))
    return {
        "means": stacked("x", "y", "z"),
        "scales": stacked("scale_0", "scale_1", "scale_2"),
        "quats": stacked("rot_0", "rot_1", "rot_2", "rot_3"),
        "opacities": stacked("opacity")[:, 0],
        "sh0": stacked("f_dc_0", "f_dc_1", "f_dc_2")[:, None],
        "shN": rest.reshape(-1, 3, 15).transpose(1, 2),
    }


def test_gsplat_makes_the_same_shapes_and_colours_of_it(tmp_path: Path):
    reason = "gsplat is not installed"
    formulas = pytest.importorskip("gsplat.cuda._torch_impl", reason=reason, exc_type=ImportError)
    written = splats()
    stored = as_gsplat_stores(write_ply(written, tmp_path / "s.ply"))
    quats = torch.nn.functional.normalize(stored["quats"], dim=-1)
    shapes, _ = formulas._quat_scale_to_covar_preci(quats, stored["scales"].exp(), compute_preci=False)
    axes = matrix_from_quat(written.quats) * written.scales[:, None]
    torch.testing.assert_close(shapes, axes @ axes.mT)
    coefficients = torch.cat([stored["sh0"], stored["shN"]], dim=1)
    directions = torch.nn.functional.normalize(torch.randn(len(written), 3), dim=-1)
    colours = formulas._spherical_harmonics(3, directions, coefficients)
    wanted = torch.einsum("nk,nkc->nc", harmonics(directions), written.columns["harmonics"])
    torch.testing.assert_close(colours, wanted, atol=1e-5, rtol=1e-5)
    assert float((colours - wanted.flip(-1)).abs().max()) > 1e-2  # it would notice


@pytest.mark.parametrize("ending", ["ply", "splat"])
def test_what_gsplat_exports_of_it_has_the_same_numbers(ending: str, tmp_path: Path):
    exporter = pytest.importorskip(
        "gsplat.exporter", reason="gsplat 1.5 or newer is not installed", exc_type=ImportError
    )
    written = splats()
    stored = as_gsplat_stores(write_ply(written, tmp_path / "ours.ply"))
    path = tmp_path / f"theirs.{ending}"
    exporter.export_splats(**stored, format=ending, save_to=str(path))
    if ending == "splat":
        places = np.frombuffer(path.read_bytes(), np.float32).reshape(-1, 8)[:, :3]
        assert np.array_equal(places.min(0), written.means.amin(0).numpy())
        assert np.array_equal(places.max(0), written.means.amax(0).numpy()) and len(places) == len(written)
        return
    theirs = read_ply(path).splats
    for name in ("means", "quats", "log_scales", "opacity_logits"):
        assert torch.equal(getattr(theirs, name), getattr(written, name)), name
    assert torch.equal(theirs.columns["harmonics"], written.columns["harmonics"])


@pytest.mark.skipif(shutil.which(COMMAND) is None, reason=f"{COMMAND} is not installed")
class TestSplatTransform:
    def transformed(self, source: Path, target: Path, *actions: str) -> Path:
        command = [COMMAND, "-q", "-w", str(source), *actions, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return target

    def labelled(self, folder: Path) -> tuple[Path, Splats, Labels]:
        written = splats()
        labels = Labels(torch.arange(len(written)) % 3, {1: Label("cup"), 2: Label("ball")})
        path, _ = write_labels(written, labels, folder / "scene.ply")
        return path, written, labels

    def test_it_gives_back_the_same_numbers(self, tmp_path: Path):
        written = splats()
        back = read_ply(
            self.transformed(write_ply(written, tmp_path / "s.ply"), tmp_path / "back.ply")
        ).splats
        assert torch.equal(back.means, written.means)
        assert torch.equal(back.columns["harmonics"], written.columns["harmonics"])

    def test_labels_pass_through_a_ply(self, tmp_path: Path):
        """Also where it puts the splats into another order."""
        path, _, labels = self.labelled(tmp_path)
        assert torch.equal(read_labels(self.transformed(path, tmp_path / "back.ply"))[1].ids, labels.ids)
        field, found = read_labels(self.transformed(path, tmp_path / "sorted.ply", "--morton-order"))
        assert not torch.equal(found.ids, labels.ids)
        assert sorted(zip(field.splats.means.tolist(), found.ids.tolist(), strict=True)) == sorted(
            zip(read_ply(path).splats.means.tolist(), labels.ids.tolist(), strict=True)
        )

    @pytest.mark.parametrize("ending", ["compressed.ply", "spz"])
    def test_labels_are_found_again_where_they_are_dropped(self, ending: str, tmp_path: Path):
        path, written, labels = self.labelled(tmp_path)
        small = self.transformed(path, tmp_path / f"small.{ending}")
        back = read_ply(self.transformed(small, tmp_path / "back.ply")).splats
        for least_or_most in (torch.amin, torch.amax):
            torch.testing.assert_close(
                least_or_most(back.means, 0), least_or_most(written.means, 0), atol=2e-3, rtol=0
            )
        found = recognise(back, written)
        assert found.unmatched == 0 and "ply.label" not in back.columns
        nearest = torch.cdist(back.means, written.means).argmin(1)
        assert torch.equal(found.carried(labels.ids), labels.ids[nearest])
