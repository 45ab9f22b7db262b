"""Names of every resource, in one place: valid, within Azure's lengths, and the same on every run."""

from dataclasses import dataclass

PROJECT = "signal-cloud"


@dataclass(frozen=True, slots=True)
class Names:
    """Names for one stack; those that are unique across all of Azure end in the suffix.

    A stack's name has at most 8 characters and the suffix at most 6 (settings.py holds both to that), for the
    tightest limits: a storage account takes 24 lower-case letters and digits, a key vault 24 characters.
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
