"""Pure decisions, without I/O: matching, retries, findings, correlation, quick replies.

In the order in which they may import each other: matching, retry, correlation, findings, quick_replies.
"""
