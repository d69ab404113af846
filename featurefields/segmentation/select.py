"""Prompts to a selection.

Letters: n Gaussians.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.raster import Rasterizer
from featurefields.segmentation.candidates import Candidate
from featurefields.segmentation.evidence import Evidence, evidence_of
from featurefields.segmentation.grouping import path_scores, stable_threshold
from featurefields.segmentation.prompts import RADIUS_PX, Prompt, Text, TextTower
from featurefields.segmentation.records import VERSION, described
from featurefields.segmentation.regions import region_candidates
from featurefields.segmentation.samples import Sample, sample_of
from featurefields.segmentation.scores import similarity
from featurefields.segmentation.separation import separating_threshold
from featurefields.segmentation.text import text_evidence
from featurefields.segmentation.viewed import Layer, UnitSpace, ViewedField, camera_key
from featurefields.selection import Selection

HIGH = 0.9
"""No threshold that is found is above this."""


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """From prompts to Gaussians."""

    threshold: float | None = None
    """Least cosine with what was prompted; the regions that last decide when not given."""
    candidate: int = 1
    """Which of the selections that prompts may mean, the likeliest being 1."""
    connected: bool = True
    """Keep only what is connected to a prompt."""
    centred: bool = True
    """Compare features after their mean over the scene is taken away, which tells objects apart better."""
    radius_px: float = RADIUS_PX
    """A click means the pixels within this distance."""
    field: Layer = "indep"
    """Which features are compared: what surfaces are ("indep"), what they show to the cameras of the prompts ("total"),
    or what they reflect to them ("dep")."""


def select(
    field: FeatureField,
    prompts: Sequence[Prompt],
    *,
    rasterizer: Rasterizer,
    config: SelectConfig = SelectConfig(),
    text: TextTower | None = None,
) -> Selection:
    """The Gaussians that look like what was prompted and are connected to it.

    For many prompts one after the other, and for undoing, see `featurefields.segmentation.session`.

    Raises:
        PromptError: no positive prompt, a prompt outside the picture or on nothing, a text without a `text` tower, or
            a field without the features that are compared.
    """
    check_positive(prompts)
    viewed = ViewedField(field, rasterizer)
    evidence = [gather_evidence(prompt, viewed, config, text) for prompt in prompts]
    return decide(prompts, evidence, viewed, config)


def gather_evidence(
    prompt: Prompt, viewed: ViewedField, config: SelectConfig, text: TextTower | None
) -> Evidence:
    """What a prompt of any kind says. Raises `PromptError` when it says nothing."""
    if isinstance(prompt, Text):
        return text_evidence(prompt, viewed.field, text)
    return evidence_of(prompt, viewed, radius_px=config.radius_px)


def check_positive(prompts: Sequence[Prompt]) -> None:
    """Raise `PromptError` when no prompt says what to select."""
    if not any(prompt.positive for prompt in prompts):
        raise PromptError(
            f"{len(prompts)} prompts were given and none says what to select; add a positive click"
        )


@torch.no_grad()
def decide(
    prompts: Sequence[Prompt], evidence: Sequence[Evidence], viewed: ViewedField, config: SelectConfig
) -> Selection:
    """The selection that prompts with this evidence make; see `select`."""
    check_positive(prompts)
    field = viewed.field
    allowed = _allowed(evidence, len(field))
    likeness, seeds, samples = _scored(evidence, viewed, config)
    score = likeness
    if allowed is not None:
        _check_allowed(prompts, evidence, allowed)
        score, seeds = torch.where(allowed, likeness, likeness.clamp(max=-1.0)), seeds & allowed
    groups: tuple[Candidate, ...] = ()
    threshold, found_by = config.threshold, "given"
    if _by_regions(evidence, config):
        camera = None if config.field == "indep" else next(one.camera for one in evidence if one.positive)
        tree = viewed.hierarchy(config.field, camera)
        groups = region_candidates(tree, evidence, samples, viewed)
        if not 1 <= config.candidate <= len(groups):
            raise PromptError(
                f"candidate {config.candidate} was asked for, but these prompts leave {len(groups)} (counted from 1); "
                "choose one of them"
            )
        mask, found_by = tree.members(groups[config.candidate - 1].chosen), "regions"
    else:
        reach = path_scores(field.splats, score, seeds) if config.connected else score
        if threshold is None:
            threshold, found_by = _threshold(evidence, viewed, config, likeness, seeds, reach)
        mask = reach >= threshold
    if not bool(mask.any()):
        mask = seeds.clone()
    for one in evidence:  # the later prompt has the last word
        mask[one.rows[one.sure]] = one.positive
    if allowed is not None:
        mask &= allowed
    return Selection(
        mask, score, viewed.fingerprint, _how(prompts, evidence, viewed, config, threshold, found_by, groups)
    )


def _by_regions(evidence: Sequence[Evidence], config: SelectConfig) -> bool:
    """Whether the tree of regions says what is meant: not where a likeness is asked for, nor for reflections."""
    return (
        config.threshold is None
        and config.connected
        and config.field != "dep"
        and all(one.camera is not None for one in evidence if one.positive)
    )


def _scored(
    evidence: Sequence[Evidence], viewed: ViewedField, config: SelectConfig
) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"], dict[int, Sample]]:
    """Every Gaussian's likeness to what is meant, where the selection grows from, and samples by `id` of the evidence.

    Features that depend on the view are compared as the camera of each positive prompt sees them; the best counts.
    """
    positives = [one for one in evidence if one.positive]
    samples: dict[int, Sample] = {}
    tables = {id(one.camera) if config.field != "indep" else 0: one.camera for one in positives}
    scores = []
    seeds = torch.zeros(len(viewed.field), dtype=torch.bool, device=viewed.field.splats.means.device)
    for camera in tables.values():
        features = viewed.features(config.field, camera)
        here = positives if config.field == "indep" else [one for one in positives if one.camera is camera]
        prompted = torch.stack([one.share @ features[one.rows] for one in here])
        space = viewed.space(config.field, prompted, centred=config.centred)
        samples |= {
            id(one): sample_of(one, features, space) for one in evidence if one in here or not one.positive
        }
        meant = torch.cat([samples[id(one)].meant for one in here])
        against = [samples[id(one)].meant for one in evidence if not one.positive]
        against += [samples[id(one)].beside for one in here]
        units = viewed.units(config.field, features, space, centred=config.centred)
        unit = UnitSpace(units.new_zeros(units.shape[1]), 0.0)
        scores.append(similarity(units, space.units(meant), space.units(torch.cat(against)), unit))
        for one in here:
            seeds[one.rows[samples[id(one)].seeds]] = True
    return scores[0] if len(scores) == 1 else torch.stack(scores).amax(0), seeds, samples


def _threshold(
    evidence: Sequence[Evidence],
    viewed: ViewedField,
    config: SelectConfig,
    likeness: Float[Tensor, "n"],
    seeds: Bool[Tensor, "n"],
    reach: Float[Tensor, "n"],
) -> tuple[float, str]:
    """The least score that is selected, and what found it: "picture" or "growth"."""
    low = 0.35 if config.centred or config.field == "dep" else 0.6
    meant, beside = torch.zeros_like(likeness), torch.zeros_like(likeness)
    for one in evidence:
        if one.outside is not None and one.camera is not None:
            shown = viewed.visibility(one.camera).total
            rows = one.rows[one.seeds & seeds[one.rows]]
            meant[rows] += shown[rows]
            beside += shown * (one.outside & ~seeds)
    if bool((meant > 0).any()) and bool((beside > 0).any()):
        return separating_threshold(likeness, meant, beside, low=low, high=HIGH), "picture"
    return stable_threshold(reach, viewed.field.splats.footprints, low=low, high=HIGH), "growth"


def _allowed(evidence: Sequence[Evidence], count: int) -> Bool[Tensor, "n"] | None:
    """What boxes and whole masks leave: the union of those in one picture, the intersection over pictures."""
    pictures: dict[bytes, Tensor] = {}
    for one in evidence:
        if one.allowed is not None and one.camera is not None:
            key = camera_key(one.camera)
            pictures[key] = pictures[key] | one.allowed if key in pictures else one.allowed
    return torch.stack(list(pictures.values())).all(0) if pictures else None


def _check_allowed(
    prompts: Sequence[Prompt], evidence: Sequence[Evidence], allowed: Bool[Tensor, "n"]
) -> None:
    """Raise `PromptError` when a positive prompt shows nothing that may be selected."""
    for prompt, one in zip(prompts, evidence, strict=True):
        if one.positive and not bool(allowed[one.rows[one.seeds]].any()):
            raise PromptError(
                f"the {prompt.kind} {prompt} shows only what lies outside of the boxes or beside the masks that were "
                "given; take it back, or take them back"
            )


def _how(
    prompts: Sequence[Prompt],
    evidence: Sequence[Evidence],
    viewed: ViewedField,
    config: SelectConfig,
    threshold: float | None,
    found_by: str,
    groups: Sequence[Candidate],
) -> dict[str, object]:
    """The record of a selection."""
    cameras = viewed.field.about.cameras
    told = []
    for prompt, one in zip(prompts, evidence, strict=True):
        seen = {} if one.reflected is None else {"reflected": round(one.reflected, 4)}
        told.append(described(prompt, cameras) | {"coverage": round(one.coverage, 4)} | seen)
    settings = {name: value for name, value in asdict(config).items() if name != "threshold"}
    return {
        "prompts": told,
        "threshold": threshold,
        "automatic": config.threshold is None,
        "found_by": found_by,
        "candidates": [
            {"share": round(one.size, 6), "confidence": round(one.confidence, 4)} for one in groups
        ],
        **settings,
        "version": VERSION,
    }
