"""What a page may cost however much there is: the bytes that it sends, and the rows that it reads."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sandbox.clock import Clock
from sandbox.store import newest
from tests.conftest import Running
from tests.plenty import SCENARIO, Plenty, Steps, fill, pages

MOST_BYTES = 100_000
SLACK = 6_000  # steps by which a page may differ; one that reads every row differs by 25,000 and more
PER_CONVERSATION = 15  # steps for which a search for a number looks at each of them, in an index that holds it


@pytest.mark.proof("T11")
def test_no_page_grows_with_what_is_recorded(
    sized: Callable[[int, int], int],
    serving: Callable[..., AbstractContextManager[Running]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    size = sized(5_000, 100_000)
    for bound in ("LOOKED_AT", "POINTS"):  # so low that the smaller store reaches it as well
        monkeypatch.setattr(newest, bound, 400)
    steps = Steps(monkeypatch)
    few, (cost_of_few, _) = _visit(serving, tmp_path / "few.db", size, steps)
    many, (cost_of_many, sizes) = _visit(serving, tmp_path / "many.db", size * 2, steps)
    largest = max(sizes, key=sizes.__getitem__)
    record_property(
        "figure", f"{len(sizes)} pages at {size * 2:,} messages, the largest {sizes[largest] / 1000:.0f} kB"
    )
    assert {name: sent for name, sent in sizes.items() if sent > MOST_BYTES} == {}
    allowed = dict.fromkeys(sizes, SLACK)
    for name in sizes:
        if name.startswith("conversations, searched"):
            allowed[name] += (many.conversations - few.conversations) * PER_CONVERSATION
    grown = {name: cost_of_many[name] - cost_of_few[name] for name in sizes}
    assert {name: more for name, more in grown.items() if more > allowed[name]} == {}


def _visit(
    serving: Callable[..., AbstractContextManager[Running]], file: Path, size: int, steps: Steps
) -> tuple[Plenty, tuple[Mapping[str, int], Mapping[str, int]]]:
    """What there is, and for each page the steps that it takes and the bytes that it sends."""
    there = fill(file, size, Clock.system().now_ms())
    cost: dict[str, int] = {}
    sizes: dict[str, int] = {}
    with serving(db=str(file), max_messages=size * 10) as running:
        run = running.request("POST", f"/_sandbox/v1/scenarios/{SCENARIO}/runs", json={"msisdn": "2348099999999"})
        assert run.status_code == 201, run.text
        for name, path in pages(there):
            before = steps.count
            answer = running.plain("GET", path, "Host: localhost", "Accept-Encoding: gzip")
            if answer.status == 303:
                answer = running.plain("GET", answer.header("location") or "", "Host: localhost")
            assert answer.status == 200, (path, answer.body)
            cost[name], sizes[name] = steps.count - before, len(answer.body)
    return there, (cost, sizes)
