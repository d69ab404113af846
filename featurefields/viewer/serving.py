"""viser's server, started with the gate in front of it.

viser has no place for a gate, so the function that starts its web server is replaced while it starts. Whether the gate
is really there is asked over the network afterwards; a server without one is stopped at once.
"""

import contextlib
import http.client
import io
import logging
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import viser

from featurefields.errors import UnavailableError
from featurefields.viewer.gate import LOOPBACK, Answer, Event, Gate, with_script
from featurefields.viewer.keys import KEYS

TOKEN_BYTES = 18
MESSAGE_BYTES = 2**20
"""Longest message that a browser may send; a longer one ends its connection. The viewer's browsers send clicks, cameras
and what is typed. viser itself takes 50 MiB since version 1, for pictures that are asked of a browser, which the viewer
never does."""


def new_token() -> str:
    """A token nobody can guess, for a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    return host in LOOPBACK or host.startswith("127.")


def start_server(
    host: str,
    port: int,
    token: str,
    *,
    label: str,
    on_event: Callable[[Event], None],
    find_file: Callable[[str], Path | None],
) -> viser.ViserServer:
    """A running server; `get_port()` tells where, the next free port from `port` on (0: any).

    Raises:
        UnavailableError: it cannot listen there, or this viser cannot be guarded.
    """
    gate = Gate(
        token=token,
        hosts=() if token else tuple(dict.fromkeys((*LOOPBACK, host))),
        page=with_script(_page()),
        script=_script(),
        on_event=on_event,
        find_file=find_file,
    )
    _check_address(host)
    with _guarded(gate), contextlib.redirect_stdout(io.StringIO()):  # it prints a banner
        server = viser.ViserServer(host=host, port=port or _free_port(host), label=label, verbose=False)
    answered = _status(host, server.get_port(), token)
    if answered != ((HTTPStatus.FORBIDDEN if token else HTTPStatus.OK), HTTPStatus.OK):
        server.stop()
        raise UnavailableError(
            f"this version of viser cannot be guarded (its server answered {answered[0]} and {answered[1]}); install "
            "viser 0.2.7 or 1.1.1"
        )
    return server


def arrange(server: viser.ViserServer) -> None:
    """The panel at the right edge, wide, without what has nothing to do with fields."""
    theme: dict[str, Any] = {"control_width": "large", "show_logo": False, "show_share_button": False}
    panel = getattr(server.gui, "main_panel", None)  # since viser 1.1
    if panel is None:
        server.gui.configure_theme(**theme, control_layout="collapsible")
    else:
        server.gui.configure_theme(**theme)
        panel.dock_right()


def _page() -> str:
    """viser's page. Raises `UnavailableError` when it is not where it was."""
    path = Path(viser.__file__).parent / "client" / "build" / "index.html"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"viser's page is missing ({error}); install viser again") from error
    if "<head>" not in page:
        raise UnavailableError("viser's page is not as expected; install viser 0.2.7 or 1.1.1")
    return page


def _script() -> str:
    import json

    return (
        (Path(__file__).parent / "page.js")
        .read_text(encoding="utf-8")
        .replace("__KEYS__", json.dumps([*KEYS]))
    )


def _check_address(host: str) -> None:
    """Raise `UnavailableError` when nothing can listen there: viser would try for long."""
    try:
        _free_port(host)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {host}: {error.strerror or error}; give another --host"
        ) from error


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _status(host: str, port: int, token: str) -> tuple[int, int]:
    """What the page answers without the token, and with it and the viewer's script in it (else 0)."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    found = []
    for target in ("/", f"/?token={token}"):
        connection = http.client.HTTPConnection(reached, port, timeout=10)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            body = response.read()
            whole = response.status == HTTPStatus.OK and b"/ff/page.js" not in body
            found.append(0 if whole else response.status)
        except OSError as error:
            raise UnavailableError(
                f"the viewer's server does not answer on {reached}:{port} ({error})"
            ) from error
        finally:
            connection.close()
    return found[0], found[1]


@contextlib.contextmanager
def _guarded(gate: Gate) -> Iterator[None]:
    """Servers that viser starts meanwhile ask the gate first."""
    legacy = sys.modules.get("websockets.legacy.server")  # what viser before 1.0 serves with
    owner = import_module("websockets.server" if legacy else "websockets.asyncio.server")
    original: Any = (legacy or owner).serve  # type: ignore[union-attr]
    guard = _guard_legacy if legacy else _guard

    def serve(*arguments: Any, **named: Any) -> Any:
        named["process_request"] = guard(gate, named.get("process_request"))
        named |= {"max_size": MESSAGE_BYTES, "logger": _quiet_logger()}
        return original(*arguments, **named)

    with _replaced(owner, "serve", serve):
        yield


def _quiet_logger() -> logging.Logger:
    """websockets' own, without the traceback that everybody who knocks with nonsense would leave in the terminal."""
    logger = logging.getLogger("websockets.server.featurefields")
    if not logger.filters:
        logger.addFilter(lambda record: "handshake" not in record.getMessage())
    return logger


@contextlib.contextmanager
def _replaced(owner: ModuleType, name: str, value: object) -> Iterator[None]:
    had, before = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _guard(gate: Gate, viser_answers: Any) -> Any:
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def process_request(connection: Any, request: Any) -> Any:
        answer = gate.answer(request.path, dict(request.headers.raw_items()))
        if answer is None:
            return viser_answers(connection, request)
        reason = HTTPStatus(answer.status).phrase
        return Response(answer.status, reason, Headers(list(_headers(answer).items())), answer.body)

    return process_request


def _guard_legacy(gate: Gate, viser_answers: Any) -> Any:
    async def process_request(path: str, headers: Any) -> Any:
        answer = gate.answer(path, dict(headers.raw_items()))
        if answer is None:
            return await viser_answers(path, headers)
        return HTTPStatus(answer.status), list(_headers(answer).items()), answer.body

    return process_request


def _headers(answer: Answer) -> Mapping[str, str]:
    return {**answer.headers, "Content-Length": str(len(answer.body)), "Connection": "close"}
