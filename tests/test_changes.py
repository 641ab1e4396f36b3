"""Two who change the same thing at the same moment: what both were told is done, is done.

The two requests of a pair are on their way before either is answered. Who names different things of a noun finds both;
who does what can be done only once finds that one of them did it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import PATIENCE_S, Bench

pytestmark = pytest.mark.proof("T15")

PAIRS = 1000
V1 = "/_sandbox/v1"
OFF = "scenario: off\nsteps:\n  - handset: {state: off}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request: `form` is what a page's form sends, else `body` is JSON of the control API."""

    method: str
    path: str
    body: object = None
    form: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Two:
    """Two connections to a sandbox, for one account."""

    def __init__(self, bench: Bench, connections: Sequence[HTTPConnection]) -> None:
        self._account = bench.account
        self._connections = connections
        self._turn = 0

    def at_once(self, *asked: Ask) -> list[Told]:
        """Send both requests, then read both answers, which come in the order of `asked`. They take turns in who is
        the first."""
        self._turn += 1
        pairs = list(zip(self._connections, asked, strict=True))
        for connection, each in pairs[:: 1 if self._turn % 2 else -1]:
            path = each.path if each.form is not None else V1 + each.path
            sent = urlencode(each.form) if each.form is not None else json.dumps(each.body or {})
            kind = "application/x-www-form-urlencoded" if each.form is not None else "application/json"
            connection.request(each.method, f"{path}?account={self._account}", sent, {"Content-Type": kind})
        told = []
        for connection in self._connections:
            answer = connection.getresponse()
            told.append(Told(status=answer.status, body=answer.read()))
        return told

    def both(self, *asked: Ask) -> list[Told]:
        """`at_once`, for what is done both times."""
        told = self.at_once(*asked)
        assert {each.status for each in told} <= {200, 201, 204, 303}, told
        return told


@pytest.fixture
def two(bench: Bench) -> Iterator[Two]:
    with ExitStack() as stack:
        made = [HTTPConnection("127.0.0.1", bench.sandbox.address.port, timeout=PATIENCE_S) for _ in range(2)]
        yield Two(bench, [stack.enter_context(closing(each)) for each in made])


def number(pair: int) -> str:
    return f"23480{20_000_000 + pair}"


def handsets(bench: Bench) -> dict[str, dict[str, str]]:
    """All that are set up, by number."""
    found: dict[str, dict[str, str]] = {}
    query: dict[str, str | int] = {"limit": 500}
    while True:
        page = bench.get("/handsets", **query)
        found |= {each["msisdn"]: each for each in page["handsets"]}
        if page["next"] is None:
            return found
        query["next"] = page["next"]


def lost(bench: Bench, **wanted: str) -> list[dict[str, str]]:
    """The handsets of the pairs that are not as both asked for."""
    found = handsets(bench)
    stand = [found[number(pair)] for pair in range(PAIRS)]
    return [each for each in stand if any(each[name] != value for name, value in wanted.items())]


# Handsets ----------------------------------------------------------------------------------------------------------


def test_two_changes_of_a_handset_by_the_api_are_both_kept(bench: Bench, two: Two) -> None:
    for pair in range(PAIRS):
        path = f"/handsets/{number(pair)}"
        two.both(
            Ask(method="PATCH", path=path, body={"label": "Ada"}), Ask(method="PATCH", path=path, body={"state": "off"})
        )
    assert lost(bench, label="Ada", state="off") == []


def test_the_two_forms_of_a_page_are_both_kept(bench: Bench, two: Two) -> None:
    for pair in range(PAIRS):
        path = f"/c/48974/{number(pair)}/handset"
        two.both(
            Ask(method="POST", path=path, form={"label": "Ada", "telco": "glo"}),
            Ask(method="POST", path=path, form={"state": "off"}),
        )
    assert lost(bench, label="Ada", telco="glo", state="off") == []


def test_what_a_scenario_does_to_a_handset_and_its_new_label_are_both_kept(bench: Bench, two: Two) -> None:
    assert bench.call("PUT", "/scenarios/off", {"source": OFF}).status_code == 201
    for pair in range(PAIRS):
        two.both(
            Ask(method="PATCH", path=f"/handsets/{number(pair)}", body={"label": "Ada"}),
            Ask(method="POST", path="/scenarios/off/runs", body={"msisdn": number(pair)}),
        )
    assert lost(bench, label="Ada", state="off") == []


def test_a_new_handset_and_a_change_of_it_are_both_kept(bench: Bench, two: Two) -> None:
    for pair in range(PAIRS):
        two.both(
            Ask(method="POST", path="/", form={"number": number(pair), "shortcode": "48974", "label": "Ada"}),
            Ask(method="PATCH", path=f"/handsets/{number(pair)}", body={"telco": "glo", "state": "off"}),
        )
    assert lost(bench, label="Ada", telco="glo", state="off") == []


# Accounts ----------------------------------------------------------------------------------------------------------


def test_two_changes_of_an_account_by_the_api_and_a_page_are_both_kept(bench: Bench, two: Two) -> None:
    path, lost = f"/accounts/{bench.account}", []
    for pair in range(PAIRS):
        url, strict = f"http://127.0.0.1:9/{pair}", bool(pair % 2)
        two.both(
            Ask(method="PATCH", path=path, body={"strict": strict}),
            Ask(method="POST", path="/settings/client-url", form={"client_url": url}),
        )
        account = bench.sandbox.house.accounts.get(bench.account)  # as calls find it
        if account is None or (account.strict, account.client_url) != (strict, url):
            lost.append(account)
    assert lost == []


def test_a_name_and_a_token_are_given_to_one_of_two(bench: Bench, two: Two) -> None:
    for pair in range(PAIRS // 10):
        name = f"{bench.account}-{pair}"
        same = [Ask(method="POST", path="/accounts", body={"name": name, "token": f"{name}-{n}"}) for n in range(2)]
        assert sorted(each.status for each in two.at_once(*same)) == [201, 409]
        others = [Ask(method="POST", path="/accounts", body={"name": f"{name}-{n}", "token": "same"}) for n in range(2)]
        told = two.at_once(*others)
        assert sorted(each.status for each in told) == [201, 400]
        made = [name, *(each.json["name"] for each in told if each.status == 201)]
        for each in made:
            remove = Ask(method="DELETE", path=f"/accounts/{each}")
            assert sorted(each.status for each in two.at_once(remove, remove)) == [204, 404]
