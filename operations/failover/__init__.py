"""Moves the service from one region to the other."""
