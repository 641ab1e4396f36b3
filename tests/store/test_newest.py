"""Searches over the newest rows: what they find, how far they look, and how to go on from there."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.model import DeliveryState
from sandbox.store import newest
from sandbox.store.newest import SearchPage
from tests.plenty import TALKER, Plenty, fill

COUNT, NOW_MS = 4_000, 1_704_239_437_000


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plenty]:
    file = tmp_path_factory.mktemp("store") / "plenty.db"
    return file, fill(file, COUNT, NOW_MS)


@pytest.fixture
def db(there: tuple[Path, Plenty]) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(there[0])
    yield connection
    connection.close()


def calls(db: sqlite3.Connection, **asked: Any) -> SearchPage:
    return newest.calls(db, account="default", **asked)


def deliveries(db: sqlite3.Connection, **asked: Any) -> SearchPage:
    return newest.deliveries(db, account="default", **asked)


def all_seqs(db: sqlite3.Connection, sql: str) -> list[int]:
    return [row[0] for row in db.execute(sql + " ORDER BY seq DESC")]


def everything(search: Any) -> tuple[list[int], int]:
    """All that a search finds from page to page, and how many pages that took."""
    found: list[int] = []
    before, pages = None, 0
    while True:
        page = search(before)
        found += page.seqs
        pages += 1
        if page.older is None:
            return found, pages
        before = page.older


# Searches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sql"),
    [
        ({"search": "your CODE is"}, "SELECT seq FROM requests WHERE CAST(body AS TEXT) LIKE '%Your code is%'"),
        ({"search": "your CODE is", "verdict": "accepted"}, "SELECT seq FROM messages WHERE text LIKE 'Your code%'"),
        (
            {"search": "THANK you", "verdict": "refused"},
            "SELECT seq FROM refusals WHERE CAST(body AS TEXT) LIKE '%Thank you%'",
        ),
        ({"search": "session_id is missing"}, "SELECT seq FROM refusals WHERE problems LIKE '%session_id is missing%'"),
        ({"verdict": "unowned"}, "SELECT seq FROM refusals WHERE account IS NULL"),
        (
            {"search": "+234 802 000 0000", "verdict": "refused"},
            f"SELECT seq FROM refusals WHERE CAST(body AS TEXT) LIKE '%{TALKER}%'",
        ),
        ({"search": "48974", "verdict": "accepted"}, "SELECT seq FROM messages WHERE direction = 'mt'"),
    ],
)
def test_calls_are_found_by_text_number_and_problem(db: sqlite3.Connection, asked: dict[str, Any], sql: str) -> None:
    found, _ = everything(lambda before: calls(db, before=before, **asked))
    assert found == all_seqs(db, sql)
    assert found


@pytest.mark.parametrize("state", [*DeliveryState])
def test_webhook_deliveries_are_found_by_state(db: sqlite3.Connection, state: DeliveryState) -> None:
    found, _ = everything(lambda before: deliveries(db, state=state, before=before))
    assert found == all_seqs(db, f"SELECT seq FROM webhook_deliveries WHERE state = '{state}'")


@pytest.mark.parametrize(
    ("asked", "sql"),
    [
        ({"search": "things fall"}, "text = 'Things Fall Apart'"),
        ({"search": "99999999999"}, "0"),
        ({"search": "802000"}, "d.msisdn LIKE '%802000%'"),
        ({"search": "things fall", "state": "exhausted"}, "text = 'Things Fall Apart' AND d.state = 'exhausted'"),
    ],
)
def test_webhook_deliveries_are_found_by_text_and_number(
    db: sqlite3.Connection, asked: dict[str, Any], sql: str
) -> None:
    found, _ = everything(lambda before: deliveries(db, before=before, **asked))
    everyone = f"SELECT d.seq FROM webhook_deliveries d JOIN messages m ON m.seq = d.message_seq WHERE {sql}"
    assert found == [row[0] for row in db.execute(everyone + " ORDER BY d.seq DESC")]


def test_a_search_in_vain_says_how_far_it_looked_and_goes_on_from_there(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "LOOKED_AT", 700)
    first = deliveries(db, search="nothing like it")
    assert first.seqs == []
    seq, at_ms = db.execute(
        "SELECT seq, created_ms FROM webhook_deliveries ORDER BY seq DESC LIMIT 1 OFFSET 699"
    ).fetchone()
    assert (first.older, first.until_ms) == (seq, at_ms)
    assert everything(lambda before: deliveries(db, search="nothing like it", before=before)) == ([], 3)


def test_a_search_in_two_tables_skips_nothing_where_one_reaches_back_further(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "LOOKED_AT", 130)  # 130 refused calls are far older than 130 accepted ones
    found, pages = everything(lambda before: calls(db, search="cinema", before=before))
    assert found == all_seqs(db, "SELECT seq FROM requests WHERE CAST(body AS TEXT) LIKE '%cinema%'")
    assert pages > 5


def test_many_open_webhook_deliveries_are_not_sorted(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = everything(lambda before: deliveries(db, state="pending", before=before))[0]
    monkeypatch.setattr(newest, "LOOKED_AT", 10)
    assert newest._by_state(db, "default", "pending", None, 50) is None
    assert everything(lambda before: deliveries(db, state="pending", before=before))[0] == whole


@pytest.mark.parametrize(
    ("search", "digits"),
    [("", "-"), ("+234 802 000 0000", "2348020000000"), ("48974", "48974"), ("٤٨٩", "-"), ("w12", "-"), ("4 8", "48")],
)
def test_a_number_may_be_typed_the_way_it_is_shown(search: str, digits: str) -> None:
    assert newest.digits_of(search) == digits


# Counts and points -------------------------------------------------------------------------------------------------


def test_states_are_counted_up_to_a_limit(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dict(db.execute("SELECT state, COUNT(*) FROM webhook_deliveries GROUP BY state").fetchall())
    del rows[DeliveryState.DELIVERED]  # of these, nobody has to be told how many there are
    wanted = {**dict.fromkeys(map(str, DeliveryState), 0), **rows}
    assert newest.states(db, "default") == wanted
    monkeypatch.setattr(newest, "COUNTED", 10)
    assert newest.states(db, "default") == {state: min(count, 10) for state, count in wanted.items()}
    assert set(newest.states(db, "nobody").values()) == {0}


def test_points_are_the_newest_calls_in_order(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "POINTS", 300)
    found = newest.call_points(db, "default")
    rows = db.execute("SELECT seq, at_ms, status_code FROM requests ORDER BY seq DESC LIMIT 300")
    assert found == [(at_ms, status == 200) for _, at_ms, status in rows]
    assert {each.accepted for each in found} == {True, False}


def test_points_are_the_newest_attempts_and_say_which_ended_it(db: sqlite3.Connection) -> None:
    found = newest.attempt_points(db, "default")
    assert len(found) == newest.POINTS
    every = [
        newest.AttemptPoint(started, outcome, code, took, bool(last))
        for started, outcome, code, took, last in db.execute(
            "SELECT a.started_ms, a.outcome, a.status_code, a.duration_ms, "
            "d.state IN ('rejected', 'exhausted') AND a.number = (SELECT MAX(number) FROM attempts "
            "WHERE delivery_seq = d.seq) FROM attempts a JOIN webhook_deliveries d ON d.seq = a.delivery_seq"
        )
    ]
    assert set(found) <= set(every)
    assert sum(each.last for each in found) > 0
    assert not [each for each in found if each.last and each.status_code == 200]
    assert newest.attempt_points(db, "nobody") == []
