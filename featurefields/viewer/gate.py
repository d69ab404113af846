"""Who may open the viewer, and what its web server answers besides viser's own files.

Every request passes `Gate.answer` before viser sees it: the page, its files, and the handshake of its websocket. The
gate refuses names of the host that are not its own (a foreign page that points its name at this machine), websockets
and events that another page sends, and, where there is a token, everyone who does not have it. It protects against
others who can reach the port, not against others who can read the traffic: it is plain HTTP.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names under which only this machine reaches the viewer."""
EVENT_HEADER = "X-Featurefields"
"""Only the viewer's own page can send this header: browsers ask before they let another page do so."""
EVENT, FILE, SCRIPT = "/ff/event", "/ff/file/", "/ff/page.js"
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: blob: ws: wss:; "
    "worker-src 'self' data: blob:; frame-ancestors 'self'"
)
"""The page loads nothing from elsewhere."""
_FOREIGN_SCRIPT = re.compile(r"<script[^>]*\bsrc=[\"']https?://[^>]*>\s*</script>", re.IGNORECASE)

Event = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What a request gets instead of what viser would answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @staticmethod
    def text(status: int, line: str) -> "Answer":
        return Answer(status, {"Content-Type": "text/plain; charset=utf-8"}, (line + "\n").encode())


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Attributes:
    token: what has to be known; "" when nothing.
    hosts: names of the host that requests may have; () for any.
    page: viser's page.
    script: what is added to it.
    on_event: takes events of the page; must return at once.
    find_file: finds an exported file by its name.
    """

    token: str
    hosts: tuple[str, ...]
    page: str
    script: str
    on_event: Callable[[Event], None]
    find_file: Callable[[str], Path | None]

    def answer(self, target: str, headers: Mapping[str, str]) -> Answer | None:
        """The answer to a GET request with these headers (names in any case); None: viser answers."""
        found = {name.lower(): value for name, value in headers.items()}
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        host = found.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return Answer.text(403, f"this viewer answers to {', '.join(self.hosts)} only")
        by_link = self._knows(query.get("token", ""))
        if not (by_link or self._knows(_cookie(found.get("cookie", ""), _cookie_name(host)))):
            return Answer.text(403, "this viewer needs its token: open the whole link that `ff view` printed")
        if found.get("upgrade", "").lower() == "websocket":
            origin = found.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return Answer.text(403, "websockets of other pages are refused")
            return None
        path = unquote(parts.path)
        if path in ("/", "/index.html"):
            return self._page(host, set_cookie=by_link and bool(self.token))
        if path == SCRIPT:
            return Answer(
                200,
                {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"},
                self.script.encode(),
            )
        if path == EVENT:
            return self._event(query, found)
        if path.startswith(FILE):
            return self._file(path.removeprefix(FILE))
        return None

    def _knows(self, given: str) -> bool:
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())

    def _page(self, host: str, *, set_cookie: bool) -> Answer:
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": POLICY,
        }
        if set_cookie:
            headers["Set-Cookie"] = f"{_cookie_name(host)}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        return Answer(200, headers, self.page.encode())

    def _event(self, query: Event, headers: Mapping[str, str]) -> Answer:
        if headers.get(EVENT_HEADER.lower()) is None:
            return Answer.text(403, "events come from the viewer's own page only")
        self.on_event(query)
        return Answer(204)

    def _file(self, name: str) -> Answer:
        path = self.find_file(name)
        if path is None:
            return Answer.text(404, f"there is no exported file {name}")
        told = f"attachment; filename*=UTF-8''{quote(path.name)}"
        return Answer(
            200, {"Content-Type": "application/octet-stream", "Content-Disposition": told}, path.read_bytes()
        )


def with_script(page: str) -> str:
    """viser's page with the viewer's script, and without scripts from elsewhere."""
    cleaned = _FOREIGN_SCRIPT.sub("", page)
    return cleaned.replace("<head>", f'<head><script src="{SCRIPT}" defer></script>', 1)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _cookie_name(host: str) -> str:
    """Cookies do not tell ports apart, so their names do."""
    return f"ff_{host.rpartition(':')[2] if host.rpartition(':')[2].isdigit() else '80'}"


def _cookie(header: str, name: str) -> str:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""
