"""The viewer: a server that is up at once, a document that is opened meanwhile, and any number of browsers."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import viser

from featurefields.errors import FeatureFieldsError
from featurefields.viewer.autosave import EXPORTS, read_saved, save
from featurefields.viewer.browser import Browser
from featurefields.viewer.camera_list import CameraList
from featurefields.viewer.chores import Chore, Chores
from featurefields.viewer.document import Document
from featurefields.viewer.drawing import Painter
from featurefields.viewer.frustums import Frustums
from featurefields.viewer.gate import Event
from featurefields.viewer.keys import KEYS
from featurefields.viewer.opened import Exports, Open, Opened
from featurefields.viewer.panel import Panel
from featurefields.viewer.prompting import prompt_of
from featurefields.viewer.serving import arrange, start_server
from featurefields.viewer.stage import Stage
from featurefields.viewer.view import View
from featurefields.viewer.waiting import Waiting
from featurefields.viewer.worker import Worker

_log = logging.getLogger(__name__)

PREPARED = (128, 128)
"""Size of the picture that is clicked in before anybody else does."""


@dataclass(frozen=True, kw_only=True)
class ViewerConfig:
    """Where the viewer listens, and how it starts."""

    host: str = "127.0.0.1"
    """Where to listen; 127.0.0.1 is reached from this machine only."""
    port: int = 8080
    """Port, or the next free one after it."""
    token: str = ""
    """What a browser has to know; "" for nothing."""
    splats: bool = True
    """Whether browsers draw splats themselves while they move."""
    longest: int = 768
    """Longer side of sharp pictures, pixels."""


class Viewer:
    """A running viewer. `open` is called in a thread; browsers see its progress.

    Attributes:
        stage: what browsers look at.
        path: the camera path.
        folder: where the work is saved.
    """

    stage: Stage
    exports: Exports
    folder: Path

    def __init__(self, config: ViewerConfig, open_field: Open, *, label: str = "featurefields") -> None:
        self.config = config
        self.path = CameraList()
        self.failure: Exception | None = None
        self.errors = 0
        self.worker: Worker[Any, Any] = Worker(self._failed)
        self._chores = Chores()
        self._opened: Opened | None = None
        self._ready, self._prepared, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._panels: dict[int, tuple[Browser, Panel]] = {}
        self._waiting = Waiting()
        self._frustums: Frustums | None = None
        self.server: viser.ViserServer = start_server(
            config.host,
            config.port,
            config.token,
            label=label,
            on_event=self._event,
            find_file=self._find_file,
        )
        arrange(self.server)
        self.server.on_client_connect(self._connected)
        self.server.on_client_disconnect(self._disconnected)
        threading.Thread(target=self._open, args=(open_field,), name="viewer opens", daemon=True).start()

    @property
    def url(self) -> str:
        """The link that opens the viewer."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.config.host, self.config.host)
        token = f"/?token={self.config.token}" if self.config.token else ""
        return f"http://{host}:{self.server.get_port()}{token}"

    def wait_until_open(self, timeout_s: float | None = None) -> bool:
        """Wait until the field is there; raises what opening it raised. False when that takes longer."""
        opened = self._ready.wait(timeout_s)
        if self.failure is not None:
            raise self.failure
        return opened

    def wait(self) -> None:
        """Wait until the viewer is stopped."""
        self._stopped.wait()

    def stop(self) -> None:
        """Finish what is being done, save, close all connections."""
        self.worker.stop()
        self._chores.stop()
        self.server.stop()
        self._stopped.set()

    @property
    def browsers(self) -> dict[int, tuple[Browser, Panel]]:
        """Browsers that are connected and have their panels, by viser's number."""
        return dict(self._panels)

    @property
    def document(self) -> Document:
        """What is worked on; only the worker's thread touches it."""
        return self.stage.document

    # What browsers do

    def act(self, browser: Browser, job: Callable[[], object]) -> None:
        """Do something to the document, or to how a browser sees it, then show what came of it everywhere."""

        def work() -> None:
            before = self.stage.version
            try:
                job()
            except FeatureFieldsError as error:
                self.tell(browser, str(error))
            except Exception:
                self.tell(browser, "internal error; see the terminal")
                raise
            finally:
                self._changed(browser, before)

        self.worker.do(work)

    def act_alone(self, job: Callable[[], object]) -> None:
        """Do something to the document in the worker's thread, and save and show what came of it."""
        before = self.stage.version
        job()
        if self.stage.version != before:
            self._changed_all()

    def tell(self, browser: Browser, message: str) -> None:
        """A line in a browser's status."""
        found = self._panels.get(browser.number)
        if found is not None:
            found[1].tell(message)

    def idle(self, browser: Browser, make: Callable[[], Any], show: Callable[[Any], object]) -> None:
        """Make something for a browser when nothing is more urgent."""
        self.worker.wish((browser.number, "strip"), make, show, wait_s=0.25)

    def chore(self, browser: Browser, chore: Chore, done: Callable[[Any], object]) -> None:
        """Long work; the browser sees how far it is."""

        def progress(words: str, share: float) -> None:
            found = self._panels.get(browser.number)
            if found is not None:
                found[1].progress(words, share)

        def finished(result: object) -> None:
            progress("", 1.0)
            self.act(browser, lambda: done(result))

        def failed(error: Exception) -> None:
            progress("", 1.0)
            if isinstance(error, FeatureFieldsError):
                self.tell(browser, str(error))
            else:
                self.tell(browser, "internal error; see the terminal")
                self._failed(error)

        self._chores.do(chore, progress=progress, done=finished, failed=failed)

    def export_path(self, name: str) -> Path:
        """Where an exported file goes."""
        folder = self.folder / EXPORTS
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def save(self) -> None:
        """Write everything that was done."""
        assert self._opened is not None
        save(self.document, self._opened.base, self.folder, tuple(self.path.keyframes))

    def path_changed(self) -> None:
        """The camera path is another one."""
        self.save()
        self._refresh_panels()

    def go_to_photo(self, browser: Browser, name: str) -> None:
        """Stand where a photo was taken."""
        browser.go_to(self.stage.cameras[name], browser.distance)

    def show_frustums(self, browser: Browser, shown: bool) -> None:
        """Show the cameras of the photos to a browser, or hide them."""
        if self._frustums is not None:
            self._frustums.show(browser, shown)

    # Inside

    def _open(self, open_field: Open) -> None:
        try:
            opened = open_field(self._waiting.progress)
            saved = read_saved(opened.folder, opened.base.field_id)
            self._waiting.progress("choosing colours", 0.97)
            scene = opened.scene
            painter = Painter(
                opened.field.to(opened.device), opened.rasterizer, () if scene is None else scene.views
            )
            document = Document(
                opened.field, opened.rasterizer, text=opened.text, device=opened.device, record=saved.record,
                history=saved.history, looks=saved.looks,
            )  # fmt: skip
            self.stage = Stage(document, painter)
            self.exports, self.folder, self._opened = opened.exports, opened.folder, opened
            self.path.keyframes.extend(saved.path)
            self._frustums = Frustums(self, scene)
            save(document, opened.base, opened.folder, saved.path)
        except Exception as error:
            self.failure = error
            self._waiting.progress(f"**cannot open it**: {error}", 1.0)
            self._ready.set()
            return
        with self._lock:
            self._ready.set()
            clients = list(self.server.get_clients().values())
        for client in clients:
            self.worker.do(lambda client=client: self._welcome(client))
        try:
            if not document.session.steps and "feature" in document.base.heads:
                document.selections.prepare(self.stage.first()[0].resized(PREPARED))
        except Exception as error:
            self._failed(error)
        finally:
            self._prepared.set()

    def _connected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            if not self._ready.is_set() or self.failure is not None:
                self._waiting.add(client)
                return
        self.worker.do(lambda: self._welcome(client))

    def _welcome(self, client: viser.ClientHandle) -> None:
        """Give a browser its panel and its first picture."""
        if client.client_id in self._panels or client.client_id not in self.server.get_clients():
            return
        self._waiting.remove(client)
        assert self._opened is not None
        view = View(layer=self.stage.painter.layers[0], longest=self.config.longest)
        browser = Browser(client, self.stage, self.worker, view, splats=self.config.splats)
        panel = Panel(self, browser)
        self._panels[client.client_id] = browser, panel
        camera, up, browser.distance = self.stage.first()
        if up is not None:
            client.camera.up_direction = up.double().numpy()
        browser.begin_at(camera, browser.distance)
        browser.refresh(wait_s=0.3)
        panel.tell(f"{len(self.document.base):,} splats; press ? for keys")
        if client.client_id not in self.server.get_clients():  # it left meanwhile
            self._disconnected(client)

    def _disconnected(self, client: viser.ClientHandle) -> None:
        found = self._panels.pop(client.client_id, None)
        self._waiting.forget(client)
        if found is not None:
            found[0].gone()
            if self._frustums is not None:
                self._frustums.forget(found[0])

    def _event(self, event: Event) -> None:
        """An event of the page; called by the server, returns at once."""
        try:
            found = self._panels.get(int(event.get("client", "")))
        except ValueError:
            return
        if found is None:
            return
        browser, panel = found
        if event.get("kind") == "key":
            action = KEYS.get(event.get("key", ""))
            if action is not None:
                self.act(browser, panel.actions[action[0]])
            return
        camera, view = browser.camera(), browser.view
        positive = event.get("negative") != "1"
        self.act(browser, lambda: self._prompted(browser, event, camera, view, positive))

    def _prompted(self, browser: Browser, event: Event, camera: Any, view: View, positive: bool) -> None:
        points = event.get("points", "")
        original = view.shows == "original"
        if view.shows == "split":
            original = float(points.partition(",")[0] or 0) < view.divide
        self._prepared.wait()  # the session is for one thread at a time
        prompt = prompt_of(event.get("kind", ""), points, camera, positive=positive)
        self.document.prompt(prompt, on_edited=not original)
        self.tell(browser, "")

    def _changed(self, browser: Browser, before: int) -> None:
        """Show and save what came of a job."""
        if self.stage.version != before:
            self._changed_all()
        else:
            found = self._panels.get(browser.number)
            if found is not None:
                found[1].refresh()

    def _changed_all(self) -> None:
        for other, _ in list(self._panels.values()):
            other.refresh()
        self.save()
        self._refresh_panels()

    def _refresh_panels(self) -> None:
        for _, panel in list(self._panels.values()):
            panel.refresh()

    def _find_file(self, name: str) -> Path | None:
        """An exported file, or one of the saved ones."""
        if self._opened is None or Path(name).name != name:
            return None
        places = [self.folder / EXPORTS / name, self.folder / name]
        return next((path for path in places if path.is_file()), None)

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        _log.error("the viewer failed: %s", error, exc_info=error)
