"""SQL and nothing else: the database, and one module for each noun. What lives in memory beside it is in core/.

In the order in which they may import each other: file, checkpoints, database, rows, journal, accounts, messages,
retention, outbox, newest, faults, scenarios, findings.
"""
