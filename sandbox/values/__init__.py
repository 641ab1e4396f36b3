"""Kinds of values that people and programs give: each reads a value or says what is wrong, and has a JSON Schema. Pure.

In the order in which they may import each other: kinds, numbers, fields.
"""
