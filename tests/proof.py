"""The proof of what docs/reliability.md promises: python tests/proof.py [--long] [T4 …] runs it and prints a table.

A test belongs to it by its marker, `@pytest.mark.proof("T4")`, takes the size of its run from the fixture `sized`, and
says what it saw by `record_property("figure", …)`.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

PROMISES = {
    "T1": "kill -9 at random moments under load, restart, compare",
    "T2": "kill -9 exactly at each commit of a webhook delivery",
    "T3": "the n-th call of the database fails",
    "T4": "delivery rules against a reference model, random seeds",
    "T5": "a random user of the control API against a model of it",
    "T6": "malformed HTTP on raw sockets",
    "T7": "undocumented answers of the control API",
    "T8": "fuzzed scenario files",
    "T9": "hostile webhook endpoints",
    "T10": "slow clients",
    "T11": "growth of the store",
    "T12": "hostile texts, other origins and accessibility in a browser",
    "T13": "a secret in every input, looked for in every output",
    "T14": "leaks of threads, tasks and descriptors",
    "T15": "two who change the same thing at the same moment",
}


@dataclass(slots=True)
class Row:
    """What is known of one promise after the run; `seconds` of all its tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)

    def verdict(self) -> str:
        if self.failed:
            return f"{self.failed} FAILED"
        if not self.passed:
            return "not run"
        return "holds" + (f", {self.skipped} skipped" if self.skipped else "")


class Proof:
    """Keeps the tests of the promises that were asked for, and gathers their reports by promise."""

    def __init__(self, wanted: set[str]) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self._wanted = wanted
        self._promise: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        others = []
        for item in list(items):
            marker = item.get_closest_marker("proof")
            if marker is None or (self._wanted and marker.args[0] not in self._wanted):
                others.append(item)
                items.remove(item)
            else:
                self._promise[item.nodeid] = marker.args[0]
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self.rows[self._promise[report.nodeid]]
        row.seconds += report.duration
        if report.when == "call" and report.passed:
            row.passed += 1
            row.figures += [str(value) for name, value in report.user_properties if name == "figure"]
        elif report.failed:
            row.failed += 1
        elif report.skipped:
            row.skipped += 1

    def table(self) -> str:
        """The rows as Markdown."""
        lines = ["| # | proof | tests | verdict | s | figures |", "| --- | --- | --- | --- | --- | --- |"]
        for promise in sorted(self._wanted or PROMISES, key=list(PROMISES).index):
            row = self.rows[promise]
            cells = (promise, PROMISES[promise], row.passed + row.failed, row.verdict(), f"{row.seconds:.1f}")
            lines.append(f"| {' | '.join(map(str, cells))} | {'; '.join(row.figures)} |")
        return "\n".join(lines)


def main() -> int:
    arguments = sys.argv[1:]
    wanted = {each for each in arguments if not each.startswith("-")}
    if unknown := wanted - PROMISES.keys():
        print(f"There is no proof {', '.join(sorted(unknown))}; there are {', '.join(PROMISES)}.", file=sys.stderr)
        return 2
    proof = Proof(wanted)
    options = [each for each in arguments if each.startswith("-")]
    code = pytest.main(["-q", "-p", "no:cacheprovider", *options], plugins=[proof])
    print(f"\n{proof.table()}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
