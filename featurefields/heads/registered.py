"""The heads known by name."""

from typing import Any

from featurefields.heads.interface import Head
from featurefields.registry import Registry

HEADS = Registry(
    kind="head",
    group="featurefields.heads",
    entries={
        "deferred": "featurefields.heads.deferred:DeferredHead",
        "direct": "featurefields.heads.direct:DirectHead",
        "directional": "featurefields.heads.directional:DirectionalHead",
        "harmonics": "featurefields.heads.harmonics:HarmonicsHead",
        "reflected": "featurefields.heads.reflected:ReflectedHead",
    },
)


def head_from_config(kind: str, config: dict[str, Any]) -> Head:
    """A head of the registered `kind`, built from its `config()`."""
    return HEADS.load(kind)(**config)
