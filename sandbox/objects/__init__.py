"""The objects of the control API: a class for each, from which its JSON, JSON Schema, example and typed value derive.

In the order in which they may import each other: schema, derive, messages, webhooks, accounts, scenarios, problems,
from_model.
"""
