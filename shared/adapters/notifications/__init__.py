"""Sends notifications: one module a way to send, each imported by the timer alone."""
