"""Routes of the web pages: a person is the handset, and sees what went over the wire.

Each handler parses the request, calls one method of core/ or reads the store, and renders a template. See views.py for
what a page shows, and formatting.py for how values are written. Every form works without JavaScript: POST, then 303 to
what it changed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sandbox.core.gateway import PATH
from sandbox.errors import Busy, Conflict, Invalid, NotFound, StorageError
from sandbox.http.access import COOKIE, login_cookie, same_secret
from sandbox.http.request import account_of, own_delivery, query_of, seq_of, services_of
from sandbox.pages import formatting, forms, lists, present, scenarios, settings, views
from sandbox.pages.forms import Form, typed_by, with_errors
from sandbox.pages.render import is_looked_at, look, page, see_other, static, url_for
from sandbox.pages.transcripts import conversation_of, transcript
from sandbox.settings import KEYS
from sandbox.store import messages
from sandbox.store.database import Queries
from sandbox.wire.numbers import TELCOS
from sandbox.wire.problems import quote
from sandbox.wire.requests import EXAMPLE

if TYPE_CHECKING:
    from sandbox.rules.findings import Finding

TOKEN = next(key for key in KEYS if key.name == "token")

# Conversations -----------------------------------------------------------------------------------------------------


async def home(request: Request, *, form: Form | None = None, status: int = 400) -> Response:
    """The home page. `status` is that of a form that was not accepted."""
    account, given = account_of(request), query_of(request)
    search, older = given.text("q") or "", given.cursor("older")
    given.done()
    frame, side = await look(request, partial(views.sidebar, account=account, search=search, before=older))
    base = str(request.base_url).rstrip("/")
    return page(
        request,
        "home.html",
        title="Conversations",
        section="conversations",
        frame=frame,
        at="/" if form else None,
        status=status if form else 200,
        side=side,
        current=None,
        form=form or Form(),
        telcos=TELCOS,
        base_url=base,
        gateway_path=PATH,
        example=formatting.curl(base + PATH, EXAMPLE),
        token_from=settings.origin_of(services_of(request), TOKEN, account),
        shortcode=account.shortcodes[0] if account.shortcodes else "48974",
    )


async def add_handset(request: Request) -> Response:
    services, account, typed = services_of(request), account_of(request), await typed_by(request)
    try:
        new = forms.to_add(typed, account, max_text=services.settings.max_text)
        await services.network.change_handset(account.name, new.msisdn, new.change)
        if new.texting is not None:
            await services.control.text(new.texting, wait_s=None)
    except Invalid as error:
        return await home(request, form=with_errors(typed, error))
    except (Conflict, Busy) as error:  # it is there already, and off; or too much is waiting
        return await home(request, form=Form(typed, {"text": str(error)}), status=status_of(error))
    return see_other(request, f"/c/{new.shortcode}/{new.msisdn}")


def findings_for(request: Request) -> Callable[[Queries], "Sequence[Finding] | None"]:
    """The function that reads findings about the account; None where it would keep others waiting at each event."""
    return partial(
        views.findings,
        account=account_of(request),
        deadline_ms=round(services_of(request).settings.webhook_deadline_s * 1000),
        again="x-refresh" in request.headers,
    )


async def thread(request: Request, *, form: Form | None = None, status: int = 200) -> Response:
    services, account = services_of(request), account_of(request)
    shortcode, msisdn = conversation_of(request)
    given = query_of(request)
    before, at = given.cursor("before"), given.cursor("at")
    search, older = given.text("q") or "", given.cursor("older")
    given.done()
    unread = partial(views.is_unread, account=account, shortcode=shortcode, msisdn=msisdn)
    if is_looked_at(request) and before is None and at is None and await services.database.read(unread):
        await services.control.mark_read(account.name, msisdn, shortcode)
    suspicious = findings_for(request)
    frame, (side, found, findings) = await look(
        request,
        lambda db: (
            views.sidebar(db, account, search=search, before=older),
            views.thread(db, account, shortcode, msisdn, before=before, at=at),
            views.findings_of_thread(suspicious(db), db, account, shortcode, msisdn),
        ),
    )
    name = found.handset.label or formatting.grouped(msisdn)
    base = str(request.base_url).rstrip("/")
    return page(
        request,
        "thread.html",
        title=f"{name}, {shortcode}",
        section="conversations",
        frame=frame,
        at=f"/c/{shortcode}/{msisdn}" if form else None,
        status=status,
        side=side,
        current=(shortcode, msisdn),
        thread=found,
        findings=findings,
        form=form or Form(),
        telcos=TELCOS,
        max_text=services.settings.max_text,
        curl_of_request=lambda it: formatting.curl(base + formatting.shell_word(it.path), it.body),
        retries=len(account.retry_s),
    )


async def reply(request: Request) -> Response:
    services, account = services_of(request), account_of(request)
    shortcode, msisdn = conversation_of(request)
    typed = await typed_by(request)
    try:
        chosen = forms.to_session(typed)
        session_id = None
        if chosen is not None:
            in_session_of = partial(views.session_of, account=account, shortcode=shortcode, msisdn=msisdn, seq=chosen)
            session_id = await services.database.read(in_session_of)
        texting = forms.to_text(
            typed, account, shortcode, msisdn, session_id=session_id, max_text=services.settings.max_text
        )
        await services.control.text(texting, wait_s=None)
    except Invalid as error:
        return await thread(request, form=with_errors(typed, error), status=400)
    except (Conflict, Busy) as error:
        return await thread(request, form=Form(typed, {"text": str(error)}), status=status_of(error))
    return see_other(request, f"/c/{shortcode}/{msisdn}")


async def change_handset(request: Request) -> Response:
    """The form in the head of a conversation, which leads back to it."""
    services, account, typed = services_of(request), account_of(request), await typed_by(request)
    shortcode, msisdn = conversation_of(request)
    try:
        change, before, at = forms.to_change(typed)
        await services.network.change_handset(account.name, msisdn, change)
    except Invalid as error:
        return await thread(request, form=with_errors(typed, error), status=400)
    return see_other(request, f"/c/{shortcode}/{msisdn}", before=before, at=at and f"m{at}")


# Requests ----------------------------------------------------------------------------------------------------------


async def one_request(request: Request) -> Response:
    account, seq = account_of(request), seq_of(request, "r")
    frame, found = await look(request, partial(views.one_call, account=account, seq=seq))
    if found is None:
        raise NotFound(f"There is no request r{seq} in the account {account.name}.")
    url = str(request.base_url).rstrip("/") + formatting.shell_word(found.request.path)
    return page(
        request,
        "request.html",
        title=f"Request {found.request.id}",
        section="requests",
        frame=frame,
        call=found,
        curl=formatting.curl(url, found.request.body),
    )


# Webhooks ----------------------------------------------------------------------------------------------------------


async def one_webhook(request: Request) -> Response:
    account, seq = account_of(request), seq_of(request, "w")
    suspicious = findings_for(request)
    frame, (found, findings) = await look(
        request,
        lambda db: (
            views.webhook(db, account, seq),
            views.findings_of_webhook(suspicious(db), db, seq),
        ),
    )
    if found is None:
        raise NotFound(f"There is no webhook delivery w{seq} in the account {account.name}.")
    return page(
        request,
        "webhook.html",
        title=f"Webhook delivery {found.posted.delivery.id}",
        section="webhooks",
        frame=frame,
        delivery=found,
        findings=findings,
        marks=views.timeline(found.posted, account),
    )


async def one_message(request: Request) -> Response:
    """The permanent link of a message, for where its conversation is not known."""
    account, seq = account_of(request), seq_of(request, "m")
    found = await services_of(request).database.read(partial(messages.get, seq=seq))
    if found is None or found.account != account.name:
        raise NotFound(f"There is no message m{seq} in the account {account.name}.")
    return see_other(request, f"/c/{found.shortcode}/{found.msisdn}#{found.id}", at=found.id)


async def act_on_webhook(request: Request, *, action: str) -> Response:
    """The buttons `attempt`, `redeliver` and `cancel`; they lead back to where the button stood: a conversation, the
    list, or the page."""
    services, typed = services_of(request), await typed_by(request)
    edited, before, at = forms.to_redeliver(typed)
    control, seq = services.control, seq_of(request, "w")
    await services.database.read(partial(own_delivery, account=account_of(request), seq=seq))
    match action:
        case "attempt":
            done, _ = await control.attempt(seq, wait_s=None)
        case "redeliver":
            done, _ = await control.redeliver(seq, edited=edited, wait_s=None)
        case _:
            done, _ = await control.cancel(seq)
    if typed.get("from") == "thread":
        place = f"/c/{done.shortcode}/{done.msisdn}#m{done.message_seq}"
        return see_other(request, place, before=before, at=at and f"m{at}")
    if typed.get("from") == "list":
        state, search = typed.get("state"), typed.get("q")
        return see_other(request, f"/webhooks#{done.id}", state=state, q=search, before=before)
    return see_other(request, f"/webhooks/{done.id}")


# Login, errors, routes ---------------------------------------------------------------------------------------------


async def login(request: Request) -> Response:
    token = services_of(request).control_token
    if token is None or same_secret(request.cookies.get(COOKIE, ""), login_cookie(token)):
        return RedirectResponse(url_for(request, "/"), 303)
    typed = await typed_by(request) if request.method == "POST" else {}
    if same_secret(typed.get("token", "").strip(), token):
        answer = RedirectResponse(url_for(request, "/"), 303)
        answer.set_cookie(
            COOKIE,
            login_cookie(token),
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer
    wrong = {"token": "This is not the control token. It was printed when the sandbox started."} if typed else {}
    return page(request, "login.html", title="Log in", status=401 if typed else 200, form=Form({}, wrong))


def status_of(error: Exception) -> int:
    match error:
        case HTTPException():
            return error.status_code
        case Invalid():
            return 400
        case NotFound():
            return 404
        case Conflict():
            return 409
        case Busy() | StorageError():
            return 503
    return 500


_TITLES = {
    400: "That makes no sense",
    404: "Not found",
    405: "Not here",
    409: "Not in this state",
    413: "Too large",
    503: "Try again later",
}


async def error_page(request: Request, error: Exception) -> Response:
    """An error in the design of the pages. It reads nothing from the store, which may be what failed."""
    status = status_of(error)
    match error:
        case HTTPException(status_code=404):
            detail = f"There is no page {quote(request.url.path)}."
        case HTTPException():
            detail = error.detail
        case Invalid():
            detail = " ".join(reason for _, reason in error.fields)
        case NotFound() | Conflict() | Busy() | StorageError():
            detail = str(error)
        case _:
            detail = "This is a fault of the sandbox, not of what you did; its log says more."
    answer = page(
        request,
        "error.html",
        title=_TITLES.get(status, "The sandbox failed" if status >= 500 else "Refused"),
        at="/",
        status=status,
        detail=detail,
    )
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


def routes() -> Sequence[Route]:
    chat, delivery, post = "/c/{shortcode}/{msisdn}", "/webhooks/{id}", ["POST"]
    return [
        Route("/", home),
        Route("/", add_handset, methods=post),
        Route(chat, thread),
        Route(chat, reply, methods=post),
        Route(f"{chat}/handset", change_handset, methods=post),
        Route(f"{chat}/as/{{form}}", transcript),
        Route("/messages/{id}", one_message),
        Route("/requests/{id}", one_request),
        Route(delivery, one_webhook),
        *(
            Route(f"{delivery}/{action}", partial(act_on_webhook, action=action), methods=post)
            for action in ("attempt", "redeliver", "cancel")
        ),
        *lists.routes(),
        *present.routes(),
        *scenarios.routes(),
        *settings.routes(),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/static/{file}", static),
    ]
