"""The command line, one module a subject.

In the order in which they may import each other: options, lines, steps, messages, webhooks, scenarios, faults, clock,
accounts, lifecycle, transfer, serving.
"""
