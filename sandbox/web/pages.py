"""The web pages."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def error_page(request: Request, error: Exception) -> Response:
    return PlainTextResponse("error", 500)


def routes() -> Sequence[Route]:
    return []
