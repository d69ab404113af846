"""What browsers see while the field is being opened."""

import threading
from typing import Any

import viser

from featurefields.viewer.widgets import Widgets


class Waiting:
    """Progress in every browser that came early."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[int, tuple[Any, Any]] = {}
        self._state = "opening", 0.0

    def add(self, client: viser.ClientHandle) -> None:
        """Show a browser how far it is."""
        widgets = Widgets(client.gui, lambda act: None)
        with self._lock:
            self._shown[client.client_id] = widgets.markdown(""), widgets.progress()
        self.progress(*self._state)

    def progress(self, words: str, share: float) -> None:
        """How far it is, 0..1."""
        self._state = words, share
        with self._lock:
            for line, bar in self._shown.values():
                line.content = words
                bar.visible = share < 1
                bar.value = 100.0 * min(max(share, 0.0), 1.0)

    def remove(self, client: viser.ClientHandle) -> None:
        """Take the progress away: the field is there."""
        with self._lock:
            for handle in self._shown.pop(client.client_id, ()):
                handle.remove()

    def forget(self, client: viser.ClientHandle) -> None:
        """The browser is closed."""
        with self._lock:
            self._shown.pop(client.client_id, None)
