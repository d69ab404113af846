"""What prompts say about a field, gathered once and remembered."""

from featurefields.segmentation.evidence import Evidence
from featurefields.segmentation.prompts import Prompt, TextTower
from featurefields.segmentation.select import SelectConfig, gather_evidence
from featurefields.segmentation.viewed import ViewedField

KEPT = 256
"""Prompts, taken back ones included, whose evidence is kept."""


class Gathered:
    """Evidence of prompts on one field."""

    def __init__(self, viewed: ViewedField, text: TextTower | None) -> None:
        self._viewed, self._text = viewed, text
        self._known: dict[tuple[int, float], tuple[Prompt, Evidence]] = {}

    def evidence(self, prompt: Prompt, config: SelectConfig) -> Evidence:
        """What a prompt says. Only clicks depend on a setting, their radius. Raises `PromptError` as `select` does."""
        key = (id(prompt), config.radius_px)
        if key not in self._known:
            evidence = gather_evidence(prompt, self._viewed, config, self._text)
            self._known[key] = (prompt, evidence)  # the prompt is held, so that its id stays its own
            if len(self._known) > KEPT:
                self._known.pop(next(iter(self._known)))
            return evidence
        return self._known[key][1]
