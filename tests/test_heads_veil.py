"""The even part of reflections is found in matter, as far as dark places tell, and nothing where nothing mirrors."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_fields import part, two_balls
from torch import Tensor

from featurefields.editing.edits import RemoveSpecular, apply
from featurefields.field import About, FeatureField
from featurefields.heads import veil as veils
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit, logit_from_diffuse
from featurefields.heads.veil import veil

EVERYTHING = torch.ones(264, dtype=torch.bool)
HIDDEN, FOUND = 0.3, 0.5
"""Linear light of the surroundings that lies in matter, and that the field knows of."""


@pytest.fixture(autouse=True)
def few_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a ball of 60 Gaussians has on one side."""
    monkeypatch.setattr(veils, "NEIGHBOURS", 12)


def lacquered(matter: Tensor, light: float = FOUND) -> FeatureField:
    """Balls and floor under glass in even light, with this linear matter."""
    field = two_balls(gloss=4.0)
    head, columns = field.heads["rgb"], field.splats.columns
    assert isinstance(head, ReflectedHead)
    with torch.no_grad():
        head.light.log_light.fill_(math.log(light))  # type: ignore[union-attr]
    tint = torch.full_like(columns["tint"], math.log(0.04 / 0.96))
    changed = {"tint": tint, "near": 0 * columns["near"], "diffuse": logit_from_diffuse(matter)}
    return field.with_splats(field.splats.with_columns(**changed))


def truth(darkest: float = 1e-3) -> Tensor:
    """Matter whose blue ball is black but for its blue."""
    matter = torch.tensor([0.5, 0.4, 0.3]).repeat(264, 1)
    matter[part("blue")] = torch.tensor([darkest, darkest, 0.4])
    return matter


def found(field: FeatureField) -> Tensor:
    head = field.heads["rgb"]
    assert isinstance(head, ReflectedHead)
    return veil(head, field.splats, list(field.about.cameras.values())).on_matter


def veiled(hidden: float = HIDDEN) -> tuple[FeatureField, Tensor]:
    """A field whose matter shows `hidden` light that its glass mirrors, and the share that is mirrored."""
    plain = lacquered(truth())
    share = veils._mirrored_share(plain.splats, list(plain.about.cameras.values()))
    return lacquered(truth() + hidden * share), share


def test_the_darkest_place_tells_how_much():
    field, share = veiled()
    assert 0.04 < float(share.mean()) < 0.15
    taken = found(field)
    assert torch.allclose(taken.median(0).values, HIDDEN * share.median(0).values, rtol=0.15)
    assert float((taken - HIDDEN * share).abs().mean()) < 0.3 * HIDDEN * float(share.mean())
    matter, kept = (
        diffuse_from_logit(apply(RemoveSpecular(veil=on), field, EVERYTHING).splats.columns["diffuse"])
        for on in (True, False)
    )
    wrong, wrong_kept = ((m - truth()).abs().mean() for m in (matter, kept))
    assert float(wrong) < 0.2 * float(wrong_kept) and float(wrong_kept) > 0.01


def test_it_goes_with_the_strength_and_stays_when_asked():
    field, _ = veiled()
    before = diffuse_from_logit(field.splats.columns["diffuse"])
    full, half = (
        before - diffuse_from_logit(apply(RemoveSpecular(s), field, EVERYTHING).splats.columns["diffuse"])
        for s in (1.0, 0.5)
    )
    assert torch.allclose(half[~part("blue")], 0.5 * full[~part("blue")], atol=2e-4)
    assert float(full.min()) >= 0 and float(half[part("blue")].min()) >= 0
    kept = apply(RemoveSpecular(veil=False), field, EVERYTHING).splats.columns["diffuse"]
    assert torch.equal(kept, field.splats.columns["diffuse"])


@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_twice_the_light_is_twice_the_veil(factor: float):
    matter = diffuse_from_logit(veiled()[0].splats.columns["diffuse"])
    one, other = lacquered(matter), lacquered(factor * matter, factor * FOUND)
    assert torch.allclose(found(other), factor * found(one), rtol=0.02, atol=1e-4)


def test_no_more_than_the_field_found_itself():
    white = lacquered(torch.full((264, 3), 0.7))
    share = veils._mirrored_share(white.splats, list(white.about.cameras.values()))
    assert torch.allclose(found(white).sum(), FOUND * share.sum(), rtol=0.05)


def test_black_that_mirrors_says_that_there_is_none():
    assert (
        float(found(lacquered(truth(darkest=1e-4))).max()) < 2e-3
    )  # the least that matter can be told from black
    metal = lacquered(torch.zeros(264, 3))
    assert float(found(metal).max()) < 1e-2


def test_what_mirrors_nothing_has_none_and_says_nothing():
    field, _ = veiled()
    gloss = field.splats.columns["gloss"].clone()
    gloss[~part("blue")] = -30.0
    half = field.with_splats(field.splats.with_columns(gloss=gloss))
    inner = torch.zeros(264, dtype=torch.bool)
    inner[part("red")] = True
    assert float(found(half)[inner].max()) < 1e-3
    matte = field.with_splats(field.splats.with_columns(gloss=torch.full_like(gloss, -30.0)))
    assert not bool(found(matte).any())
    assert (
        apply(RemoveSpecular(), matte, EVERYTHING)
        .splats.columns["diffuse"]
        .equal(matte.splats.columns["diffuse"])
    )


def test_without_cameras_and_for_nobody():
    field, _ = veiled()
    alone = replace(field, about=About())
    assert torch.allclose(found(alone).mean(), found(field).mean(), rtol=0.5)
    nobody = apply(RemoveSpecular(), field, ~EVERYTHING)
    assert torch.equal(nobody.splats.columns["diffuse"], field.splats.columns["diffuse"])
    assert torch.equal(found(field), found(field))
