"""The host's port: taken alone by one supervisor, shared by its workers, and free again at once."""

import socket

import pytest

from local.host.supervisor import reserve_port, shared_socket


def test_connections_that_a_killed_host_leaves_do_not_keep_its_port() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        host, port = held.getsockname()
        with shared_socket(host, port) as listening:
            listening.listen()
            with socket.create_connection((host, port)) as client:
                served, _ = listening.accept()
                # The server's side closes first, so that its port is the one in TIME_WAIT.
                served.close()
                assert client.recv(1) == b""
    with reserve_port(host, port) as again:
        assert again.getsockname() == (host, port)


def test_a_port_that_another_host_serves_is_refused() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        host, port = held.getsockname()
        with shared_socket(host, port) as listening:
            listening.listen()
            with pytest.raises(OSError, match="in use"):
                reserve_port(host, port)


def test_a_port_that_another_host_has_reserved_is_refused_before_a_worker_listens() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        host, port = held.getsockname()
        with pytest.raises(OSError, match="in use"):
            reserve_port(host, port)
        with shared_socket(host, port), pytest.raises(OSError, match="in use"):
            reserve_port(host, port)
