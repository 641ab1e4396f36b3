"""A sample application, as a user would write it.

In the order in which they may import each other: survey.
"""
