"""Each rule of the doors has a test that fails when the rule is taken out; the table is in doors.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import doors
from tests.doors import ROOT, RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.door}: {rule.name}")
def test_a_rule_is_where_the_table_says(rule: Rule) -> None:
    assert (ROOT / rule.file).read_text(encoding="utf-8").count(rule.there) == 1
    file, _, test = rule.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    with doors.copy() as folder:
        whole = doors.run(folder, *dict.fromkeys(rule.test for rule in RULES))
        assert whole.returncode == 0, whole.stdout[-3000:]
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.door}: {rule.name}")
def test_a_test_fails_without_the_rule(rule: Rule, project: Path) -> None:
    assert doors.verdict(rule, project) == "fails"
