"""Each access and safety rule has a test that fails without it; the table is in removed_rules.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import removed_rules
from tests.removed_rules import ROOT, RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.surface}: {rule.name}")
def test_a_rule_is_where_the_table_says(rule: Rule) -> None:
    assert (ROOT / rule.file).read_text(encoding="utf-8").count(rule.there) == 1
    file, _, test = rule.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    with removed_rules.copy() as folder:
        whole = removed_rules.run(folder, *dict.fromkeys(rule.test for rule in RULES))
        assert whole.returncode == 0, whole.stdout[-3000:]
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.surface}: {rule.name}")
def test_a_test_fails_without_the_rule(rule: Rule, project: Path) -> None:
    assert removed_rules.verdict(rule, project) == "fails"
