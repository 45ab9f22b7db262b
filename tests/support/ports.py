"""Finds a port for one server of a test."""

from local.stack.ports import free_ports


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    (port,) = free_ports(1)
    return port
