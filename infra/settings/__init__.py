"""Reads a stack's configuration into frozen settings."""
