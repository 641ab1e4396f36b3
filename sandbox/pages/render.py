"""Rendering of templates: the jinja2 environment, loaded at the first page, links, the frame, and static files.

Autoescape is always on, and text from the wire passes `visible` or `sign`. See views.py for what a page shows.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox.core.accounts import AccountCache
from sandbox.errors import NotFound
from sandbox.http.request import account_of, services_of
from sandbox.model import Account, EventType
from sandbox.pages import formatting, scenario_formatting
from sandbox.settings import mask_url
from sandbox.store import journal, messages
from sandbox.store.database import Queries
from sandbox.system import package_files
from sandbox.wire.problems import mask

if TYPE_CHECKING:  # 39 ms, which a server that nobody looks at need not spend
    from jinja2 import Environment

T = TypeVar("T")

COMPRESSED = 8_000  # bytes, from which on a page is compressed
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_ASSET = re.compile(rf"[a-z]+\.({'|'.join(_TYPES)})")

# Paths of icons on a grid of 16, drawn as strokes.
_ICONS = {
    "alert": "M8 2.2 14.6 13.5H1.4L8 2.2ZM8 6.5v3M8 11.6v.1",
    "back": "M9.5 3 4.5 8l5 5M4.5 8h9",
    "bell": "M3 11.5h10l-1.5-2v-3a3.5 3.5 0 0 0-7 0v3zM6.5 13.5h3",
    "chats": "M2 3.5h12v8H7.5L4.5 14v-2.5H2z",
    "chevron": "m6 3.5 4.5 4.5L6 12.5",
    "clock": "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8ZM8 4.5V8l2.4 1.6",
    "copy": "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
    "cross": "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8ZM5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4",
    "in": "M8 2v8M4.5 6.8 8 10.2l3.5-3.4M2.5 13.5h11",
    "out": "M8 10.5v-8M4.5 5.8 8 2.3l3.5 3.5M2.5 13.5h11",
    "pencil": "m10.8 2.6 2.6 2.6-7.6 7.6-3.3.7.7-3.3z",
    "pulse": "M1.5 8.5h3l2-5 3 9 2-4h3",
    "plus": "M8 3v10M3 8h10",
    "retry": "M13.2 8a5.2 5.2 0 1 1-1.6-3.7M13.4 2v3h-3",
    "play": "M4.5 2.8v10.4l8.5-5.2z",
    "search": "M7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6ZM10.6 10.6 14 14",
    "script": "M3 2.5h10v11H3zM5.5 5.5h5M5.5 8h5M5.5 10.5h3",
    "send": "M2.5 8 13.8 2.8 10.6 13.4 7.6 9.2zM7.6 9.2l6.2-6.4",
    "settings": "M2 4.5h7M12.5 4.5H14M2 11.5h1.5M7 11.5h7M10.7 2.9v3.2M5.2 9.9v3.2",
    "stop": "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8ZM3.8 3.8l8.4 8.4",
    "ticks": "m1.5 8.6 2.8 2.9L10 4.6M7.6 10.6l1 .9 5.9-6.9",
    "wire": "M5 4 1.5 8 5 12M11 4l3.5 4L11 12",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The frame around every page: how much is unread, and the journal's number that the page is as new as."""

    unread: int
    seq: int


async def look(request: Request, view: Callable[[Queries], T]) -> tuple[Frame, T]:
    """The frame and what `view` reads, in one snapshot of the store."""
    account = account_of(request)
    return await services_of(request).database.read(lambda db: (_frame(db, account), view(db)))


def is_looked_at(request: Request) -> bool:
    """Whether a person sees the answer: not if the page is behind another, or is loaded ahead of need."""
    background = request.headers.get("x-refresh") == "background" or "prefetch" in request.headers.get(
        "sec-purpose", ""
    )
    return request.method == "GET" and not background


def _frame(db: Queries, account: Account) -> Frame:
    return Frame(unread=messages.unread(db, account.name), seq=journal.last_seq(db))


def first_account(accounts: AccountCache) -> Account:
    """The account that a page is about when none is named."""
    return accounts.get("default") or accounts.all()[0]


def links(request: Request) -> Callable[..., str]:
    """`url(path, **query)`: a link to a page of ours, below the root path, and with the account unless it is the
    usual one."""
    accounts = services_of(request).accounts
    name = request.query_params.get("account")
    if name is not None and (name == first_account(accounts).name or accounts.get(name) is None):
        name = None
    root = request.scope.get("root_path", "")

    def url(path: str, **query: object) -> str:
        path, hash_, fragment = path.partition("#")
        pairs = {key: value for key, value in {"account": name, **query}.items() if value not in (None, "")}
        return f"{root}{quote(path)}{f'?{urlencode(pairs)}' if pairs else ''}{hash_}{fragment}"

    return url


def url_for(request: Request, path: str, **query: object) -> str:
    return links(request)(path, **query)


def see_other(request: Request, path: str, **query: object) -> Response:
    """303 See Other: the answer to every form that did its work."""
    return RedirectResponse(url_for(request, path, **query), 303)


def page(
    request: Request,
    template: str,
    *,
    title: str,
    section: str = "",
    frame: Frame | None = None,
    at: str | None = None,
    status: int = 200,
    **context: Any,
) -> Response:
    """Render a template as a response. `frame` None is a page that is not live; `at` is its address where it is not the
    call's.

    An account that does not exist has no page but the one that says so.
    """
    services = services_of(request)
    try:
        account = account_of(request)
    except NotFound:
        account = first_account(services.accounts)
    query = {key: value for key, value in request.query_params.items() if key != "account"}
    where = at if at is not None else request.url.path.removeprefix(request.scope.get("root_path", ""))
    html = (
        environment()
        .get_template(template)
        .render(
            title=title,
            section=section,
            frame=frame,
            here=url_for(request, where, **({} if at is not None else query)),
            account=account,
            accounts=services.accounts.all(),
            usual_account=first_account(services.accounts).name,
            now_ms=services.clock.now_ms(),
            frozen=services.clock.frozen,
            apart=formatting.apart(services.clock.ahead_ms, frozen=services.clock.frozen),
            is_virtual=services.settings.clock == "virtual",
            kinds=" ".join(EventType),
            url=links(request),
            **context,
        )
    )
    return _compressed(request, html.encode(), status)


def _compressed(request: Request, html: bytes, status: int) -> Response:
    """Compress a page, to a tenth in less than a millisecond. It holds no secret that the
    length of what is compressed could give away: tokens are masked."""
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    accepted = re.split(r"\s*,\s*", request.headers.get("accept-encoding", "").lower())
    if len(html) >= COMPRESSED and "gzip" in accepted:
        headers["Content-Encoding"] = "gzip"
        html = zlib.compress(html, 1, wbits=31)  # as gzip
    return Response(html, status, headers, media_type="text/html")


@cache
def environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for function in (
        formatting.brief_time,
        formatting.counted,
        formatting.day,
        formatting.decoded,
        formatting.duration,
        formatting.grouped,
        formatting.hm,
        formatting.hms,
        formatting.initials,
        formatting.outcome_tone,
        formatting.outcome_words,
        formatting.span,
        formatting.spelled,
        formatting.state_icon,
        scenario_formatting.due_words,
        scenario_formatting.effect_words,
        scenario_formatting.left_words,
        scenario_formatting.only_words,
        scenario_formatting.run_status,
        mask,
        mask_url,
        visible,
        content,
        sign,
    ):
        made.filters[function.__name__] = function
    made.globals["icon"] = icon
    return made


def _template(name: str) -> tuple[str, str, None]:
    """The source of a template, and a name for tracebacks."""
    try:
        return package_files.text(f"templates/{name}"), name, None
    except OSError:  # a wheel carries the templates inside the package; in a checkout they stand beside it
        return package_files.text(f"../templates/{name}"), name, None


def visible(text: str) -> Any:
    """Text from the wire as markup: escaped, with a sign for every character that hides or turns its neighbours."""
    from markupsafe import Markup, escape

    if formatting.HIDDEN.search(text) is None:  # nearly always
        return escape(text)
    return Markup(  # noqa: S704 -- escaped in this line; what is put in is escaped or made of digits and letters
        formatting.HIDDEN.sub(
            lambda found: (
                f'<span class="unseen" title="{escape(formatting.title_for(found[0]))}">'
                f"{formatting.sign_for(found[0])}</span>"
            ),
            str(escape(text)),
        )
    )


def content(text: str) -> Any:
    """As `visible`, for the content of an element and nowhere else: quotes, of which JSON is full, need no escape."""
    from markupsafe import Markup

    return Markup(str(visible(text)).replace("&#34;", '"').replace("&#39;", "'"))  # noqa: S704 -- tags stay escaped


def sign(text: str) -> str:
    """As `visible`, for where no markup can stand: titles, attributes, areas of text."""
    return formatting.HIDDEN.sub(lambda found: formatting.sign_for(found[0]), text)


@cache
def icon(name: str) -> Any:
    from markupsafe import Markup

    return Markup(  # noqa: S704 -- our own paths
        f'<svg class="icon icon-{name}" viewBox="0 0 16 16" aria-hidden="true"><path d="{_ICONS[name]}"/></svg>'
    )


# Static files ------------------------------------------------------------------------------------------------------


@cache
def _asset(name: str) -> tuple[bytes, Mapping[str, str]]:
    """Content and headers of a static file, read once. Raises OSError if there is no such file."""
    content = package_files.read(f"pages/static/{name}")
    # Asked for anew each time and answered 304: modules name each other without a version.
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
        "Cache-Control": "no-cache",
        "Content-Type": f"{_TYPES[name.partition('.')[2]]}; charset=utf-8",
    }
    return content, headers


async def static(request: Request) -> Response:
    name = request.path_params["file"]
    if _ASSET.fullmatch(name) is None:  # so that nobody names another folder
        raise NotFound("There is no such file.")
    try:
        content, headers = _asset(name)
    except OSError:
        raise NotFound("There is no such file.") from None
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=dict(headers))
    return Response(content, headers=dict(headers))
