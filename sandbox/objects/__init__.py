"""The objects of the control API, a class each; JSON, JSON Schema, examples and typed values derive from it.

In the order in which they may import each other: schema, derive, messages, webhooks, accounts, scenarios, problems,
from_model.
"""
