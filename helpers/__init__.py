"""Shared code of the notebooks: one flat module per concept. Start with `profiles.py`."""
