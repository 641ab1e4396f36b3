"""The control API: operations, their objects and their OpenAPI document.

In the order in which they may import each other: operations, objects, event_stream, messages,
webhooks, handsets, scenarios, faults, records, accounts, clock, events, routes, openapi.
"""
