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
    "wire/test_text.py",
    "scenario/test_fuzzed_files.py",
    "scenario/test_record.py",
    "scenario/test_script_roundtrip.py",
    "store/test_checkpoints.py",
    "store/test_database.py",
    "core/test_faults.py",
    "core/test_findings.py",
    "store/test_faults.py",
    "transfer/test_identity.py",
    "store/test_newest.py",
    "transfer/test_rows.py",
    "test_canary.py",
    "test_changes.py",
    "testkit/test_child_process.py",
    "test_cli.py",
    "test_crash.py",
    "test_docs.py",
    "http/test_limits.py",
    "test_failing_database.py",
    "test_faults.py",
    "test_growth.py",
    "test_interrupted_import.py",
    "test_leaks.py",
    "rules/test_findings.py",
    "test_loop_guard.py",
    "test_malformed.py",
    "rules/test_matching.py",
    "test_pytest_plugin.py",
    "test_others.py",
    "test_random_user.py",
    "test_scenarios_served.py",
    "test_slow_clients.py",
    "test_stops.py",
    "test_two_users.py",
    "http/test_access.py",
    "api/test_accounts.py",
    "api/test_handsets.py",
    "api/test_messages.py",
    "api/test_webhooks.py",
    "pages/test_hostile_texts.py",
    "api/test_event_stream.py",
    "api/test_openapi.py",
    "api/test_operations.py",
    "pages/test_page_budget.py",
    "pages/test_routes.py",
    "pages/test_charts_page.py",
    "pages/test_debugger_page.py",
    "pages/test_scenarios_page.py",
    "pages/test_settings_page.py",
    "http/test_prefix.py",
    "api/test_schemathesis.py",
    "api/test_objects.py",
    "core/test_delivery_model.py",
    "webhooks/test_doctor.py",
    "webhooks/test_hostile.py",
    "webhooks/test_poster.py",
    "rules/test_retry.py",
    "wire/test_requests.py::test_arbitrary_json_is_a_message_or_has_problems",
    "core/test_dispatcher.py::test_whatever_is_asked_for_attempts_and_state_are_the_models",
)


def main() -> int:
    gone = [name for name in LEFT_OUT if not (TESTS / name.partition("::")[0]).exists()]
    assert not gone, f"These are no modules any more: {gone}"
    left_out = [f"--deselect=tests/{name}" if "::" in name else f"--ignore={TESTS / name}" for name in LEFT_OUT]
    return int(pytest.main(["-q", "-n", "auto", "--dist", "loadfile", *left_out, *sys.argv[1:], str(TESTS)]))


if __name__ == "__main__":
    sys.exit(main())
