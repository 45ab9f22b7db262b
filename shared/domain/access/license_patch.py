"""Changes single values of a license: those that a request names, and no others."""

import msgspec

from shared.domain.access.license_changes import with_contact, with_notes, with_overrides, with_plan
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.domain.decoding import decode

_MAX_REASON = 64


class SentOverrides(Overrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of a license that differ from its plan's; null stands for the plan's value."""


class LicensePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New values of a license; what is not sent stays.

    In `overrides`, null removes an override, and `overrides: null` removes all. A mail address, a Discord
    user and notes are removed by null. `new_symbols` says that symbols may be new, which nothing serves yet.
    """

    plan: str | None = None
    overrides: SentOverrides | None = None
    notes: str | None = None
    email: str | None = None
    discord_user_id: str | None = None
    new_symbols: bool = False


class Patch(msgspec.Struct, frozen=True):
    """A patch with the names that it sends, because null is a value."""

    sent: LicensePatch
    names: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def reason(self) -> str:
        """What the audit log says of it."""
        named = ", ".join(name for name in self.names if name != "new_symbols")
        return f"license changed: {named or 'nothing'}"[:_MAX_REASON]

    def apply(self, license_: License) -> License:
        """`license_` with the values that are sent; raises Conflict if it is revoked."""
        sent, after = self.sent, license_
        if sent.plan is not None:
            after = with_plan(after, sent.plan)
        if "overrides" in self.names:
            after = with_overrides(after, self._overrides(license_.overrides))
        if "notes" in self.names:
            after = with_notes(after, sent.notes or "")
        if "email" in self.names or "discord_user_id" in self.names:
            email = sent.email if "email" in self.names else license_.email
            user = sent.discord_user_id if "discord_user_id" in self.names else license_.discord_user_id
            after = with_contact(after, email, user)
        return after

    def _overrides(self, former: Overrides) -> Overrides:
        if self.sent.overrides is None:
            return Overrides()
        values = {name: getattr(self.sent.overrides, name) for name in self.overrides}
        return msgspec.structs.replace(former, **values)


def read_patch(body: bytes) -> Patch:
    """The patch in a JSON body; raises InvalidInput."""
    sent = decode(body, LicensePatch)
    names = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    overrides: dict[str, msgspec.Raw] = {}
    if sent.overrides is not None:
        overrides = msgspec.json.decode(names["overrides"], type=dict[str, msgspec.Raw])
    return Patch(sent, tuple(names), tuple(overrides))
