"""Composes the services that give keys to their holders; see shared/container.py."""

from functools import cached_property

from shared.access_services import AccessServices
from shared.services.claimed_keys import ClaimedKeys
from shared.services.claims import ClaimService
from shared.services.free_test_keys import FreeTestKeys
from shared.services.key_making import KeyMaking
from shared.services.own_keys import OwnKeyService
from shared.services.tries import Tries


class KeyServices(AccessServices):
    """How a key reaches its holder, and what the holder does with it."""

    @cached_property
    def tries(self) -> Tries:
        return Tries(self.redis)

    @cached_property
    def claims(self) -> ClaimService:
        pepper, previous = self.credentials.pepper(), self.credentials.previous_pepper()
        making = KeyMaking(store=self.tables, plans=self.plans, pepper=pepper, now=self.now)
        keys = ClaimedKeys(
            store=self.tables,
            making=making,
            enforcement=self.enforcement,
            audit=self.stores.audit,
            now=self.now,
        )
        return ClaimService(
            store=self.stores.claims,
            licenses=self.tables,
            plans=self.plans,
            keys=keys,
            of_mail=self.stores.claims,
            tell=self.stores.notifications.add,
            tries=self.tries,
            peppers=(pepper,) if previous is None else (pepper, previous),
            public_url=self.settings.public_url,
            now=self.now,
        )

    @cached_property
    def own_keys(self) -> OwnKeyService:
        return OwnKeyService(
            licenses=self.license_service, tell=self.notifications.tell, tries=self.tries, now=self.now
        )

    @cached_property
    def test_keys(self) -> FreeTestKeys:
        return FreeTestKeys(
            licenses=self.license_service("test keys"),
            store=self.tables,
            rows=self.stores.test_accounts,
            tries=self.tries,
            now=self.now,
        )
