"""Builds the names of our keys in Redis; the part in braces is the hash tag of a cluster."""


def license_key(key_hash: str) -> str:
    """The license record of one API key; shared/domain/access/admission.py describes its form."""
    return f"license:{{{key_hash}}}"


def refresh_key(key_hash: str) -> str:
    """Set by the process that refreshes the license record, so that others do not."""
    return f"license:{{{key_hash}}}:refresh"


def rate_key(key_hash: str) -> str:
    """The times of one API key's requests in the last window."""
    return f"rate:{{{key_hash}}}:window"


def license_rate_key(license_id: str) -> str:
    """The times of the last window's requests of all keys of a license; take_requests.lua builds it, too."""
    return f"rate:license:{{{license_id}}}:window"


def sessions_key(license_id: str) -> str:
    """The sessions of one license, by session id; lua/sessions.lua describes them."""
    return f"sessions:{{{license_id}}}"


def lock_key(confidence_key: str) -> str:
    """The lock of the request that computes a confidence; its value is that request's token."""
    return f"lock:{confidence_key}"


def tries_key(what: str) -> str:
    """How often something was tried in the present window; `what` names the route and who tried."""
    return f"tries:{{{what}}}:window"
