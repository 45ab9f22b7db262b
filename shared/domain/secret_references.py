"""References to Key Vault secrets, as app settings hold them for the platform to resolve.

The platform puts the secret's value in the place of the reference before the app starts, and where it
cannot (no right to read yet, a vault it cannot reach), it leaves the reference as it is.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PREFIX = "@microsoft.keyvault("
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d{1,5})?", re.IGNORECASE)
_VAULT = re.compile(r"[a-z0-9-]{3,24}", re.IGNORECASE)
_PATH = re.compile(r"/secrets/(?P<name>[a-z0-9-]{1,127})(/(?P<version>[a-z0-9]{32})?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """One secret of one vault; `version` is empty for the newest."""

    vault_url: str
    name: str
    version: str = ""


def is_reference(value: str) -> bool:
    """Whether a setting's value is a reference that was not resolved, well formed or not."""
    return value.casefold().startswith(_PREFIX)


def parse_reference(value: str) -> SecretReference:
    """The secret that `value` refers to; raises ValueError for what is no well-formed reference.

    Both of the platform's forms: `SecretUri=https://<vault>/secrets/<name>[/<version>]`, and
    `VaultName=<name>;SecretName=<name>[;SecretVersion=<version>]` for vaults of the public cloud.
    """
    if not is_reference(value) or not value.endswith(")"):
        raise ValueError("not a Key Vault reference")
    fields: dict[str, str] = {}
    for part in value[len(_PREFIX) : -1].split(";"):
        name, _, content = part.partition("=")
        fields[name.strip().casefold()] = content.strip()
    if fields.keys() == {"secreturi"}:
        uri = urlsplit(fields["secreturi"])
        host, path = uri.netloc, uri.path
        scheme, is_bare = uri.scheme, not (uri.query or uri.fragment)
    elif {"vaultname", "secretname"} <= fields.keys() <= {"vaultname", "secretname", "secretversion"}:
        if not _VAULT.fullmatch(fields["vaultname"]):
            raise ValueError("not the name of a vault")
        host = f"{fields['vaultname']}.vault.azure.net"
        path = f"/secrets/{fields['secretname']}/{fields.get('secretversion', '')}"
        scheme, is_bare = "https", True
    else:
        raise ValueError("neither SecretUri nor VaultName and SecretName")
    found = _PATH.fullmatch(path)
    if scheme != "https" or not is_bare or not _HOST.fullmatch(host) or found is None:
        raise ValueError("not the address of a secret")
    return SecretReference(f"https://{host}", found["name"], found["version"] or "")
