"""Lists the steps from an empty subscription to a live version, in the order of their dependence."""

from collections.abc import Callable

from operations.bootstrap.access import Access
from operations.bootstrap.export_key import ExportKey
from operations.bootstrap.foundation import Foundation
from operations.bootstrap.hub import Hub
from operations.bootstrap.release import Release
from operations.bootstrap.second_region import SecondRegion
from operations.bootstrap.site import Site
from operations.bootstrap.stack import Stack
from operations.steps import Step


def steps(site: Site, confirm: Callable[[str], bool]) -> list[Step]:
    """All steps for a stack. The workflow deploys a private one, because this machine cannot reach it."""
    stack, access = Stack(site), Access(site)
    hub, release = Hub(site, access), Release(site)
    file = f"infra/Pulumi.{site.tenant.stack}.yaml"
    commit = f"Commits {file} to main on GitHub"
    tenant = site.tenant
    if tenant.is_private:
        live = [
            Step("stack-file", f"{commit}, for the workflow", 10, hub.push_stack_file, hub.has_stack_file),
            Step(
                "runner", "Registers the runner on the stack's machine with GitHub", 900, hub.make_runner,
                hub.has_runner,
            ),
            *(_second_region_steps(SecondRegion(site, hub)) if tenant.primary else []),
            Step(
                "deployment", "Runs the workflow Deploy, which reaches the private network", 3000, hub.deploy,
                hub.has_deployed if tenant.primary else release.has_any_version,
            ),
        ]  # fmt: skip
    else:
        live = _live_steps(release, has_slot=tenant.has_slot)
    return [
        *_foundation_steps(Foundation(site, confirm)),
        *_stack_steps(stack, ExportKey(site)),
        Step(
            "operators", "Gives the operators their rights to tables, secrets, Web PubSub and Redis", 60,
            access.grant_operators, access.have_operators_rights,
        ),
        Step(
            "federation", "Makes Entra applications that trust GitHub's environments, with their rights", 180,
            access.make_federation, access.has_federation,
        ),
        Step("github", "Makes GitHub's environments and variables", 60, hub.set_up, hub.is_set_up),
        *live,
        Step("alerts", "Lets alerts notify people, and deploys that", 240, stack.end_quiet, stack.is_loud),
        Step("final-stack-file", commit, 10, hub.push_stack_file, hub.has_stack_file),
    ]  # fmt: skip


def steps_inside(site: Site) -> list[Step]:
    """What the workflow runs inside a private network, where `--only` names it; nothing for another stack."""
    if not site.tenant.is_private:
        return []
    return [step for step in _live_steps(Release(site), has_slot=False) if step.name == "smoke-key"]


def _second_region_steps(second: SecondRegion) -> list[Step]:
    return [
        Step(
            "first-region", "Deploys the first region, which then knows this origin and its logins", 3000,
            second.make_known, second.is_known,
        )
    ]  # fmt: skip


def _foundation_steps(foundation: Foundation) -> list[Step]:
    return [
        Step("tools", "Checks az, gh and pulumi, and who is signed in", 20, foundation.check_tools),
        Step(
            "providers", "Registers Azure's resource providers", 180, foundation.register_providers,
            foundation.are_providers_registered,
        ),
        Step(
            "group", "Makes the directory group that administers the database", 60, foundation.make_group,
            foundation.has_group,
        ),
        Step(
            "drill-group", "Makes the empty resource group of the restore drill", 10,
            foundation.make_drill_group, foundation.has_drill_group,
        ),
        Step(
            "state", "Makes storage account and key vault of Pulumi's state", 120, foundation.make_state,
            foundation.has_state,
        ),
        Step(
            "rights", "Gives the operators their rights to the state, which owners lack", 30,
            foundation.grant_rights, foundation.has_rights,
        ),
        Step(
            "key", "Makes the state's container and key, when the rights have taken effect", 300,
            foundation.make_key, foundation.has_key,
        ),
    ]  # fmt: skip


def _stack_steps(stack: Stack, exports: ExportKey) -> list[Step]:
    return [
        Step("program", "Installs the packages of the program and its policies", 120, stack.install),
        Step("stack", "Makes the stack in Pulumi's state", 30, stack.init, stack.exists),
        Step(
            "settings", "Sets what the stack lacks: tenant, administrators, pepper", 60, stack.set_settings,
            stack.has_settings,
        ),
        Step(
            "export-key", "Makes the key pair of the exports of licenses", 20, exports.make, exports.is_made
        ),
        Step(
            "infrastructure", "Makes all resources: pulumi up. Azure mails a code to new alert addresses, "
            "for 30 minutes", 2400, stack.up,
        ),
    ]  # fmt: skip


def _live_steps(release: Release, *, has_slot: bool) -> list[Step]:
    where = "to the staging slot" if has_slot else "in place of the former one"
    staged = [
        Step(
            "slot-test", "Runs the smoke test on the staging slot", 120, release.smoke_staged, release.is_live
        ),
        Step("swap", "Swaps the staging slot into production", 120, release.swap, release.is_live),
    ]
    return [
        Step("migration", "Makes the schema and the app's logins", 60, release.migrate),
        Step(
            "smoke-key", "Makes the license of the smoke test, whose key the vault keeps", 180,
            release.make_smoke_key, release.has_smoke_key,
        ),
        Step("package", "Packs the app", 120, release.build, release.is_staged),
        Step("deployment", f"Deploys the package {where}", 240, release.deploy, release.is_staged),
        *(staged if has_slot else []),
        Step("live-test", "Runs the smoke test on the live version", 120, release.smoke_live),
    ]  # fmt: skip
