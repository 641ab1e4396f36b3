"""All routes as one ASGI application: the gateway, the control API, the pages and probes, behind the access rules."""

import logging
from collections.abc import Awaitable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from sandbox.api import openapi, operations
from sandbox.api import routes as api_routes
from sandbox.core.services import Services
from sandbox.errors import SandboxError
from sandbox.http.access import (
    CONTROL,
    GATEWAY,
    Access,
    App,
    Disconnected,
    Receive,
    Scope,
    Send,
)
from sandbox.http.gateway_route import HangUp, gateway_api
from sandbox.http.request import services_of
from sandbox.pages import routes as page_routes

log = logging.getLogger(__name__)


async def _live(_: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """The database answers too; 503 if not, by way of the error handler."""
    await services_of(request).database.read(lambda db: db.execute("SELECT 1").fetchone())
    return JSONResponse({"status": "ok"})


async def _docs(request: Request) -> Response:
    """The control API to read."""
    from sandbox.asgi import api_reference  # which a start can do without

    return await api_reference.docs(request)


def _allowed(request: Request) -> str:
    """All methods of the path, which may be spread over several routes."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for each in routes for method in each.methods}))


async def _on_error(request: Request, error: Exception) -> Response:
    """Exception handler: an error in the shape of the surface it happened on, gateway, control API or pages."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        error.headers = {"Allow": _allowed(request)}
    expected = isinstance(error, SandboxError | HTTPException | Disconnected)
    if not expected:
        log.error("A request failed", exc_info=error)
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if path.startswith((CONTROL, "/livez", "/readyz")):
        return operations.error_answer(error)
    return await page_routes.error_page(request, error)


def build(services: Services, *, hang_up: HangUp) -> App:
    """Build the ASGI application; `hang_up` closes the connection of a call, which ASGI has no message for."""
    inner = Starlette(
        routes=[
            Route("/livez", _live),
            Route("/readyz", _ready),
            *api_routes.routes(),
            *openapi.routes(),
            Route("/_sandbox/docs", _docs),
            *page_routes.routes(),
        ],
        exception_handlers={HTTPException: _on_error, SandboxError: _on_error, Exception: _on_error},
    )
    inner.state.services = services
    gateway = gateway_api(services.gateway, max_body=services.settings.max_body, hang_up=hang_up)
    root = services.settings.root_path

    def dispatch(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # The gateway's one route needs no router, and is the one whose speed is felt.
        if scope["path"].startswith(GATEWAY):
            return gateway(scope, receive, send)
        if root:  # Starlette wants the path whole
            scope = {**scope, "path": root + scope["path"]}
        return inner(scope, receive, send)

    guarded = Access(
        dispatch,
        accounts=services.accounts,
        allowed_hosts=services.settings.allowed_hosts,
        control_token=services.control_token,
    )
    return _below(root, guarded) if root else guarded


def _below(root: str, app: App) -> App:
    """Serve `app` below a path prefix, whether the proxy before it takes the prefix off or leaves it on.

    No path of ours begins with it, so that what does begin with it was left whole.
    """
    raw = root.encode()

    def below(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            scope = {**scope, "root_path": root}
            path = scope["path"]
            if path == root or path.startswith(f"{root}/"):
                scope["path"] = path[len(root) :] or "/"
                scope["raw_path"] = scope["raw_path"].removeprefix(raw) or b"/"
        return app(scope, receive, send)

    return below
