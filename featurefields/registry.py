"""Choice by name: a registry maps a name to "module:attribute" and imports it on use.

Third parties add names through entry points of the registry's group. An unknown name lists the known
ones; a failed import keeps its reason and names the extra to install.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from featurefields.errors import UnavailableError, UnknownNameError


@dataclass(frozen=True)
class Registry:
    """Names of one kind of thing (`kind`, for messages) and where they live.

    `entries` maps a name to "module:attribute"; `extras` maps a name to the pip extra that provides what
    it needs. Entry points of group `group` are added on look-up.
    """

    kind: str
    group: str
    entries: dict[str, str]
    extras: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every known name, ours first, then third-party ones in alphabetical order."""
        foreign = sorted(point.name for point in entry_points(group=self.group))
        return [*self.entries, *(name for name in foreign if name not in self.entries)]

    def load(self, name: str) -> Any:
        """The object behind `name`.

        Raises:
            UnknownNameError: no such name; the message lists the known ones.
            UnavailableError: its module cannot be imported; the message says why and what to install.
        """
        target = self.entries.get(name)
        if target is None:
            for point in entry_points(group=self.group, name=name):
                target = point.value
        if target is None:
            near = get_close_matches(name, self.names(), n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise UnknownNameError(f"unknown {self.kind} '{name}'{hint}; known: {', '.join(self.names())}")
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ImportError as error:
            extra = self.extras.get(name)
            advice = f"; install it with: pip install 'featurefields[{extra}]'" if extra else ""
            raise UnavailableError(f"{self.kind} '{name}' cannot be loaded: {error}{advice}") from error
