"""Exports everything of an account, to its holder or an operator, and erases it."""

from io import BytesIO
from typing import Annotated

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, Cost, json_body
from functions.web.routes import Routes
from shared.domain.access.license_checks import ACCOUNT_PATTERN
from shared.domain.access.rate_limit import EXPORT_UNITS
from shared.errors import FieldError, ValidationFailed
from shared.services.account_data import ZIP_TYPE, ErasureReport

routes = Routes()


class NamedAccount(msgspec.Struct, frozen=True):
    """Names one account."""

    account_id: Annotated[
        str,
        msgspec.Meta(
            description="The id of an account.",
            pattern=ACCOUNT_PATTERN,
            examples=["acct-1"],
            extra={"in": "path", "expected": "Expected up to 64 letters, digits, dots, dashes, underscores."},
        ),
    ]


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Repeats the account's id, so that nothing is erased by a slip. Without `dry_run: false` nothing is."""

    account_id: str
    dry_run: bool = True


async def _exported(call: Call, account_id: str, actor: str) -> Answer:
    target = BytesIO()
    archive = call.services.bounded_archive(target)
    await call.services.account_data.export(account_id, archive, actor)
    named = {"content-disposition": 'attachment; filename="account.zip"'}
    return Answer(target.getvalue(), content_type=ZIP_TYPE, headers=named)


@routes.get(
    "account/export",
    scope="bot",
    summary="Everything that is stored of the own account, as a zip file of JSON and CSV",
    cost=Cost(EXPORT_UNITS),
    answer=None,
    files=(ZIP_TYPE,),
    problems=(*ADMISSION, "conflict", "too_many_queries", "database_unavailable"),
)
async def get_own_export(call: Call) -> Answer:
    """Exports the caller's account. If it is too large for one answer, the refusal says who can export it."""
    grant = call.grant
    async with call.services.export_turns.turn(grant.license.account_id):
        return await _exported(call, grant.license.account_id, grant.actor)


@routes.get(
    "ops/accounts/{account_id}/export",
    scope="admin",
    summary="Everything that is stored of one account, as a zip file of JSON and CSV",
    parameters=NamedAccount,
    cost=Cost(EXPORT_UNITS),
    answer=None,
    files=(ZIP_TYPE,),
    problems=(*ADMISSION, "validation_failed", "not_found", "conflict", "database_unavailable"),
)
async def get_account_export(call: Call, named: NamedAccount) -> Answer:
    """Exports an account; one that is too large for an answer is exported by a command, into a file."""
    return await _exported(call, named.account_id, call.grant.actor)


@routes.post(
    "ops/accounts/{account_id}/erase",
    scope="admin",
    summary="Erase an account: a dry run unless told, with what goes, what stays and why",
    parameters=NamedAccount,
    body=json_body(ErasureRequest, body_limits.BULK),
    answer=ErasureReport,
    problems=(*ADMISSION, *BODY, "not_found", "conflict", "database_unavailable"),
)
async def erase_account(call: Call, named: NamedAccount, asked: ErasureRequest) -> ErasureReport:
    """Ends the account's licenses and keys at once; a timer then erases its rows, within a few minutes."""
    if asked.account_id != named.account_id:
        message = "Repeat the account of the address, exactly."
        raise ValidationFailed((FieldError("account_id", "differs", message),))
    service = call.services.account_data
    if asked.dry_run:
        return await service.preview(named.account_id)
    return await service.erase(named.account_id, call.services.license_service(call.grant.actor))
