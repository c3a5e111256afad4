"""Readers: one small module for each layout of a data set on disk; `layouts.py` says which one a folder has."""
