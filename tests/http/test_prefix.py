"""The sandbox below a path prefix, behind a reverse proxy that takes it off, and behind one that leaves it on."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
import requests

from sandbox.api import openapi
from sandbox.api import routes as api_routes
from sandbox.errors import SettingsError
from sandbox.http.access import COOKIE
from sandbox.pages import routes as page_routes
from sandbox.settings import OWN_PATHS, load
from tests.conftest import EXAMPLE, Bench
from tests.http.proxying import PREFIX, proxy
from tests.pages.browsing import ADA, CHAT

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Addresses(HTMLParser):
    """Every address that a page names: links, forms, files, and what its scripts fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.actions: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "data-here", "data-events"):
                self.links.add(value or "")
            elif name in ("action", "formaction"):
                self.actions.add(value or "")


@pytest.fixture(params=[True, False], ids=["prefix taken off", "prefix left on"])
def strips(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture
def bench(start_sandbox: Callable[..., Bench]) -> Bench:
    return start_sandbox(root_path=PREFIX)


@pytest.fixture
def site(bench: Bench, strips: bool) -> Iterator[str]:
    """The address of the sandbox, as it is seen from before the proxy."""
    with proxy(bench.sandbox.address.port, strips=strips) as url:
        yield url


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def accept(site: str, http: requests.Session, token: str) -> requests.Response:
    return http.post(f"{site}/ng/v1/sendsms", json=EXAMPLE, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_every_address_of_every_page_lies_below_the_prefix_and_leads_somewhere(
    site: str, bench: Bench, http: requests.Session
) -> None:
    assert accept(site, http, bench.token).status_code == 200
    assert accept(site, http, "nobody's").status_code == 401
    bench.patch_account(client_url="http://127.0.0.1:9/sms")
    bench.post(f"/handsets/{ADA}/reply", {"text": "Things Fall Apart"})
    bench.post("/scenarios/happy-survey/runs", {})
    origin = site.removesuffix(PREFIX)
    ahead, seen, actions = [f"{site}/", f"{site}/_sandbox/docs", f"{site}/no-such-page"], set[str](), set[str]()
    while ahead:
        at = ahead.pop()
        if at in seen or "/_sandbox/v1/events" in at:
            continue
        seen.add(at)
        answer = http.get(at, timeout=10)
        assert answer.status_code == (404 if at.endswith("no-such-page") else 200), at
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        found = Addresses(answer.text)
        for address in found.links | found.actions:
            assert address.startswith((f"{PREFIX}/", "#")), f"{address} on {at}"
        actions |= found.actions
        ahead += [urljoin(origin, urldefrag(each).url) for each in found.links if not each.startswith("#")]
    shapes = {re.sub(r"\d+", "N", urlsplit(each).path) for each in seen}
    assert len(seen) > 60
    wanted = {"/", "/c/N/N", "/requests/rN", "/webhooks/wN", "/settings", "/doctor", "/runs/sN", "/static/page.js"}
    assert {PREFIX + each for each in wanted} <= shapes
    assert len(actions) > 10


def test_a_form_leads_to_a_page_below_the_prefix(site: str, http: requests.Session) -> None:
    typed = {"number": ADA, "shortcode": "48974", "text": "CINEMA"}
    answer = http.post(f"{site}/", data=typed, allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PREFIX}{CHAT}")
    assert "CINEMA" in http.get(site + CHAT, timeout=10).text
    assert http.get(site, timeout=10).status_code == 200  # without the slash at the end


def test_what_is_to_be_copied_names_the_address_before_the_proxy(
    site: str, bench: Bench, http: requests.Session
) -> None:
    assert f"curl {site}/ng/v1/sendsms" in http.get(f"{site}/", timeout=10).text
    assert accept(site, http, bench.token).status_code == 200
    copied = http.get(f"{site}/requests/r1", timeout=10).text
    assert f"curl {site}/ng/v1/sendsms" in copied
    assert f"{site}/_sandbox/v1/messages" in http.get(f"{site}/_sandbox/docs", timeout=10).text


def test_the_openapi_document_names_the_prefix(site: str, http: requests.Session) -> None:
    document = http.get(f"{site}/_sandbox/openapi.json", timeout=10).json()
    assert document["servers"] == [{"url": PREFIX}]
    assert http.get(f"{site}/_sandbox/v1/messages", timeout=10).json() == {"messages": [], "next": None}


def test_events_come_through_as_they_happen(site: str, bench: Bench, http: requests.Session) -> None:
    with http.get(f"{site}/_sandbox/v1/events", params={"after": 0}, stream=True, timeout=10) as stream:
        lines = stream.iter_lines(chunk_size=1, decode_unicode=True)
        assert next(lines) == "retry: 1000"
        assert accept(site, http, bench.token).status_code == 200
        assert next(each for each in lines if each.startswith("event: ")) == "event: message_submitted"


def test_a_login_is_for_the_prefix_only(
    start_sandbox: Callable[..., Bench], strips: bool, http: requests.Session
) -> None:
    token = "a-token-for-the-pages"
    guarded = start_sandbox(root_path=PREFIX, control_token=token)
    with proxy(guarded.sandbox.address.port, strips=strips) as site:
        assert http.get(f"{site}/settings", timeout=10).url == f"{site}/login"
        answer = http.post(f"{site}/login", data={"token": token}, allow_redirects=False, timeout=10)
        assert answer.headers["Location"] == f"{PREFIX}/"
        assert re.match(rf"{COOKIE}=\w+; .*[Pp]ath={PREFIX}(;|$)", answer.headers["Set-Cookie"])
        assert http.get(f"{site}/settings", timeout=10).url == f"{site}/settings"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.com"},
        {"Origin": "http://elsewhere.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/_sandbox/v1/messages", "/static/page.js"])
def test_the_rules_about_host_and_origin_hold_below_the_prefix(
    site: str, http: requests.Session, path: str, headers: dict[str, str]
) -> None:
    assert http.get(site + path, headers=headers, timeout=10).status_code == 403


def test_what_the_control_api_and_the_pages_take_is_told_apart_below_the_prefix(
    site: str, http: requests.Session
) -> None:
    assert http.put(f"{site}/_sandbox/v1/clock", data="{}", headers=FORM, timeout=10).status_code == 415
    assert http.post(f"{site}/settings/reset", json={}, timeout=10).status_code == 415
    missing = http.get(f"{site}/_sandbox/v1/no-such-thing", timeout=10)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


def test_without_a_prefix_nothing_is_taken_off(bench: Bench, start_sandbox: Callable[..., Bench]) -> None:
    assert bench.sandbox.request("GET", f"{PREFIX}{PREFIX}/settings").status_code == 404
    assert start_sandbox().sandbox.request("GET", f"{PREFIX}/settings").status_code == 404


# The setting -------------------------------------------------------------------------------------------------------


def test_no_prefix_can_be_mistaken_for_a_path_of_the_sandbox() -> None:
    routes = [*page_routes.routes(), *api_routes.routes(), *openapi.routes()]
    own = {each.path.split("/")[1] for each in routes} | {"livez", "readyz", "_sandbox", "ng"}
    assert own - {""} == set(OWN_PATHS.split("|"))


@pytest.mark.parametrize(
    "written",
    ["sms", "/sms/", "/", "//sms", "/sms//x", "/../sms", "/a b", "/c", "/settings/x", "/s?x", "/s\n", "/" + "x" * 200],
)
def test_a_prefix_that_makes_no_sense_is_complained_about(written: str, tmp_path: object) -> None:
    with pytest.raises(SettingsError, match=r"--root-path: root_path is .*. Use a path like /sms-sandbox"):
        load(flags={"root_path": written}, environ={}, cwd=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["/sms", "/tools/sms-sandbox", "/~ada/s.m_s", "/cinema", "/settings2"])
def test_a_prefix_may_have_several_parts(written: str, tmp_path: object) -> None:
    loaded = load(flags={}, environ={"NINEBITS_SANDBOX_ROOT_PATH": written}, cwd=tmp_path)  # type: ignore[arg-type]
    assert loaded.settings.root_path == written
