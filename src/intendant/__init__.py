"""Intendant: an executor daemon for long runs."""

__version__ = "0.1.0"
