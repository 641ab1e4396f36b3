"""Export and import: rows into lines of a file, and back.

In the order in which they may import each other: to_model, version_1, identity, imports, rows.
"""
