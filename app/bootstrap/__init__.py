"""The composition root: the only package that names both a port's user and its adapter.

Import from its modules: a command that only mints then loads neither Redis, nor Prometheus, nor the API.
"""
