"""Rehearses a move between two regions on this machine."""
