"""Drives pip and uv, and says in plain words what goes wrong."""
