"""The 9bits contract, pure: texts, numbers, problems, credentials, requests and payloads.

In the order in which they may import each other: text, numbers, problems, nesting, requests, payloads, credentials.
"""
