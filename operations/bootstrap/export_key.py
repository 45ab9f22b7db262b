"""Makes the key pair of the exports of licenses: the private one stays in the vault of Pulumi's state."""

from operations.bootstrap.site import SPREAD_S, Site
from operations.cloud import placeholder
from shared.adapters.sealing import new_private_key, public_key_of

SETTING = "license_export_key"


class ExportKey:
    """The key pair of one stack; the second region exports under that of the first."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cloud = site.cloud

    def is_made(self) -> bool:
        """Whether the stack has the public key; an existing one stays, wherever its private key is kept."""
        return SETTING in self._site.settings()

    def make(self) -> None:
        """Stores the private key first, so that nothing is ever sealed for a key that is lost."""
        secret = ("--vault-name", self._site.state_vault, "--name", self._site.export_secret)
        found = self._cloud.find("az", "keyvault", "secret", "show", *secret, until_allowed_s=SPREAD_S)
        private = found["value"].strip() if found else new_private_key()
        if not found:
            self._cloud.change(
                "az", "keyvault", "secret", "set", *secret, "--file", "/dev/stdin", stdin=private
            )
        public = placeholder("public key") if self._cloud.dry_run else public_key_of(private)
        self._site.set(SETTING, public)
