"""Holds the commands that run against any deployment: `python -m operations.<command>`; none is deployed."""
