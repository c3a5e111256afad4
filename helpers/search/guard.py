"""Who may ask the search page: whoever has the address that `make app` printed, from a page of this very server.

The page listens on this machine only, and that alone keeps few out: any web site in the owner's browser can send
requests here, and one that lets its own name point to 127.0.0.1 ("DNS rebinding") can read the answers as well. So:

- the Host that a request names must be this machine's own, which a rebound name is not;
- the first request brings the token of the address, as Jupyter has it, and all others the cookie that it was exchanged
  for, which browsers send from no other site (SameSite) and show to no script (HttpOnly);
- what changes something must come from a page of this address (Origin).

OWASP, "Cross-Site Request Forgery Prevention Cheat Sheet" and "Content Security Policy Cheat Sheet".
"""

import asyncio
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = {"127.0.0.1", "localhost"}  # of this machine; not the port, since a tunnel (ssh -L) may end at another
LARGEST_UPLOAD = 64 * 2**20  # bytes
HEADERS = {
    # Pictures, style and script of this server, and nothing else: no script or style within a page, no other address.
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Other sites learn nothing. With "no-referrer", browsers would also hide the Origin of a form from this server.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
WITHOUT_TOKEN = "Open the address that `make app` printed: it ends in ?token=... and is another after each start."
FOREIGN = "This came from another page than this one; nothing was changed."
CLOSED = "This page was closed; open it again."
TOO_LARGE = f"This file is larger than {LARGEST_UPLOAD // 2**20} MB; make it smaller first."


class Guard:
    """An ASGI application around another, which sees only what passes.

    Args:
        app: the application.
        token: what the address must hold.
        port: of the address; it names the cookie, since browsers do not keep cookies of two ports apart.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token, self.cookie = app, token, f"photo_search_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in one sentence."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        brings_token = self._same(request.query_params.get("token"))

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if brings_token and refusal is None:
                    headers.append("Set-Cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        refusal = self._refusal(request, brings_token)
        if refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, send_with_headers)
            return
        try:
            await self.app(scope, _limited(request, receive), send_with_headers)
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            if not started:
                await PlainTextResponse(CLOSED, 503)(scope, receive, send_with_headers)

    def _same(self, token: str | None) -> bool:
        return secrets.compare_digest((token or "").encode("utf-8", "replace"), self.token.encode())

    def _refusal(self, request: Request, brings_token: bool) -> str | None:
        """Why `request` is refused, or None."""
        host = request.headers.get("host", "")
        if _name(host) not in NAMES:
            return f"This page is served to this machine, as {' or '.join(sorted(NAMES))}, and not as {host!r}."
        if not brings_token and not self._same(request.cookies.get(self.cookie)):
            return WITHOUT_TOKEN
        if request.method not in ("GET", "HEAD") and request.headers.get("origin") != f"http://{host}":
            return FOREIGN
        return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as "[:::"
        return ""


def _limited(request: Request, receive: Receive) -> Receive:
    """`receive`, which raises HTTPException 413 once more than LARGEST_UPLOAD has come."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_UPLOAD:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted
