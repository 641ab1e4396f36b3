"""Rows and JSON that derive from the nouns: they have the tables' columns, and what is written is read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from sandbox.model import DeliveryState, FaultEffect, Handset, Shortcode
from sandbox.rules.matching import Difference
from sandbox.scenario.steps import Cursor
from sandbox.store import accounts, faults, findings, journal, messages, newest, outbox, retention, scenarios
from sandbox.store.database import Tx
from sandbox.store.rows import Table, from_json, to_json
from tests import samples

MODULES = (accounts, faults, findings, journal, messages, newest, outbox, retention, scenarios)

# Columns that belong to no noun.
BESIDE = {
    "accounts": {"edited"},
    "messages": {*messages.Submission._fields},
}
# What only reads: nouns that are joined of more than one table.
JOINED = {"conversations", "requests"}


def tables() -> Mapping[str, Table[Any]]:
    found = [each for module in MODULES for each in vars(module).values() if isinstance(each, Table)]
    return {each.name: each for each in found}


def test_the_columns_of_each_noun_are_those_of_its_table(tx: Tx) -> None:
    wrong = {
        name: columns
        for name, table in tables().items()
        if name not in JOINED
        and (columns := {row[1] for row in tx.execute(f"PRAGMA table_info({name})")})
        != {*table.columns, *BESIDE.get(name, ())}
    }
    assert wrong == {}


def test_every_noun_that_is_stored_is_among_them() -> None:
    stored = {"accounts", "attempts", "faults", "handsets", "messages", "refusals", "runs", "scenarios", "timers"}
    assert {*tables()} == {*stored, *JOINED, "webhook_deliveries"}


def test_a_field_more_is_a_column_more(tx: Tx) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Labelled(Handset):
        note: str | None = None
        marks: tuple[str, ...] = ()
        hidden: bool = False

    for column in ("note TEXT", "marks TEXT", "hidden INTEGER"):
        tx.execute(f"ALTER TABLE handsets ADD COLUMN {column}")
    table = Table("handsets", Labelled, key=("account", "msisdn"))
    given = Labelled(account="a", msisdn=samples.MO.msisdn, telco="mtn", note="new", marks=("x", "y"), hidden=True)
    plain = replace(given, account="b", note=None, marks=(), hidden=False)
    table.insert(tx, given)
    table.put(tx, plain)
    assert table.all(tx, "ORDER BY account") == [given, plain]
    table.put(tx, replace(given, note="newer"))
    table.update(tx, "a", given.msisdn, marks=("z",))
    assert table.get(tx, "a", given.msisdn) == replace(given, note="newer", marks=("z",))


def test_what_is_empty_is_null_in_the_table(tx: Tx) -> None:
    messages.MESSAGES.insert(tx, samples.MO)
    assert tx.execute("SELECT extra, warnings FROM messages").fetchone() == (None, None)


def test_json_of_a_noun_is_read_as_the_noun() -> None:
    class Pair(NamedTuple):
        name: str
        value: int

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Inner:
        state: DeliveryState | None = None
        pairs: tuple[Pair, ...] = ()

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Outer:
        account: str
        inner: Inner
        other: Inner | None = None
        number: Shortcode | None = None
        more: Mapping[str, object] = field(default_factory=dict)

    whole = Outer(
        account="a",
        inner=Inner(state=DeliveryState.PENDING, pairs=(Pair("x", 1), Pair("y", 2))),
        other=Inner(),
        number=Shortcode("48974"),
        more=MappingProxyType({"a": [1]}),
    )
    for noun in (whole, Outer(account="a", inner=Inner())):
        assert from_json(Outer, to_json(noun)) == noun
    differences = (Difference("text", "a", "b"), Difference("to", "c", "d"))
    assert from_json(tuple[Difference, ...], to_json(differences)) == differences


def test_json_of_before_a_field_was_there_has_its_default() -> None:
    assert from_json(Cursor, '{"step": 2}') == Cursor(step=2)
    assert from_json(FaultEffect, '{"status": 503}') == FaultEffect(status=503)


def test_a_page_is_what_is_equal_and_between_the_numbers_in_either_order(tx: Tx) -> None:
    for seq, session in enumerate("aabab", start=1):
        messages.MESSAGES.insert(tx, replace(samples.MO, seq=seq, session_id=session))
    cases: Sequence[tuple[dict[str, Any], list[int]]] = (
        ({}, [5, 4, 3, 2, 1]),
        ({"newest_first": False}, [1, 2, 3, 4, 5]),
        ({"only": {"session_id": "a"}}, [4, 2, 1]),
        ({"only": {"session_id": "a", "shortcode": None}, "before": 4}, [2, 1]),
        ({"after": 1, "before": 5}, [4, 3, 2]),
        ({"after": 1, "limit": 2}, [5, 4]),
        ({"after": 1, "limit": 2, "newest_first": False}, [2, 3]),
    )
    for given, expected in cases:
        found = messages.MESSAGES.page(tx, "1 = 1", **{"limit": 9, **given})
        assert [each.seq for each in found] == expected, given
