"""The settings page and its forms: the application, accounts, the clock, faults, reset, and the webhook doctor.

Handlers as in routes.py. See sandbox/settings.py for what a setting may be, and core/control.py for what the forms do.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sandbox.core.services import Services
from sandbox.errors import Conflict, Invalid
from sandbox.http.request import account_of, query_of, seq_of, services_of, while_connected
from sandbox.model import Account
from sandbox.pages import forms
from sandbox.pages.forms import Form, typed_by, with_errors
from sandbox.pages.render import first_account, look, page, see_other
from sandbox.settings import KEYS, Key, Settings, account_from, mask_url
from sandbox.store import faults as stored_faults
from sandbox.values.fields import optional
from sandbox.values.kinds import TextKind

FAULTS = 50  # the newest
DUE = 8
POSTS = ("no", "yes")


async def settings(request: Request, *, form: Form | None = None, status: int = 400) -> Response:
    """The settings page. `status` is that of a form that was not accepted."""
    services, account = services_of(request), account_of(request)
    timers = services.scheduler.next_timers(limit=DUE)
    frame, (due, faults) = await look(
        request, lambda db: (timers(db), stored_faults.page(db, account=account.name, limit=FAULTS))
    )
    url = account.client_url or ""
    now_ms = services.clock.now_ms()
    return page(
        request,
        "settings.html",
        title="Settings",
        section="settings",
        frame=frame,
        at="/settings" if form else None,
        status=status if form else 200,
        form=form or Form(),
        due=due,
        next_ms=next((each.due_ms for each in due if each.due_ms > now_ms), None),
        faults=faults,
        client_url=url if mask_url(url) == url else "",  # one that holds a password is replaced, never shown
        has_secrets=mask_url(url) != url,
        rows=[_row(services, key, services.settings) for key in KEYS if key.scope == "server"],
        account_rows=[_row(services, key, account) for key in KEYS if key.scope == "account"],
    )


def _row(services: Services, key: Key, holder: Settings | Account) -> tuple[Key, str, str]:
    """A setting, its value as anybody may see it, and where that was set."""
    return key, key.text(getattr(holder, key.attribute)), origin_of(services, key, holder)


def origin_of(services: Services, key: Key, holder: Settings | Account) -> str:
    """The origin of a value in words: as `config show` has it, or `set while running`."""
    value, name, written = getattr(holder, key.attribute), key.name, services.settings.accounts
    if isinstance(holder, Account):
        same = [each for each in written if each.name == holder.name and getattr(each, key.attribute) == value]
        if not same and value != key.default:
            return "set while running"
        if not same or same[0] is not written[0]:
            name = f"accounts[{holder.name}].{name}"
    return services.origin.get(name) or ("default" if value == key.default else "the program that started it")


def _shown_again(typed: Mapping[str, str]) -> Mapping[str, str]:
    """What was typed, less what is secret: a token, and an address that holds a password or a query."""
    return {name: value for name, value in typed.items() if name != "new_token" and not _holds_secret(name, value)}


def _holds_secret(name: str, value: str) -> bool:
    return name.endswith("client_url") and mask_url(value) != value


async def set_client_url(request: Request) -> Response:
    account, typed = account_of(request), await typed_by(request)
    url = None if typed.get("action") == "remove" else typed.get("client_url", "").strip()
    try:
        if url == "":
            raise Invalid(("client_url", "Type an address, for example http://127.0.0.1:8000/sms."))
        change = partial(account_from, {"client_url": url})
        await services_of(request).control.change_account(account.name, lambda present: change(defaults=present))
    except Invalid as error:
        wrong = " ".join(reason for _, reason in error.fields)
        return await settings(request, form=Form(_shown_again(typed), {"client_url": wrong}))
    return see_other(request, "/settings#application")


async def set_clock(request: Request) -> Response:
    services, typed = services_of(request), await typed_by(request)
    try:
        match forms.known(typed.get("action", "advance"), ("freeze", "resume", "advance"), "action"):
            case "freeze":
                await services.control.freeze()
            case "resume":
                await services.control.resume()
            case _:
                await services.control.advance(forms.to_advance(typed, services.clock.now_ms()))
    except Invalid as error:
        return await settings(request, form=with_errors(typed, error))
    if back := typed.get("back"):  # a scenario's run, at which the button stood
        return see_other(request, f"/runs/{back}")
    return see_other(request, "/settings#clock")


async def to_system(request: Request) -> Response:
    """Let the clock run with the system's; back to the page on which the button stood."""
    typed = await typed_by(request)
    back = forms.to_page(typed, request.scope.get("root_path", ""))
    await services_of(request).control.to_system()
    return RedirectResponse(back, 303)


async def reset(request: Request) -> Response:
    account, typed = account_of(request), await typed_by(request)
    scope = forms.known(typed.get("scope", ""), ("account", "all"), "scope")
    await services_of(request).control.reset(None if scope == "all" else account.name)
    return see_other(request, "/")


# Faults ------------------------------------------------------------------------------------------------------------


async def add_fault(request: Request) -> Response:
    account, typed = account_of(request), await typed_by(request)
    try:
        await services_of(request).control.add_fault(account.name, forms.to_fault(typed))
    except Invalid as error:
        return await settings(request, form=with_errors(typed, error))
    except Conflict as error:
        return await settings(request, form=Form(typed, {"effect": str(error)}), status=409)
    return see_other(request, "/settings#faults")


async def remove_fault(request: Request) -> Response:
    await typed_by(request)
    await services_of(request).control.remove_fault(seq_of(request, "f"), account_of(request).name)
    return see_other(request, "/settings#faults")


# Accounts ----------------------------------------------------------------------------------------------------------


async def add_account(request: Request) -> Response:
    typed = await typed_by(request)
    try:
        given = {name: typed.get(f"new_{name}", "").strip() for name in ("name", "token", "client_url", "shortcodes")}
        made = account_from({name: value for name, value in given.items() if value})
        await services_of(request).control.add_account(made)
    except Invalid as error:
        wrong = {f"new_{name}": reason for name, reason in error.fields}
        return await settings(request, form=Form(_shown_again(typed), wrong))
    except Conflict as error:
        return await settings(request, form=Form(_shown_again(typed), {"new_name": str(error)}), status=409)
    return see_other(request, "/settings#accounts", account=made.name)


async def remove_account(request: Request) -> Response:
    """Remove the account that the form names, not the one that the page is about."""
    services, typed = services_of(request), await typed_by(request)
    await services.control.remove_account(typed.get("name", ""))
    return see_other(request, "/settings#accounts", account=first_account(services.accounts).name)


# The webhook doctor ------------------------------------------------------------------------------------------------


async def doctor(request: Request) -> Response:
    """Check the way to client_url. Only by POST: to follow a link makes no connection."""
    from sandbox.webhooks import doctor  # brings TLS along, which a start can do without

    services, account = services_of(request), account_of(request)
    query_of(request).done()
    typed = await typed_by(request) if request.method == "POST" else {}
    report, form = None, Form(typed)
    try:
        given = forms.fields(typed, "url", "post")
        url = given.take(optional("url", TextKind(2048), ""))
        post = given.choice("post", POSTS) == "yes"
        given.done()
    except Invalid as error:
        form = with_errors(typed, error)
    else:
        if request.method == "POST":
            own = (services.settings.host, request.scope["server"][1])
            report = await while_connected(
                request,
                doctor.examine(
                    (url or "").strip() or account.client_url,
                    account=account,
                    post=post,
                    deadline_s=services.settings.webhook_deadline_s,
                    own_addresses=lambda: (own,),
                ),
            )
    asked = typed.get("url", "")
    return page(
        request,
        "doctor.html",
        title="Webhook doctor",
        section="settings",
        status=400 if form.errors else 200,
        report=report,
        form=form,
        asked=asked if mask_url(asked) == asked else "",
    )


def routes() -> Sequence[Route]:
    post = ["POST"]
    return [
        Route("/settings", settings),
        Route("/settings/client-url", set_client_url, methods=post),
        Route("/settings/clock", set_clock, methods=post),
        Route("/settings/clock/system", to_system, methods=post),
        Route("/settings/reset", reset, methods=post),
        Route("/settings/faults", add_fault, methods=post),
        Route("/settings/faults/{id}/remove", remove_fault, methods=post),
        Route("/settings/accounts", add_account, methods=post),
        Route("/settings/accounts/remove", remove_account, methods=post),
        Route("/doctor", doctor, methods=["GET", "POST"]),
    ]
