"""The application itself: what is submitted, originated, delivered, scheduled, waited for.

In the order in which they may import each other: bus, scheduler, accounts, faults, findings, dispatcher,
scenario_runner, network, gateway, waits, control, services.
"""
