"""Stands in for the vendors that sell our licenses and carry our notifications."""
