"""Bounds of the stand-in; the service's own where it publishes one."""

MAX_MESSAGE_BYTES = 1 << 20  # one frame or REST body, as in the service
MAX_GROUP_CHARS = 1024
MAX_USER_CHARS = 128
MAX_EVENT_CHARS = 128
MAX_HUB_CHARS = 128
MAX_FILTER_CHARS = 8_192
MAX_FILTER_DEPTH = 32
MAX_PAGE = 200
MAX_TTL_S = 300
MAX_REQUEST_LINE_BYTES = 64 * 1024  # an access token with many roles travels in the request line

RECOVERY_WINDOW_S = 30.0
MAX_UNACKED_MESSAGES = 1_000
MAX_UNACKED_BYTES = 16 << 20
MAX_REMEMBERED_ACKS = 4_096

# A reliable connection stops being written to at the first; any connection is cut at the second.
WRITE_PAUSE_BYTES = 1 << 20
SLOW_CONSUMER_BYTES = 4 << 20

# The official threaded Python client misses an answer that comes back before it waits for it, and then
# sleeps for its whole timeout: accepting an upgrade and acknowledging a request take as long as a short
# way through a network does. Accepted at once, 4 of 150 clients slept.
ACCEPT_DELAY_S = 0.010
ACK_DELAY_S = 0.010
# The same client can hang when a refused recovery closes before its opening thread has woken.
REFUSAL_DELAY_S = 0.050

PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 40.0
CLOSE_TIMEOUT_S = 2.0
REQUEST_TOKEN_SKEW_S = 300

UPSTREAM_TIMEOUT_S = 10.0
MAX_PENDING_EVENTS = 1_000
