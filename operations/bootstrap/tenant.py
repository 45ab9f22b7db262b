"""Collects the values of a tenant: from the stack's file, the options, or the user."""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from infra.settings.regions import REGIONS
from operations.cloud import placeholder
from operations.command import UsageError

INFRA = Path(__file__).resolve().parent.parent.parent / "infra"
SETTING_PREFIX = "signal-cloud:"
_EMAIL = r"[^@\s,]+@[^@\s,]+\.[^@\s,]+"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"
_RANGE = rf"{_ADDRESS}(/(3[0-2]|[12]?[0-9]))?"
# Values that only the tenant knows: their form, and what they mean. The program checks them again.
_ASKED = {
    # No option of a tool that would get the value as an argument.
    "owner": (r"[^\s-].{0,255}", "team or address that owns the stack"),
    "cost_centre": (r"[^\s-].{0,255}", "cost centre of the bill"),
    "name_suffix": (
        r"[a-z0-9]{3,6}",
        "3 to 6 lower-case letters and digits, which make names unique in Azure",
    ),
    "alert_emails": (rf"{_EMAIL}(,{_EMAIL})*", "mail addresses that get alerts, with commas between"),
}
_DEPLOYERS = (
    rf"{_RANGE}(,{_RANGE})*",
    "public IPv4 ranges of the machines that deploy, this one among them, with commas between",
)
_OWN_ADDRESS = (_ADDRESS, "the public IPv4 address of this machine; nothing if Postgres admits it already")
_REPOSITORY = (r"[\w.-]{1,100}/[\w.-]{1,100}", "the repository on GitHub, as owner/name")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A stack and everything of it that is chosen by people; the names of what the bootstrap makes.

    `settings` are those to set if the stack does not have them yet. `members` are ids or sign-in names.
    `own_address` is empty if the stack's own rules admit this machine to Postgres. `primary` is the stack of
    the first region, empty if this one is the first or the only one.
    """

    stack: str
    primary: str
    location: str
    state_location: str
    is_private: bool
    has_slot: bool
    own_address: str
    repository: str
    admins: str
    members: tuple[str, ...]
    reviewers: tuple[str, ...]
    settings: Mapping[str, str]

    @property
    def group(self) -> str:
        return f"rg-signal-cloud-{self.stack}"

    @property
    def drill_group(self) -> str:
        return f"{self.group}-drill"

    @property
    def suffix(self) -> str:
        return self.settings["name_suffix"]

    @property
    def tags(self) -> tuple[str, ...]:
        owner, cost_centre = self.settings["owner"], self.settings["cost_centre"]
        return ("project=signal-cloud", f"owner={owner}", f"cost-centre={cost_centre}")


def stack_file(infra: Path, stack: str) -> Path:
    return infra / f"Pulumi.{stack}.yaml"


def values_of(infra: Path, stack: str) -> dict[str, str]:
    """The stack's settings that are not secret; raises UsageError if there is no such stack."""
    path = stack_file(infra, stack)
    if not path.is_file():
        known = ", ".join(sorted(each.name.split(".")[1] for each in infra.glob("Pulumi.*.yaml")))
        raise UsageError(f"there is no infra/Pulumi.{stack}.yaml: a stack is one of {known}")
    return settings_in(path.read_bytes())


def settings_in(text: bytes) -> dict[str, str]:
    """The settings in a stack's file that are not secret."""
    document = cast("dict[str, dict[str, object]]", yaml.safe_load(text))
    return {
        key.removeprefix(SETTING_PREFIX): str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in document["config"].items()
        if key.startswith(SETTING_PREFIX) and not isinstance(value, dict)
    }


def _values_for(options: argparse.Namespace, infra: Path) -> dict[str, str]:
    """As `values_of`; raises UsageError for the rehearsal, except for the steps of its workflow."""
    have = values_of(infra, options.stack)
    if have.get("protect") == "false" and not options.only:
        raise UsageError(
            f"the workflow Rehearse makes and destroys {options.stack}: docs/operations.md, Rehearsal, says "
            "what it needs"
        )
    return have


def read_tenant(options: argparse.Namespace, ask: Callable[[str], str] | None, infra: Path) -> Tenant:
    """The tenant of `options`. `ask` asks the user; without it a missing value raises UsageError.

    In a dry run a placeholder stands for a missing value.
    """
    have = _values_for(options, infra)
    primary = options.primary if "primary_postgres_id" in have or have.get("role") == "passive" else ""
    # Both regions have one owner, and one group administers the database that they share.
    shared = values_of(infra, primary) if primary else {}
    is_private = have.get("private_network") == "true"
    wanted = dict(_ASKED)
    has_slot = have.get("plan") != "flex"
    # Behind Front Door, the staging slot accepts only machines that the stack names. Elsewhere such a list
    # would keep GitHub's machines from the deployment site.
    if not is_private and has_slot and have.get("edge") != "none":
        wanted["deployer_addresses"] = _DEPLOYERS
    missing: list[str] = []

    def value(key: str, pattern: str, meaning: str, *, may_lack: bool = False) -> str:
        given = have.get(key) or getattr(options, key) or shared.get(key) or ""
        if not given and options.dry_run:
            return placeholder(key.replace("_", " "))
        if not given and ask is not None:
            given = ask(f"{key}, {meaning}: ").strip()
        if not given and may_lack:
            return ""
        if not given:
            missing.append(f"--{key.replace('_', '-')} ({meaning})")
        elif not re.fullmatch(pattern, given):
            raise UsageError(f"{key} must be {meaning}, got {given!r}")
        return given

    settings = {key: value(key, *form) for key, form in wanted.items()}
    repository = value("repository", *_REPOSITORY)
    is_admitted = is_private or "deployer_addresses" in settings or "deployer_addresses" in have
    own_address = "" if is_admitted else value("own_address", *_OWN_ADDRESS, may_lack=True)
    if missing:
        raise UsageError(f"these values are missing: {', '.join(missing)}")
    return Tenant(
        stack=options.stack,
        primary=primary,
        location=have["location"],
        # The loss of the stack's region must not take the state away.
        state_location=REGIONS[have["location"]].pair if have["location"] in REGIONS else have["location"],
        is_private=is_private,
        has_slot=has_slot,
        own_address=own_address,
        repository=repository,
        # One for each database, because the workflows that deploy a stack are members.
        admins=(
            have.get("postgres_admin_name")
            or shared.get("postgres_admin_name")
            or options.admins
            or f"signal-cloud-{primary or options.stack}-database-admins"
        ),
        members=tuple(options.member),
        reviewers=tuple(options.reviewer),
        settings={key: text for key, text in settings.items() if key not in have}
        | {key: settings[key] for key in ("owner", "cost_centre", "name_suffix")},
    )
