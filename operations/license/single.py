"""Makes, shows and changes one license or key."""

import argparse
from datetime import timedelta

from operations.license.outcome import (
    Desk,
    Outcome,
    changed,
    created_lines,
    license_lines,
    time_text,
    warnings,
)
from shared.domain.access.keys import PREFIX, public_id_in
from shared.domain.access.license_changes import extended
from shared.domain.access.license_patch import LicensePatch, Patch, SentOverrides
from shared.domain.access.licenses import is_license_id
from shared.domain.access.plans import Overrides
from shared.domain.durations import shown_duration


async def create(desk: Desk, options: argparse.Namespace) -> Outcome:
    license_ = await desk.licenses.create_license(
        options.account,
        plan=options.plan,
        overrides=Overrides(
            symbols=options.symbols,
            strategies=options.strategies,
            requests_per_minute=options.requests_per_minute,
        ),
        expires_at=options.expires,
        reference=options.reference,
        email=options.email,
        discord_user_id=options.discord,
        notes=options.notes,
        is_new_account=not options.same_account,
        may_be_unserved=options.new_symbols,
    )
    row = desk.admin.row(license_)
    keys = (await desk.licenses.show(license_.license_id)).keys
    if keys:
        # The same reference was given before: its first key was shown then.
        lines = [*license_lines(row), "", f"The license exists, with {len(keys)} keys; no key was made."]
        return Outcome({"license": row, "key": None, "plain_key": None}, lines)
    if options.no_key:
        way = f"{options.email} gets a link to it by mail" if options.email else "`add-key` makes one"
        lines = [*license_lines(row), "", f"No key was made: {way}."]
        return Outcome({"license": row, "key": None, "plain_key": None}, lines)
    created = await desk.licenses.create_key(license_.license_id, options.scopes)
    lines = [*license_lines(row), "", *created_lines(created)]
    if options.email:
        lines.append(f"{options.email} gets a link to one more key by mail; with --no-key, only that one.")
    return Outcome({"license": row, "key": created.key, "plain_key": created.plain}, lines)


async def show(desk: Desk, options: argparse.Namespace) -> Outcome:
    view = await desk.licenses.show(options.license)
    row = desk.admin.row(view.license)
    lines = license_lines(row)
    for key in view.keys:
        end = f", ends {time_text(key.expires_at)}" if key.expires_at else ""
        lines.append(f"  {PREFIX}{key.public_id}...  {key.status}, {'+'.join(key.scopes)}{end}")
    return Outcome({"license": row, "keys": view.keys}, lines if view.keys else [*lines, "  no keys"])


async def extend(desk: Desk, options: argparse.Namespace) -> Outcome:
    until, now = options.until, desk.admin.now()
    return changed(
        desk,
        await desk.licenses.change(
            options.license, lambda license_: extended(license_, until, now), "license extended"
        ),
        ends=False,
    )


async def plan(desk: Desk, options: argparse.Namespace) -> Outcome:
    return await _patched(desk, options.license, LicensePatch(plan=options.plan), ("plan",))


async def override(desk: Desk, options: argparse.Namespace) -> Outcome:
    """Takes `name=value` for each value, and `name=` to take the plan's value again."""
    names = tuple(options.values)
    sent = SentOverrides(**options.values)
    patch = LicensePatch(overrides=sent, new_symbols=options.new_symbols)
    return await _patched(desk, options.license, patch, ("overrides",), names)


async def note(desk: Desk, options: argparse.Namespace) -> Outcome:
    """Sets what is given; an empty text removes it."""
    patch = LicensePatch(
        notes=options.notes or None, email=options.email or None, discord_user_id=options.discord or None
    )
    given = {"notes": options.notes, "email": options.email, "discord_user_id": options.discord}
    names = tuple(name for name, value in given.items() if value is not None)
    return await _patched(desk, options.license, patch, names)


async def _patched(
    desk: Desk, license_id: str, sent: LicensePatch, names: tuple[str, ...], overrides: tuple[str, ...] = ()
) -> Outcome:
    patch = Patch(sent, names, overrides)
    effect = await desk.licenses.change(
        license_id, patch.apply, patch.reason, may_be_unserved=sent.new_symbols
    )
    return changed(desk, effect, ends=False)


async def suspend(desk: Desk, options: argparse.Namespace) -> Outcome:
    return changed(desk, await desk.licenses.suspend_license(options.license))


async def resume(desk: Desk, options: argparse.Namespace) -> Outcome:
    effect = await desk.licenses.resume_license(options.license)
    return changed(desk, effect, ends=False)


async def revoke(desk: Desk, options: argparse.Namespace) -> Outcome:
    if is_license_id(options.subject):
        return changed(desk, await desk.licenses.revoke_license(options.subject))
    effect = await desk.licenses.revoke_key(options.subject)
    value = {"revoked_key": public_id_in(options.subject), "effect": effect}
    lines = [f"The key {PREFIX}{public_id_in(options.subject)}... is revoked."]
    return Outcome(value, lines, warnings(effect))


async def add_key(desk: Desk, options: argparse.Namespace) -> Outcome:
    created = await desk.licenses.create_key(options.license, options.scopes, expires_at=options.expires)
    return Outcome({"key": created.key, "plain_key": created.plain}, created_lines(created))


async def rotate(desk: Desk, options: argparse.Namespace) -> Outcome:
    created, effect = await desk.licenses.rotate_key(options.key, options.overlap)
    old = public_id_in(options.key)
    lines = [*created_lines(created), f"The old key {PREFIX}{old}... {_ending(options.overlap)}."]
    value = {"key": created.key, "plain_key": created.plain, "replaces": old, "effect": effect}
    return Outcome(value, lines, warnings(effect))


def _ending(overlap: timedelta) -> str:
    return f"works for {shown_duration(overlap)} more" if overlap else "has ended"


async def unrotated(desk: Desk, options: argparse.Namespace) -> Outcome:
    keys = await desk.licenses.keys_hashed_before(options.since)
    lines = [f"{PREFIX}{key.public_id}...  {key.license_id}  {'+'.join(key.scopes)}" for key in keys]
    return Outcome(keys, lines or ["every valid key has been hashed since"])
