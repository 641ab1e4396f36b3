"""The quick loop: python tests/quick.py [pytest options] runs, on all processors, what half a minute is enough for.

Left out are modules that take longer than a second or start processes of their own: browser, proofs, stops, the
documents' examples. Who works on one of those runs it by pytest; before a change lands, the whole suite runs.
"""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LEFT_OUT = (
    "browser",
    "commands/test_faults.py",
    "commands/test_lines.py",
    "commands/test_messages.py",
    "commands/test_scenarios.py",
    "commands/test_serving.py",
    "commands/test_transfer.py",
    "contract/test_text.py",
    "scenario/test_fuzzed_files.py",
    "scenario/test_record.py",
    "scenario/test_script_roundtrip.py",
    "store/test_checkpoints.py",
    "store/test_database.py",
    "store/test_faults.py",
    "store/test_findings.py",
    "store/test_identity.py",
    "store/test_newest.py",
    "store/test_transfer.py",
    "test_canary.py",
    "test_changes.py",
    "test_child.py",
    "test_cli.py",
    "test_crash.py",
    "test_docs.py",
    "test_edge.py",
    "test_failing_database.py",
    "test_faults.py",
    "test_growth.py",
    "test_interrupted_import.py",
    "test_leaks.py",
    "test_lint.py",
    "test_loop_guard.py",
    "test_malformed.py",
    "test_matching.py",
    "test_pytest_plugin.py",
    "test_others.py",
    "test_random_user.py",
    "test_scenarios_served.py",
    "test_slow_clients.py",
    "test_stops.py",
    "test_two_users.py",
    "web/test_access.py",
    "web/test_control_accounts.py",
    "web/test_control_handsets.py",
    "web/test_control_messages.py",
    "web/test_control_webhooks.py",
    "web/test_hostile_texts.py",
    "web/test_live.py",
    "web/test_openapi.py",
    "web/test_operations.py",
    "web/test_page_budget.py",
    "web/test_pages.py",
    "web/test_pages_charts.py",
    "web/test_pages_debugger.py",
    "web/test_pages_scenarios.py",
    "web/test_pages_settings.py",
    "web/test_prefix.py",
    "web/test_schemathesis.py",
    "web/test_shapes.py",
    "webhooks/test_delivery_model.py",
    "webhooks/test_doctor.py",
    "webhooks/test_hostile.py",
    "webhooks/test_poster.py",
    "webhooks/test_retry.py",
    "contract/test_requests.py::test_arbitrary_json_is_a_message_or_has_problems",
    "webhooks/test_dispatcher.py::test_whatever_is_asked_for_attempts_and_state_are_the_models",
)


def main() -> int:
    gone = [name for name in LEFT_OUT if not (TESTS / name.partition("::")[0]).exists()]
    assert not gone, f"These are no modules any more: {gone}"
    left_out = [f"--deselect=tests/{name}" if "::" in name else f"--ignore={TESTS / name}" for name in LEFT_OUT]
    return int(pytest.main(["-q", "-n", "auto", "--dist", "loadfile", *left_out, *sys.argv[1:], str(TESTS)]))


if __name__ == "__main__":
    sys.exit(main())
