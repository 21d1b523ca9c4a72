"""Processes that are killed, and what is in the books afterwards."""
