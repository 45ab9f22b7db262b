"""Names every resource, within Azure's limits and the same on every run."""

from dataclasses import dataclass

PROJECT = "signal-cloud"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one stack; a name that is unique across Azure ends in the suffix.

    The settings allow 8 characters for a stack's name and 6 for the suffix, because of the tightest limits:
    24 lower-case letters and digits for a storage account, and 24 characters for a key vault.
    """

    stack: str
    suffix: str

    def local(self, kind: str, part: str = "") -> str:
        """Name unique in the resource group: `<kind>-signal-cloud-<stack>[-<part>]`."""
        return "-".join(filter(None, (kind, PROJECT, self.stack, part)))

    def unique(self, kind: str) -> str:
        """Name unique across Azure: `<kind>-signal-cloud-<stack>-<suffix>`."""
        return f"{kind}-{PROJECT}-{self.stack}-{self.suffix}"

    @property
    def key_vault(self) -> str:
        return f"kv-signal-{self.stack}{self.suffix}"

    def storage_account(self, kind: str) -> str:
        return f"stsig{kind}{self.stack}{self.suffix}"
