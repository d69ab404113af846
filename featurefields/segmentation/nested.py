"""All sizes that the selection of one prompt can grow to.

Letters: n Gaussians · s sizes.
"""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.segmentation.candidates import growth
from featurefields.segmentation.prompts import PixelPrompt
from featurefields.segmentation.regions import pointed_at
from featurefields.segmentation.select import SelectConfig, decide, gather_evidence
from featurefields.segmentation.viewed import ViewedField
from featurefields.selection import Selection

MOST = 40


def nested_selections(
    viewed: ViewedField, prompt: PixelPrompt, config: SelectConfig
) -> tuple[Selection, Bool[Tensor, "n s"]]:
    """What a positive prompt selects, and every (at most `MOST`) step of its growth, smallest first.

    Judged with the truth, the best step says how much is lost by not knowing which one is meant.

    Raises:
        PromptError: as `select`.
    """
    evidence = gather_evidence(prompt, viewed, config, None)
    selection = decide([prompt], [evidence], viewed, config)
    tree = viewed.hierarchy(config.field, prompt.camera)
    _, chosen = growth(tree, pointed_at(tree, evidence, viewed))
    sizes = chosen @ tree.sizes_in_order
    steps = np.flatnonzero(np.diff(np.log(np.maximum(sizes, 1e-12)), prepend=-np.inf) > 0.01)
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, MOST).round().astype(int))]
    return selection, torch.stack([tree.members(chosen[step]) for step in steps], dim=-1)
