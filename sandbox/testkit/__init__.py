"""The test kit: transport, typed answers, assertions; apart from a sandbox of one's own, nothing of the server.

In the order in which they may import each other: transport, misbehaviour, child_process, own_sandbox,
failure_messages, assertions, handset, controls.
"""
