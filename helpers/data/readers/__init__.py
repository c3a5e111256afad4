"""Readers: one small module for each layout of a data set on disk; `layouts.py` asks them in turn.

Each turns its files into rows (`place.Row`), and `place.join` joins those with the photos that they name. `columns`
tells which column is which, for all that have columns.
"""
