"""Defines the bounds of the stand-in: the service's own bounds if it publishes them."""

MAX_MESSAGE_BYTES = 1 << 20  # one message or REST body, as in the service
MAX_GROUP_CHARS = 1024
MAX_USER_CHARS = 128
MAX_EVENT_CHARS = 128
MAX_HUB_CHARS = 128
MAX_FILTER_CHARS = 8_192
MAX_FILTER_DEPTH = 32
MAX_PAGE = 200
MAX_TTL_S = 300
MAX_REQUEST_LINE_BYTES = 64 * 1024  # the request line carries the access token, which may hold many roles

RECOVERY_WINDOW_S = 30.0
MAX_UNACKED_MESSAGES = 1_000
MAX_UNACKED_BYTES = 16 << 20
MAX_REMEMBERED_ACKS = 4_096

# Above the first, a reliable connection keeps its messages unsent. Above the second, any connection is cut.
WRITE_PAUSE_BYTES = 1 << 20
SLOW_CONSUMER_BYTES = 4 << 20

# The official threaded Python client misses an answer that arrives before the client waits for it, and
# then sleeps for its whole timeout. So the stand-in delays its answers as a fast network would. Without
# the delay, 4 of 150 clients slept.
ACCEPT_DELAY_S = 0.010
ACK_DELAY_S = 0.010
# The same client can hang if a refused recovery closes before the thread that opened it has woken.
REFUSAL_DELAY_S = 0.050

PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 40.0
CLOSE_TIMEOUT_S = 2.0
REQUEST_TOKEN_SKEW_S = 300

UPSTREAM_TIMEOUT_S = 10.0
MAX_PENDING_EVENTS = 1_000
