"""Everything that knows uvicorn or a connection, and what all routes ask of a request.

In the order in which they may import each other: limits, server, access, request, gateway_route.
"""
