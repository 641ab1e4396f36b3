"""All routes as one ASGI application.

In the order in which they may import each other: api_reference, app.
"""
