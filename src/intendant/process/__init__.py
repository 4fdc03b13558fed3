"""Processes: starting, recognising, watching and ending them."""
