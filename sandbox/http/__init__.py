"""Whatever knows uvicorn or a connection, and what all routes ask of a request.

In the order in which they may import each other: limits, server, access, schema, request, gateway_route.
"""
