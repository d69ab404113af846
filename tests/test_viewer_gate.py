"""Who gets into the viewer."""

from pathlib import Path

import pytest

from featurefields.viewer.gate import EVENT, FILE, SCRIPT, Gate, with_script
from featurefields.viewer.keys import KEYS, help_table

HOST = "127.0.0.1:8080"
OURS = {"Host": HOST, "X-Featurefields": "1"}


def gate(
    token: str = "", hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"), **changes
) -> tuple[Gate, list]:
    events: list = []
    found = Gate(
        **{
            "token": token,
            "hosts": hosts,
            "page": "<head></head>",
            "script": "run()",
            "on_event": events.append,
            "find_file": lambda name: None,
            **changes,
        }
    )
    return found, events


def status(found: Gate, target: str, **headers: str) -> int | None:
    answer = found.answer(target, {"Host": HOST, **headers})
    return None if answer is None else answer.status


def test_without_a_token_this_machine_gets_in():
    found, _ = gate()
    for host in (HOST, "localhost:8080", "[::1]:8080"):
        assert status(found, "/", Host=host) == 200
    assert status(found, "/assets/app.js") is None  # viser answers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
def test_names_that_are_not_the_viewers_are_refused(host: str):
    found, _ = gate()
    assert status(found, "/", Host=host) == 403
    assert status(found, "/", Host=host, Upgrade="websocket") == 403


def test_with_a_token_nothing_is_answered_without_it():
    found, events = gate("secret", hosts=())
    for target in ("/", "/assets/app.js", SCRIPT, EVENT, f"{FILE}a.ply", "/?token=wrong", "/?token="):
        assert status(found, target, **OURS) == 403, target
    assert status(found, "/", Upgrade="websocket", Origin=f"http://{HOST}") == 403
    assert status(found, "/", Cookie="ff_8080=wrong") == 403 and not events


def test_the_link_gives_a_cookie_that_opens_everything():
    found, events = gate("secret", hosts=())
    page = found.answer("/?token=secret", {"Host": "far.example:8080"})
    assert page is not None and page.status == 200
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    sent = {"Host": "far.example:8080", "Cookie": cookie.partition(";")[0]}
    assert found.answer("/assets/app.js", sent) is None
    assert found.answer("/", sent | {"Upgrade": "websocket", "Origin": "http://far.example:8080"}) is None
    assert status(found, f"{EVENT}?client=3", **sent, **{"X-Featurefields": "1"}) == 204
    assert events == [{"client": "3"}]


def test_the_cookie_of_another_port_opens_nothing():
    found, _ = gate("secret", hosts=())
    assert status(found, "/", Cookie="ff_9090=secret") == 403
    assert status(found, "/", Cookie="ff_8080=secret") == 200


def test_websockets_and_events_of_other_pages_are_refused():
    found, events = gate()
    assert status(found, "/", Upgrade="websocket", Origin="http://evil.example") == 403
    assert status(found, "/", Upgrade="WebSocket", Origin="http://127.0.0.1:9000") == 403
    assert status(found, "/", Upgrade="websocket", Origin=f"http://{HOST}") is None
    assert status(found, "/", Upgrade="websocket") is None  # no browser
    assert status(found, f"{EVENT}?client=1") == 403 and not events
    assert status(found, f"{EVENT}?client=1", **{"X-Featurefields": "1"}) == 204 and events


def test_the_page_loads_nothing_from_elsewhere():
    page = (
        '<html><head><script async src="https://tags.example/t.js"></script>'
        '<script type="module" src="/assets/app.js"></script></head></html>'
    )
    changed = with_script(page)
    assert "tags.example" not in changed and "/assets/app.js" in changed and SCRIPT in changed
    answer = gate(page=changed)[0].answer("/", OURS)
    assert answer is not None and "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_only_exported_files_are_given(tmp_path: Path):
    (tmp_path / "a b.ply").write_bytes(b"ply")
    asked: list = []

    def find(name: str) -> Path | None:
        asked.append(name)
        return tmp_path / name if (tmp_path / name).is_file() else None

    found, _ = gate(find_file=find)
    answer = found.answer(f"{FILE}a%20b.ply", OURS)
    assert (
        answer is not None and answer.body == b"ply" and "attachment" in answer.headers["Content-Disposition"]
    )
    assert status(found, f"{FILE}none.ply") == 404 and asked == ["a b.ply", "none.ply"]


def test_every_key_has_words_and_none_moves_the_camera():
    assert not {"w", "a", "s", "d", "q", "e"} & set(KEYS)
    assert all(f"`{key}`" in help_table() for key in KEYS)
