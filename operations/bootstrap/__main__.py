"""Brings a version live in an empty subscription: `python -m operations.bootstrap --stack prod`.

You need az, gh and pulumi, signed in to Azure as an owner of the subscription and to GitHub as an
administrator of the repository. Run the command again after a failure: it asks Azure, GitHub and Pulumi what
exists, and continues. It changes nothing that exists.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from operations.bootstrap.plan import steps, steps_inside
from operations.bootstrap.release import SMOKE_KEY
from operations.bootstrap.site import Site
from operations.bootstrap.tenant import INFRA, Tenant, read_tenant
from operations.cloud import Cloud
from operations.command import run_plainly
from operations.steps import chosen, duration, run_steps

ADMINS = "signal-cloud-<stack>-database-admins"


def main(argv: Sequence[str] | None = None, cloud: Cloud | None = None, infra: Path = INFRA) -> int:
    """0 if the version is live, 1 if a step failed, 2 if an argument cannot be used, 130 after Ctrl-C.

    `infra` is the directory of the Pulumi program and of the stacks' files.
    """
    options = _parser().parse_args(argv)
    return run_plainly(lambda: _run(options, cloud or Cloud(dry_run=options.dry_run), infra))


def _run(options: argparse.Namespace, cloud: Cloud, infra: Path) -> int:
    ask = input if sys.stdin.isatty() and not options.yes else None
    if options.list:
        options.dry_run = True
    tenant = read_tenant(options, ask, infra)
    site = Site(cloud, tenant, infra, os.environ.get("PULUMI_BACKEND_URL", ""))
    every = steps(site, _confirmation(options, ask))
    known = [*every, *steps_inside(site)] if options.only else every
    picked = chosen(known, first=options.first, only=options.only)
    if options.list:
        for step in every:
            print(f"{step.name:<18} {duration(step.usual_s):>7}  {step.does}")
        return 0
    run_steps(picked, dry_run=options.dry_run, say=cloud.say, now=cloud.now)
    if picked[-1] is every[-1]:
        _say_what_is_next(site, tenant, dry_run=options.dry_run)
    return 0


def _confirmation(options: argparse.Namespace, ask: Callable[[str], str] | None) -> Callable[[str], bool]:
    def confirm(question: str) -> bool:
        if options.yes:
            return True
        return ask is not None and ask(f"{question} (yes/no) ").strip().lower() == "yes"

    return confirm


def _say_what_is_next(site: Site, tenant: Tenant, *, dry_run: bool) -> None:
    say = site.cloud.say
    if dry_run:
        say("Nothing was changed. Without --dry-run the command does what is printed above.")
        return
    say(f"{tenant.stack} is live: {site.output('url')}")
    say("Next:")
    say("  verify the alert addresses; Azure has mailed codes: docs/operations.md, Alerts that arrive")
    say(f"  git checkout infra/Pulumi.{tenant.stack}.yaml && git pull    the file is on main now")
    say(f"  export PULUMI_BACKEND_URL='{site.backend_url}'    for your own commands of pulumi")
    say(
        f"  make licenses with python -m operations.license; nobody but the tests uses the secret {SMOKE_KEY}"
    )
    say("  read docs/operations.md, On call; add colleagues with --member, and reviewers on GitHub")


def _parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m operations.bootstrap", description=summary, epilog=more)
    parser.add_argument("--stack", required=True, help="such as prod: the file infra/Pulumi.<stack>.yaml")
    parser.add_argument("--dry-run", action="store_true", help="print every change, and make none")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--from", dest="first", metavar="STEP", help="begin with this step")
    parser.add_argument(
        "--only", action="append", default=[], metavar="STEP", help="run this step alone; can be repeated"
    )
    parser.add_argument("--list", action="store_true", help="list the steps and end")
    values = parser.add_argument_group(
        "values of the tenant", "The command asks for one that neither the stack's file nor an option gives."
    )
    parser.add_argument(
        "--primary", default="prod", metavar="STACK", help="of a second region: the first one's stack (prod)"
    )
    values.add_argument("--repository", metavar="OWNER/NAME", help="the repository on GitHub")
    values.add_argument("--owner", help="team or address that owns the stack, a tag of all resources")
    values.add_argument("--cost-centre", help="cost centre of the bill, a tag of all resources")
    values.add_argument("--name-suffix", metavar="SUFFIX", help="3 to 6 lower-case letters and digits")
    values.add_argument("--alert-emails", metavar="ADDRESSES", help="mail addresses that get alerts")
    values.add_argument(
        "--deployer-addresses",
        metavar="RANGES",
        help="IPv4 ranges that deploy a public stack behind Front Door, that of this machine among them",
    )
    values.add_argument(
        "--own-address",
        metavar="IPV4",
        help="public address of this machine, which Postgres of a public stack admits during its steps",
    )
    values.add_argument("--admins", metavar="GROUP", help=f"directory group ({ADMINS})")
    values.add_argument(
        "--member", action="append", default=[], metavar="USER", help="sign-in name of a further operator"
    )
    values.add_argument(
        "--reviewer",
        action="append",
        default=[],
        metavar="LOGIN",
        help="GitHub user who approves deployments",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
