"""Scenarios, pure: from a file to a script, and from what happens to effects.

In the order in which they may import each other: steps, fault_spec, shapes, grammar, script, catalogue, engine,
record.
"""
