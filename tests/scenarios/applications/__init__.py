"""Small real applications: one expense tracker in several styles, configured by its environment.

What a process does is an operation (``operations/``), how work reaches it is its style (the modules here).
"""
