"""Lets operators list, make and change licenses and keys."""

from datetime import timedelta

import msgspec

from functions.license_parameters import (
    Extension,
    LicenseParameters,
    NamedKey,
    NamedLicense,
    NewKey,
    NewLicense,
    Rotation,
)
from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, READ, Body, json_body
from functions.web.routes import Routes
from shared.domain.access.bulk import BulkRequest
from shared.domain.access.license_changes import extended
from shared.domain.access.license_patch import LicensePatch, Patch, read_patch
from shared.domain.access.license_rows import KeyRow, LicenseRow, key_row
from shared.domain.access.plans import NO_OVERRIDES
from shared.domain.csv_text import CSV_TYPE
from shared.services.license_admin import BulkReport, LicensePage
from shared.services.license_keys import Effect
from shared.services.licenses import LicenseService

routes = Routes()

_CHANGE = (*ADMISSION, "validation_failed", "not_found", "conflict")


class LicenseDetail(msgspec.Struct, frozen=True):
    """A license and its keys, without any secret."""

    license: LicenseRow
    keys: list[KeyRow]


class ChangedLicense(msgspec.Struct, frozen=True):
    """A license after its change, and which follow-up steps are done. One that is not done is done later.

    Only the audit entry is not: if `audited` is false, note the change elsewhere.
    """

    license: LicenseRow
    caches_told: bool
    connections_closed: bool
    audited: bool


class ShownKey(msgspec.Struct, frozen=True):
    """A new key in plain text, which nobody can see again."""

    plain_key: str
    key: KeyRow


class ReplacedKey(msgspec.Struct, frozen=True):
    """A new key in plain text, which nobody can see again, and the key that it replaces."""

    plain_key: str
    key: KeyRow
    replaces: str
    caches_told: bool
    connections_closed: bool
    audited: bool


class RevokedKey(msgspec.Struct, frozen=True):
    """A key that is revoked, and which follow-up steps are done."""

    public_id: str
    caches_told: bool
    connections_closed: bool
    audited: bool


def _service(call: Call) -> LicenseService:
    """The service whose changes are audited under the caller's key."""
    return call.services.license_service(call.grant.actor)


def _changed(call: Call, effect: Effect) -> ChangedLicense:
    row = call.services.license_admin.row(effect.license)
    return ChangedLicense(row, effect.caches_told, effect.connections_closed, effect.audited)


@routes.get(
    "ops/licenses",
    scope="ops",
    summary="Licenses by filter, in order, in pages, or as one table in CSV",
    parameters=LicenseParameters,
    answer=LicensePage,
    files=(CSV_TYPE,),
    problems=READ,
)
async def get_licenses(call: Call, chosen: LicenseParameters) -> LicensePage | Answer:
    """Lists licenses with their terms, and which values of them are overridden."""
    admin = call.services.license_admin
    by, descending = chosen.by, chosen.is_descending
    if chosen.is_table:
        table = await admin.table(chosen.filter, by, descending=descending)
        named = {"content-disposition": 'attachment; filename="licenses.csv"'}
        return Answer(table.encode(), content_type=CSV_TYPE, headers=named)
    return await admin.page(
        chosen.filter, by, descending=descending, cursor=chosen.cursor, limit=chosen.limit
    )


@routes.get(
    "ops/licenses/{license_id}",
    scope="ops",
    summary="One license with its keys",
    parameters=NamedLicense,
    answer=LicenseDetail,
    problems=(*ADMISSION, "validation_failed", "not_found"),
)
async def get_one_license(call: Call, named: NamedLicense) -> LicenseDetail:
    """Shows a license and its keys, which have no hash and no secret here."""
    view = await _service(call).show(named.license_id)
    return LicenseDetail(call.services.license_admin.row(view.license), [key_row(key) for key in view.keys])


@routes.post(
    "ops/licenses",
    scope="admin",
    summary="Make a license; the same reference again makes no second one",
    body=json_body(NewLicense, body_limits.LICENSE),
    answer=LicenseDetail,
    statuses=((200, "Made now or before"),),
    problems=(*ADMISSION, *BODY, "conflict", "database_unavailable"),
)
async def post_license(call: Call, asked: NewLicense) -> LicenseDetail:
    """Makes a license without keys, or shows the one that has the same reference and the same values."""
    service = _service(call)
    made = await service.create_license(
        asked.account_id,
        plan=asked.plan,
        overrides=asked.overrides or NO_OVERRIDES,
        expires_at=asked.end(call.services.now()),
        reference=asked.reference,
        email=asked.email,
        discord_user_id=asked.discord_user_id,
        notes=asked.notes,
        is_new_account=not asked.same_account,
        may_be_unserved=asked.new_symbols,
    )
    view = await service.show(made.license_id)
    return LicenseDetail(call.services.license_admin.row(view.license), [key_row(key) for key in view.keys])


@routes.patch(
    "ops/licenses/{license_id}",
    scope="admin",
    summary="Change plan, single values, notes or contact of a license; null removes one",
    parameters=NamedLicense,
    body=Body(kinds=(LicensePatch,), max_bytes=body_limits.LICENSE, read=read_patch),
    answer=ChangedLicense,
    problems=(*_CHANGE, *BODY, "database_unavailable"),
)
async def patch_license(call: Call, named: NamedLicense, patch: Patch) -> ChangedLicense:
    """Changes what the body names, and nothing else. What it allows counts within seconds."""
    effect = await _service(call).change(
        named.license_id, patch.apply, patch.reason, may_be_unserved=patch.sent.new_symbols
    )
    return _changed(call, effect)


@routes.post(
    "ops/licenses/{license_id}/extend",
    scope="admin",
    summary="Extend a license by days or to a time, also after it has expired",
    parameters=NamedLicense,
    body=json_body(Extension, body_limits.BULK),
    answer=ChangedLicense,
    problems=(*_CHANGE, *BODY),
)
async def extend_license(call: Call, named: NamedLicense, asked: Extension) -> ChangedLicense:
    """Extends a license; its keys work again within seconds, and bots connect again by themselves."""
    span, now = asked.span, call.services.now()
    effect = await _service(call).change(
        named.license_id, lambda license_: extended(license_, span, now), "license extended"
    )
    return _changed(call, effect)


@routes.post(
    "ops/licenses/{license_id}/suspend",
    scope="admin",
    summary="Refuse all keys of a license until it is resumed",
    parameters=NamedLicense,
    answer=ChangedLicense,
    problems=_CHANGE,
)
async def suspend_license(call: Call, named: NamedLicense) -> ChangedLicense:
    """Suspends a license, and closes its connections."""
    return _changed(call, await _service(call).suspend_license(named.license_id))


@routes.post(
    "ops/licenses/{license_id}/resume",
    scope="admin",
    summary="End a suspension",
    parameters=NamedLicense,
    answer=ChangedLicense,
    problems=_CHANGE,
)
async def resume_license(call: Call, named: NamedLicense) -> ChangedLicense:
    """Ends the suspension of a license, by whomever it was suspended."""
    return _changed(call, await _service(call).resume_license(named.license_id))


@routes.post(
    "ops/licenses/{license_id}/revoke",
    scope="admin",
    summary="End a license and all its keys for good",
    parameters=NamedLicense,
    answer=ChangedLicense,
    problems=_CHANGE,
)
async def revoke_license(call: Call, named: NamedLicense) -> ChangedLicense:
    """Revokes a license, and closes its connections."""
    return _changed(call, await _service(call).revoke_license(named.license_id))


@routes.post(
    "ops/licenses/{license_id}/keys",
    scope="admin",
    summary="Make one more key of a license, which is shown once",
    parameters=NamedLicense,
    body=json_body(NewKey, body_limits.BULK, required=False),
    answer=ShownKey,
    statuses=((201, "Made"),),
    holds_secret=True,
    problems=(*ADMISSION, *BODY, "not_found", "conflict"),
)
async def post_license_key(call: Call, named: NamedLicense, asked: NewKey) -> ShownKey:
    """Makes a key of a license, as many as its terms allow at once."""
    end = asked.end(call.services.now())
    created = await _service(call).create_key(named.license_id, asked.scopes or ("bot",), expires_at=end)
    return ShownKey(created.plain, key_row(created.key))


@routes.post(
    "ops/keys/{public_id}/rotate",
    scope="admin",
    summary="Replace a key; the old one works until the overlap is over",
    parameters=NamedKey,
    body=json_body(Rotation, body_limits.ROTATE, required=False),
    answer=ReplacedKey,
    statuses=((201, "Made"),),
    holds_secret=True,
    problems=(*ADMISSION, *BODY, "not_found", "conflict"),
)
async def rotate_key(call: Call, named: NamedKey, asked: Rotation) -> ReplacedKey:
    """Makes a key with the same scopes, and ends the old one after the overlap."""
    created, effect = await _service(call).rotate_key(named.public_id, timedelta(seconds=asked.overlap_s))
    steps = effect.caches_told, effect.connections_closed, effect.audited
    return ReplacedKey(created.plain, key_row(created.key), named.public_id, *steps)


@routes.post(
    "ops/keys/{public_id}/revoke",
    scope="admin",
    summary="End one key for good",
    parameters=NamedKey,
    answer=RevokedKey,
    problems=_CHANGE,
)
async def revoke_key(call: Call, named: NamedKey) -> RevokedKey:
    """Revokes a key, and closes its connections; the other keys of its license stay."""
    effect = await _service(call).revoke_key(named.public_id)
    return RevokedKey(named.public_id, effect.caches_told, effect.connections_closed, effect.audited)


@routes.post(
    "ops/licenses/bulk",
    scope="admin",
    summary="Extend, move, suspend, resume or revoke all licenses that fit a filter; a dry run unless told",
    body=json_body(BulkRequest, body_limits.BULK),
    answer=BulkReport,
    problems=(*ADMISSION, *BODY, "database_unavailable"),
)
async def post_licenses_bulk(call: Call, asked: BulkRequest) -> BulkReport:
    """Changes one page of the licenses that fit, or says what would change, and why others do not."""
    return await call.services.license_admin.bulk(asked, _service(call))
