"""A fault as somebody asks for it: read as it was meant, or every wrong field named at once."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sandbox.errors import Invalid
from sandbox.model import Drop, FaultEffect, FaultOn
from sandbox.scenario.fault_spec import MOST_BODY, fault_from
from sandbox.scenario.steps import MakeFault

UNAVAILABLE = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503))
HELD = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(hold=True))
SLOW = MakeFault(on=FaultOn.WEBHOOK, effect=FaultEffect(delay_s=300))


def asking(effect: object = None, **changes: object) -> dict[str, object]:
    return {"on": "sendsms", "effect": {"status": 503} if effect is None else effect, **changes}


def wrong_fields(given: Mapping[str, object]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        fault_from(given)
    assert all(reason[-1] in ".?" for _, reason in caught.value.fields)
    return [name for name, _ in caught.value.fields]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (asking(), UNAVAILABLE),
        (asking(times=1, match=None), UNAVAILABLE),
        (asking(match={}), UNAVAILABLE),
        (asking({"status": 503, "body": None, "delay_s": None, "drop": None, "hold": None}), UNAVAILABLE),
        (asking({"status": 503, "hold": False, "delay_s": 0}), UNAVAILABLE),
        (asking(times=""), UNAVAILABLE),
        (asking(times=None), replace(UNAVAILABLE, times=None)),
        (asking(times=10_000), replace(UNAVAILABLE, times=10_000)),
        (asking({"status": 400}), replace(UNAVAILABLE, effect=FaultEffect(status=400))),
        (
            asking({"status": 599, "body": "down", "delay_s": 0.5}),
            replace(UNAVAILABLE, effect=FaultEffect(status=599, body="down", delay_s=0.5)),
        ),
        (asking({"hold": True}), HELD),
        (asking({"delay_s": 300}, on="webhook"), SLOW),
        (asking({"delay_s": "5m"}, on="webhook"), SLOW),
        (asking({"drop": "body"}), replace(UNAVAILABLE, effect=FaultEffect(drop=Drop.BODY))),
        (
            asking({"drop": "accepted"}, on="webhook"),
            MakeFault(on=FaultOn.WEBHOOK, effect=FaultEffect(drop=Drop.ACCEPTED)),
        ),
        (asking(match={"to": "2348020000000"}), replace(UNAVAILABLE, match={"to": "2348020000000"})),
        (
            asking({"status": 503, "body": "x" * MOST_BODY}),
            replace(UNAVAILABLE, effect=FaultEffect(status=503, body="x" * MOST_BODY)),
        ),
    ],
)
def test_a_fault_is_read_as_it_was_asked_for(given: Mapping[str, object], wanted: MakeFault) -> None:
    assert fault_from(given) == wanted


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, ["on", "effect"]),
        (asking(on="sms"), ["on"]),
        (asking(on=None), ["on"]),
        (asking(on=["sendsms"]), ["on"]),
        (asking(times=0), ["times"]),
        (asking(times=10_001), ["times"]),
        (asking(times=True), ["times"]),
        (asking(times=1.5), ["times"]),
        (asking(times="2"), ["times"]),
        (asking(effekt={}), ["effekt"]),
        (asking([]), ["effect"]),
        (asking("503"), ["effect"]),
        (asking({}), ["effect.status"]),
        (asking({"delay_s": 0}), ["effect.status"]),
        (asking({"hold": False}), ["effect.status"]),
        (asking({"status": 503, "\x1b[2J": 1}), ["effect.\\x1b[2J"]),
        (asking({"status": 399}), ["effect.status"]),
        (asking({"status": 600}), ["effect.status"]),
        (asking({"status": 200}), ["effect.status"]),
        (asking({"status": True}), ["effect.status"]),
        (asking({"status": "503"}), ["effect.status"]),
        (asking({"status": 503, "body": b"x"}), ["effect.body"]),
        (asking({"status": 503, "body": "x" * (MOST_BODY + 1)}), ["effect.body"]),
        (asking({"status": 503, "body": "₦" * (MOST_BODY // 2)}), ["effect.body"]),
        (asking({"status": 503, "body": "\ud800"}), ["effect.body"]),
        (asking({"delay_s": 1, "body": "down"}), ["effect.body"]),
        (asking({"delay_s": -1}), ["effect.delay_s"]),
        (asking({"delay_s": 300.1}), ["effect.delay_s"]),
        (asking({"delay_s": float("nan")}), ["effect.delay_s"]),
        (asking({"delay_s": "6m"}), ["effect.delay_s"]),
        (asking({"drop": "all"}), ["effect.drop"]),
        (asking({"drop": {}}), ["effect.drop"]),
        (asking({"drop": "body"}, on="webhook"), ["effect.drop"]),
        (asking({"hold": 1}), ["effect.hold"]),
        (asking({"hold": True, "status": 503}), ["effect.status", "effect.hold"]),
        (asking({"hold": True, "drop": "refused"}), ["effect.drop", "effect.hold"]),
        (asking({"status": 503, "drop": "accepted"}), ["effect.status", "effect.drop"]),
        (asking(match="*"), ["match"]),
        (asking(match={"state": "arrived"}), ["match.state"]),
        (asking(match={"direction": "mo"}), ["match.direction"]),
        (asking(match={"direction": "mt"}, on="webhook"), ["match.direction"]),
        (asking(match={"txet": "*"}), ["match.txet"]),
        (asking(match={"pattern": "("}), ["match.pattern"]),
        (
            {"on": "?", "times": 0, "match": 1, "effect": {"status": 1, "delay_s": 301}},
            ["on", "times", "match", "effect.status", "effect.delay_s"],
        ),
    ],
)
def test_every_wrong_field_is_named_at_once(given: Mapping[str, object], fields: list[str]) -> None:
    assert wrong_fields(given) == fields


def test_of_very_many_strange_fields_some_are_named() -> None:
    assert len(wrong_fields(asking(**{f"strange{number}": 1 for number in range(10_000)}))) == 20


def test_a_strange_field_is_told_the_nearest() -> None:
    with pytest.raises(Invalid, match=r'effect\.staus: There is no "staus" here\. Did you mean status'):
        fault_from(asking({"staus": 503}))
