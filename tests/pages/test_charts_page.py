"""The lists of requests and webhooks over real HTTP: charts, filters, searches, and what to do in a row."""

import re
from collections.abc import Callable

import pytest

from sandbox.store import newest
from tests.conftest import Bench, Receiver
from tests.pages.browsing import ADA, BEN, HOSTILE, Visitor, read

BACKWARDS = "\u202e"


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


@pytest.fixture
def alone(start_sandbox: Callable[[], Bench]) -> Visitor:
    """On a sandbox of its own: calls whose token no account owns are shown to all."""
    return Visitor(bench=start_sandbox())


@pytest.fixture
def wired(routed: Bench) -> Visitor:
    return Visitor(bench=routed)


def rows(page: str) -> list[str]:
    """The identifiers in a list."""
    return re.findall(r'<li id="([rw]\d+)" class="row', page)


def row(page: str, identifier: str) -> str:
    found = re.search(
        rf'<li id="{identifier}" class="row.*?(?=<li id="|<li class="older|</ul>\s*</main>)', page, re.DOTALL
    )
    assert found is not None, f"there is no {identifier}"
    return found[0]


def figure(page: str, name: str) -> str:
    found = re.search(rf'<figure[^>]* id="{name}">(.*?)</figure>', page, re.DOTALL)
    assert found is not None, f"there is no {name}"
    return found[1]


def texts(visitor: Visitor, *said: str) -> list[str]:
    """Texts of a handset; their webhook deliveries."""
    return [
        visitor.bench.post(f"/handsets/{ADA}/send", {"text": text, "to": "48974"})["webhook_delivery"]["id"]
        for text in said
    ]


# Charts ------------------------------------------------------------------------------------------------------------


def test_calls_are_a_chart_from_the_third_one_on(alone: Visitor) -> None:
    assert "chart-calls" not in alone.page("/requests")
    alone.bench.sent()
    alone.bench.submit(to="nobody")
    assert "A chart begins with the third call." in read(figure(alone.page("/requests"), "chart-calls"))
    alone.bench.sent()
    chart = figure(alone.page("/requests"), "chart-calls")
    assert 'role="img" aria-labelledby="chart-calls-title chart-calls-said"' in chart
    assert '<desc id="chart-calls-said">3 calls in the last 30 seconds: 2 accepted, 1 refused.' in chart
    assert read(chart).startswith("Calls last 30 seconds, 1 bar = 1 s")


def test_a_chart_has_its_numbers_as_a_table(alone: Visitor) -> None:
    for _ in range(3):
        alone.bench.sent()
    assert re.search(
        r"As a table From Accepted Refused \d\d:\d\d:\d\d 3 0$", read(figure(alone.page("/requests"), "chart-calls"))
    )


def test_attempts_are_a_chart_by_what_came_of_them(wired: Visitor, receiver: Receiver) -> None:
    receiver.answer_next(200, 503, 404)
    texts(wired, "one", "two", "three")
    page = wired.page("/webhooks")
    assert "3 attempts in the last 30 seconds: 1 delivered, 1 to be retried, 1 failed." in figure(
        page, "chart-attempts"
    )
    times = read(figure(page, "chart-times"))
    assert times.startswith("Answer times last 30 seconds, 1 bar = 1 s")
    assert "median" in times
    assert "deadline" not in times


def test_attempts_that_nobody_answered_say_nothing_about_answer_times(visitor: Visitor) -> None:
    visitor.bench.patch_account(client_url="http://127.0.0.1:9/sms")
    texts(visitor, "one", "two", "three")
    page = visitor.page("/webhooks")
    assert "3 attempts" in figure(page, "chart-attempts")
    assert "A chart begins with the third answer." in figure(page, "chart-times")


def test_a_chart_says_that_it_shows_the_newest_only(alone: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "POINTS", 4)
    for _ in range(5):
        alone.bench.sent()
    chart = figure(alone.page("/requests"), "chart-calls")
    assert "; the newest 4" in chart
    assert "4 calls in the" in chart


def test_whoever_filters_or_searches_looks_at_the_list_alone(wired: Visitor) -> None:
    texts(wired, "one", "two", "three")
    for query in ({"q": "one"}, {"state": "delivered"}, {"before": "w999999999"}):
        assert "<figure" not in wired.page("/webhooks", **query)


def test_a_chart_holds_no_style_and_lives_in_a_live_part(wired: Visitor) -> None:
    texts(wired, "one", "two", "three")
    page = wired.page("/webhooks")
    live = page.index('data-live="charts"')
    assert live < page.index("<figure") < page.index('data-live="rows"')
    assert "style=" not in page


# Requests ----------------------------------------------------------------------------------------------------------


def test_a_refused_call_has_its_first_problem_in_its_row(visitor: Visitor) -> None:
    visitor.bench.submit(session_id=None, sent_date=None)
    page = visitor.page("/requests", verdict="refused")
    (identifier,) = [
        each for each in rows(page) if "session_id is missing. and 1 more problem" in read(row(page, each))
    ]
    assert "What to do" in row(page, identifier)
    assert "sent_date is missing." in row(page, identifier)


def test_calls_are_found_by_text_number_and_problem(visitor: Visitor) -> None:
    one = "r" + visitor.bench.sent(message="Which FILM?", to=ADA)[1:]
    two = "r" + visitor.bench.sent(message="hello", to=BEN)[1:]
    visitor.bench.submit(message="a film again", session_id=None)
    (refused,) = [
        each for each in rows(visitor.page("/requests", q="film", verdict="refused")) if each not in (one, two)
    ]
    assert rows(visitor.page("/requests", q="film")) == [refused, one]
    assert rows(visitor.page("/requests", q="film", verdict="accepted")) == [one]
    assert rows(visitor.page("/requests", q="+234 703 000 0000")) == [two]
    assert refused in rows(visitor.page("/requests", q="session_id is missing"))


def test_a_search_stays_in_its_box_and_in_the_filters(visitor: Visitor) -> None:
    page = visitor.page("/requests", q='"><b>', verdict="refused")
    assert 'value="&#34;&gt;&lt;b&gt;"' in page
    assert "q=%22%3E%3Cb%3E" in page
    assert '<input type="hidden" name="verdict" value="refused">' in page
    assert 'No call holds “"><b>”' in read(page)


def test_a_search_that_looked_at_the_newest_only_says_so_and_goes_on(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "r" + visitor.bench.sent(message="a needle")[1:]
    for _ in range(6):
        visitor.bench.sent(message="hay")
    monkeypatch.setattr(newest, "LOOKED_AT", 4)
    page = visitor.page("/requests", q="needle", verdict="accepted")
    assert "No call among the newest holds “needle”." in read(page)
    assert re.search(r"Searched back to \d\d:\d\d\. Search older requests", read(page))
    older = re.search(r"before=(\d+)", page)
    assert older is not None
    assert rows(visitor.page("/requests", q="needle", verdict="accepted", before=older[1])) == [first]


def test_calls_whose_token_no_account_owns_have_a_list_of_their_own(alone: Visitor) -> None:
    alone.bench.sent()
    alone.bench.sandbox.request("POST", "/ng/v1/sendsms", headers={"Authorization": "Bearer stranger"}, json={})
    page = alone.page("/requests", verdict="unowned")
    assert 'aria-current="true">Unknown token</a>' in page
    assert rows(page)
    assert all(
        "No account has the token" in read(row(page, each)) or "401" in read(row(page, each)) for each in rows(page)
    )


def test_an_empty_list_of_requests_teaches_the_first_call(alone: Visitor) -> None:
    text = alone.text("/requests")
    assert f"POST {alone.bench.sandbox.url}/ng/v1/sendsms" in text
    assert f"curl {alone.bench.sandbox.url}/ng/v1/sendsms" in text
    assert "No call was refused." in alone.text("/requests", verdict="refused")
    assert "Every call had the token of an account." in alone.text("/requests", verdict="unowned")


# Webhooks ----------------------------------------------------------------------------------------------------------


def test_states_are_links_with_counts(wired: Visitor, receiver: Receiver) -> None:
    receiver.answer_next(503, 404, 404, 200)
    texts(wired, "one", "two", "three", "four")
    page = wired.page("/webhooks")
    shown = read(page[page.index('data-live="states"') : page.index('data-live="charts"')])
    assert "All Pending In flight Retrying 1 Delivered Rejected 2 Exhausted Cancelled" in shown


def test_many_are_more_than_anybody_has_to_count(
    wired: Visitor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "COUNTED", 3)
    receiver.answer_with(404)
    texts(wired, "one", "two", "three")
    assert "Rejected 2+" in wired.text("/webhooks")


def test_webhook_deliveries_are_found_by_text_and_number_within_a_state(wired: Visitor, receiver: Receiver) -> None:
    receiver.answer_next(404, 200)
    rejected, delivered = texts(wired, "Half of a Yellow Sun", "half")
    assert rows(wired.page("/webhooks", q="HALF")) == [delivered, rejected]
    assert rows(wired.page("/webhooks", q="half", state="rejected")) == [rejected]
    assert rows(wired.page("/webhooks", q=ADA)) == [delivered, rejected]
    assert "No webhook delivery holds “sun” and is delivered." in wired.text("/webhooks", q="sun", state="delivered")


def test_what_can_be_done_stands_in_the_row_and_leads_back_to_the_list(wired: Visitor, receiver: Receiver) -> None:
    receiver.answer_next(404, 503)
    rejected, retrying = texts(wired, "one", "two")
    page = wired.page("/webhooks", q="o", state="rejected")
    form = row(page, rejected)
    for name, value in (("from", "list"), ("state", "rejected"), ("q", "o")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in form
    answer = wired.post(f"/webhooks/{rejected}/attempt", **{"from": "list", "state": "rejected", "q": "o"})
    assert answer.headers["location"] == f"/webhooks?account={wired.bench.account}&state=rejected&q=o#{rejected}"
    page = wired.page("/webhooks")
    assert re.search(r"503, retry 1 of \d+ at \d\d:\d\d:\d\d", read(row(page, retrying)))
    assert "Attempt now" in row(page, retrying)
    again = wired.done(f"/webhooks/{rejected}/redeliver", **{"from": "list"})
    assert re.fullmatch(r"/webhooks#w\d+", again)


def test_an_empty_list_of_webhooks_teaches_how_to_get_the_first(visitor: Visitor, receiver: Receiver) -> None:
    assert "The account has no client_url. Set one , then send a text from a handset ." in visitor.text("/webhooks")
    visitor.bench.patch_account(client_url=receiver.url)
    assert f"Whatever a handset sends is posted to {receiver.url} ." in visitor.text("/webhooks")
    assert "Nothing is in flight." in visitor.text("/webhooks", state="in_flight")


@pytest.mark.parametrize("path", ["/requests", "/webhooks"])
def test_hostile_text_is_shown_and_searched_literally(wired: Visitor, path: str) -> None:
    wired.bench.sent(message=HOSTILE + BACKWARDS)
    texts(wired, HOSTILE + BACKWARDS)
    for query in ({}, {"q": HOSTILE}, {"q": "nobody" + HOSTILE}):
        page = wired.page(path, **query)
        assert BACKWARDS not in page
        assert "<script>alert" not in page
    assert len(rows(wired.page(path, q=HOSTILE))) == 1
    assert wired.get(path, q="x" * 201).status_code == 400
    assert wired.get(path, q="a\0b").status_code == 400
