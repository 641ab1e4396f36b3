"""The quick loop: python tests/quick.py [pytest options] runs, on all processors, what half a minute is enough for.

Left out are whole modules that take longer than two seconds or start processes of their own: browser, proofs, stops,
the documents' examples. Before a change lands, the whole suite runs.
"""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LEFT_OUT = (
    "browser",
    "commands/test_scenarios.py",
    "commands/test_serving.py",
    "scenario/test_fuzzed_files.py",
    "scenario/test_record.py",
    "scenario/test_script_roundtrip.py",
    "store/test_findings.py",
    "store/test_transfer.py",
    "test_canary.py",
    "test_crash.py",
    "test_docs.py",
    "test_edge.py",
    "test_failing_database.py",
    "test_growth.py",
    "test_leaks.py",
    "test_loop_guard.py",
    "test_malformed.py",
    "test_pytest_plugin.py",
    "test_random_user.py",
    "test_scenarios_served.py",
    "test_slow_clients.py",
    "test_stops.py",
    "web/test_hostile_texts.py",
    "web/test_openapi.py",
    "web/test_page_budget.py",
    "web/test_pages.py",
    "web/test_pages_debugger.py",
    "web/test_schemathesis.py",
    "webhooks/test_delivery_model.py",
    "webhooks/test_hostile.py",
    "webhooks/test_retry.py",
)


def main() -> int:
    left_out = [f"--ignore={TESTS / name}" for name in LEFT_OUT]
    return int(pytest.main(["-q", "-n", "auto", "--dist", "loadfile", *left_out, *sys.argv[1:], str(TESTS)]))


if __name__ == "__main__":
    sys.exit(main())
