"""Downloads that break off: half a file is never taken for weights, and the next try goes on.

The hub is a small server on this machine, which the hub's own client talks to in a process of its own.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONFIG = {"config.json": b'{"model_type": "vit"}'}
WHOLE = {**CONFIG, "model.safetensors": bytes(range(256)) * 4000}
PARTS = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
SHARDS = {
    **CONFIG,
    **{name: name.encode() * 1000 for name in PARTS},
    "model.safetensors.index.json": json.dumps({"weight_map": {"a": PARTS[0], "b": PARTS[1]}}).encode(),
}
MODELS = {"tiny/whole": WHOLE, "tiny/killed": WHOLE, "tiny/shards": SHARDS}
CODE = """
import sys
from featurefields.errors import UnavailableError
from featurefields.vision.hub import weights_folder
for line in sys.stdin:
    try:
        print(weights_folder(line.strip()), flush=True)
    except UnavailableError as error:
        print(error, flush=True)
"""


class Hub(ThreadingHTTPServer):
    """Serves `MODELS`. `faults`: what happens to a file, cut, stalled or refused; `served`: what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.faults: dict[str, str] = {}
        self.served: list[tuple[str, int]] = []
        self.stalled, self.go_on = threading.Event(), threading.Event()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def log_message(self, format: str, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        words = self.path.partition("?")[0].strip("/").split("/")
        if words[:2] == ["api", "models"] and (files := MODELS.get("/".join(words[2:4]))):
            listed = [
                {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": name}
                for name, content in files.items()
            ]
            told = (
                listed
                if "tree" in words
                else {"id": "/".join(words[2:4]), "sha": "0" * 40, "siblings": listed}
            )
            self.tell(200, json.dumps(told).encode())
            return
        name, content = words[-1], MODELS.get("/".join(words[:2]), {}).get(words[-1])
        fault = self.hub.faults.get(name, "")
        if content is None or fault == "refused":
            self.tell(403 if fault else 404, b"", **{"X-Error-Code": "" if fault else "EntryNotFound"})
            return
        begin = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        told = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": "0" * 40}
        if begin:
            told["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        if self.command == "GET":
            self.hub.served.append((name, begin))
        self.tell(206 if begin else 200, content[begin:], fault=fault, **told)

    def tell(self, status: int, body: bytes, *, fault: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if fault else body)
        if fault:
            self.wfile.flush()
            self.close_connection = True
        if fault == "stalled":
            self.hub.stalled.set()
            self.hub.go_on.wait(60)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


class Client:
    """A process that asks the hub for models, with a cache in `folder`."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        told = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, **told, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"},
        )  # fmt: skip

    def ask(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()

    def answer(self, name: str) -> str:
        self.ask(name)
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def client(hub: Hub, cache: Path) -> Iterator[Client]:
    started = Client(hub, cache)
    yield started
    started.end()


def content_of(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_download_that_is_cut_off(hub: Hub, client: Client) -> None:
    hub.faults = {"model.safetensors": "cut"}
    said = client.answer("tiny/whole")
    assert "their download broke off; the next try goes on" in said and "--features classical" in said
    hub.faults = {"model.safetensors": "refused"}
    assert said[:60] == client.answer("tiny/whole")[:60], "what is there is not taken for a model"
    hub.faults = {}
    assert content_of(client.answer("tiny/whole")) == WHOLE
    hub.served.clear()
    assert content_of(client.answer("tiny/whole")) == WHOLE and not hub.served, "found on this machine"


def test_a_download_that_ends_between_two_files_of_weights(hub: Hub, client: Client) -> None:
    hub.faults = {PARTS[1]: "refused"}
    for _ in range(2):
        assert "broke off" in client.answer("tiny/shards"), "one of two files is no model"
    hub.faults = {}
    hub.served.clear()
    assert content_of(client.answer("tiny/shards")) == SHARDS
    assert PARTS[0] not in [name for name, _ in hub.served], "what was whole is kept"


def test_a_process_that_is_killed_while_it_downloads(hub: Hub, client: Client, cache: Path) -> None:
    hub.faults = {"model.safetensors": "stalled"}
    other = Client(hub, cache)
    other.ask("tiny/killed")
    assert hub.stalled.wait(60)
    other.end()
    hub.faults = {}
    assert content_of(client.answer("tiny/killed")) == WHOLE
