"""Lists licenses by filter, and changes many of them at once."""

import argparse
import sys

import msgspec

from operations.license.outcome import Desk, Outcome, time_text
from shared.domain.access.bulk import BulkRequest
from shared.domain.access.license_filter import LicenseFilter
from shared.domain.access.license_rows import LicenseRow
from shared.services.license_admin import MAX_PAGE, BulkItem, BulkReport


async def listed(desk: Desk, options: argparse.Namespace) -> Outcome:
    chosen, by = filter_of(options), options.order.removeprefix("-")
    descending = options.order.startswith("-")
    if options.csv:
        table = await desk.admin.table(chosen, by, descending=descending)
        return Outcome(table, [table.rstrip("\r\n")])
    rows: list[LicenseRow] = []
    cursor, limit = None, options.limit
    while len(rows) < limit:
        page = await desk.admin.page(
            chosen, by, descending=descending, cursor=cursor, limit=min(limit - len(rows), MAX_PAGE)
        )
        rows += page.licenses
        cursor = page.next_cursor
        if cursor is None:
            break
    lines = [
        f"{row.license_id}  {row.account_id:<28} {row.plan:<12} {row.status:<10} "
        f"until {time_text(row.expires_at) if row.expires_at else 'further notice':<20}  "
        f"{row.terms.requests_per_minute:>7}/min  {','.join(row.terms.symbols)}"
        for row in rows
    ]
    if cursor is not None:
        lines.append(f"{len(rows)} of {page.matching} licenses; --limit shows more")
    return Outcome(rows, lines or ["no license fits" if not chosen.is_empty else "there are no licenses"])


async def bulk(desk: Desk, options: argparse.Namespace) -> Outcome:
    """Changes page after page, and says on stderr how far it is. After Ctrl-C, what is changed stays so."""
    asked = BulkRequest(
        filter=filter_of(options),
        action=options.action,
        days=options.days,
        until=options.until,
        plan=options.to_plan,
        dry_run=not options.yes,
    )
    reports: list[BulkReport] = []
    while True:
        report = await desk.admin.bulk(asked, desk.licenses)
        reports.append(report)
        if report.next_cursor is None:
            break
        asked = msgspec.structs.replace(asked, cursor=report.next_cursor)
        done = sum(len(each.licenses) for each in reports)
        print(f"{done} of {reports[0].matching} licenses are done", file=sys.stderr)
    items = [item for each in reports for item in each.licenses]
    counts = {
        outcome: sum(item.outcome == outcome for item in items)
        for outcome in ("changed", "unchanged", "refused")
    }
    value = {"dry_run": asked.dry_run, **counts, "licenses": items}
    would = "would be changed" if asked.dry_run else "changed"
    summary = f"{counts['changed']} {would}, {counts['unchanged']} unchanged, {counts['refused']} refused"
    lines = [*map(_item_line, items), summary]
    if asked.dry_run:
        lines.append("Nothing is changed yet: run it again with --yes.")
    return Outcome(value, lines)


def filter_of(options: argparse.Namespace) -> LicenseFilter:
    """The filter that the arguments of `add_filter` give."""
    return LicenseFilter(
        plan=options.in_plan,
        status=options.status,
        account_id=options.account,
        symbol=options.symbol,
        reference=options.reference,
        expiring_within_days=options.expiring,
        text=options.text,
    )


def _item_line(item: BulkItem) -> str:
    steps = [f"{name} {before} -> {after}" for name, (before, after) in item.changes.items()]
    told = "; ".join([*steps, *([item.detail] if item.detail else [])])
    return f"{item.license_id}  {item.account_id:<28} {item.outcome:<10} {told}"
