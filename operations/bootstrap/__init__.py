"""Holds the command that brings a version live in an empty subscription: `python -m operations.bootstrap`."""
