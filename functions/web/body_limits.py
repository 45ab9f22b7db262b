"""Lists how many bytes the body of each route may have.

A limit fits the largest sensible body of its route; the tests show that. The platform refuses every body over
MAX_BODY_BYTES before the app gets it (the setting FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, see infra/ and
local/host). This module imports nothing, so that the local stack can read it at no cost.
"""

KIB = 1024

CONFIDENCE = 16 * KIB  # one market state has about 0.3 KiB
CONFIDENCE_BATCH = 128 * KIB  # 100 market states
TRADES = 1024 * KIB  # 500 trades with features
BARS = 1024 * KIB  # 5,000 bars
SIGNAL = 16 * KIB  # a signal with 32 features
ALERT = 16 * KIB  # an alert of a publisher's platform
HOOK = 16 * KIB  # a hook with a mapping of its own
NEGOTIATE = 4 * KIB  # 100 symbols
SESSION = 4 * KIB  # 100 symbols
CLAIM = 4 * KIB  # a mail address
DESTINATION = 4 * KIB  # an address and the names of events
REPLAY = 4 * KIB  # a time
ROTATE = KIB  # a number of seconds
LICENSE = 32 * KIB  # notes of 2,000 characters, and 100 symbols
BULK = 4 * KIB  # a filter
HUB_EVENT = 64 * KIB  # the claims, headers and query of a client that connects
WEBHOOK = 256 * KIB  # an invoice with the ten lines that Stripe sends has about 30 KiB

MAX_BODY_BYTES = 1024 * KIB
