"""The viewer's server on a port: what is too long is refused, and others are served on."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import version

import pytest
import viser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from featurefields.viewer.serving import MESSAGE_BYTES, start_server

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def server() -> Iterator[viser.ViserServer]:
    started = start_server(
        HOST, 0, "", label="test", on_event=lambda event: None, find_file=lambda name: None
    )
    yield started
    started.stop()


def joined(server: viser.ViserServer) -> Connection:
    """A browser's websocket that viser has welcomed."""
    address = f"ws://{HOST}:{server.get_port()}"
    found = connect(
        address, subprotocols=[Subprotocol(f"viser-v{version('viser')}")], max_size=None, open_timeout=10
    )
    found.recv(timeout=10)
    return found


def end_of(connection: Connection) -> int | None:
    """The code that the server ends a connection with; what it says before is passed over."""
    with pytest.raises(ConnectionClosed):
        while True:
            connection.recv(timeout=10)
    return connection.protocol.close_code


def status(server: viser.ViserServer, target: str) -> int:
    with closing(http.client.HTTPConnection(HOST, server.get_port(), timeout=10)) as connection:
        connection.request("GET", target)
        return connection.getresponse().status


@pytest.mark.parametrize("content", [b"\0" * (MESSAGE_BYTES + 1), "a" * (MESSAGE_BYTES + 1)])
def test_a_message_that_is_too_long_ends_its_own_connection_only(
    server: viser.ViserServer, content: bytes | str
) -> None:
    with joined(server) as other:
        with joined(server) as loud:
            loud.send(content)
            assert end_of(loud) == 1009, "message too big"
        assert other.ping().wait(10), "another browser stays"
        assert status(server, "/") == 200
    with joined(server):
        pass


def test_a_message_in_parts_is_as_long_as_all_of_them(server: viser.ViserServer) -> None:
    with joined(server) as loud:
        with pytest.raises(ConnectionClosed):
            loud.send(b"\0" * (MESSAGE_BYTES // 4) for _ in range(1000))
        assert end_of(loud) == 1009
    assert status(server, "/") == 200


def knocked(server: viser.ViserServer, request: bytes) -> bytes:
    """What the server answers to these bytes before it hangs up."""
    answer = b""
    # it may hang up while more is sent
    with socket.create_connection((HOST, server.get_port()), 10) as connection, suppress(ConnectionError):
        connection.sendall(request)
        while part := connection.recv(4096):
            answer += part
    return answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /ff/event?name=" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"\0" * 100_000,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n",
    ],
    ids=["long", "many headers", "nonsense", "a body"],
)
def test_requests_beyond_reason_are_refused_without_a_word_in_the_terminal(
    server: viser.ViserServer, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert not knocked(server, request_).startswith(b"HTTP/1.1 2")
    assert status(server, "/") == 200 and not caplog.records
