"""Pure decisions that the application makes: matching, retries, findings, correlation.

In the order in which they may import each other: matching, retry, correlation, findings, quick_replies.
"""
