"""The names of what we keep in Redis; braces hold the hash tag of a cluster."""


def license_key(key_hash: str) -> str:
    """The license record of one API key; its form is in shared/domain/access/admission.py."""
    return f"license:{{{key_hash}}}"


def refresh_key(key_hash: str) -> str:
    """Held by the process that reads the license again."""
    return f"license:{{{key_hash}}}:refresh"


def rate_key(key_hash: str) -> str:
    """The times of one API key's requests in the last window."""
    return f"rate:{{{key_hash}}}:window"


def closed_key(account_id: str) -> str:
    """When an account's connections were closed, for as long as older client access URLs live."""
    return f"closed:{{{account_id}}}"


def lock_key(confidence_key: str) -> str:
    """Held, as a random token, by who computes that confidence."""
    return f"lock:{confidence_key}"
