"""The web pages: what they show, and their forms.

In the order in which they may import each other: formatting, charts, list_charts, scenario_formatting, render, forms,
details, views, scenario_views, transcripts, present, scenarios, settings, lists, routes.
"""
