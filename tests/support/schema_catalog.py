"""What a database promises to the version that is live, and what a migration may not take back.

A deployment migrates first and swaps later, and may swap back: so the live version runs on the new schema,
and every migration may only widen. What narrows (contracts) is done in a later release, once no version
that runs needs it, and says so in the migration, a line for each promise that ends:

    -- contract: column trades.fees, unused since 0.3.0
"""

import re
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_CONTRACT = re.compile(r"^-- contract: (.+), unused since (\d+\.\d+\.\d+)$", re.MULTILINE)
_WITHDRAWN = re.compile(r"^-- withdraws: (grant .+), because .+$", re.MULTILINE)

# Each promise: (kind, name, how it is). One that goes, or is another way afterwards, breaks the live version.
_PROMISES = """
select 'column', c.relname || '.' || a.attname,
    format_type(a.atttypid, a.atttypmod)
        || case when c.relkind in ('r', 'p') and a.attnotnull then '' else ' null' end
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and a.attnum > 0 and not a.attisdropped and not c.relispartition
union all
select 'default', c.relname || '.' || a.attname, 'exists'
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and a.attnum > 0 and not a.attisdropped and (a.atthasdef or a.attidentity <> '')
union all
select 'unique', c.relname, pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid
join pg_class t on t.oid = i.indrelid
where c.relnamespace = 'public'::regnamespace and i.indisunique and not t.relispartition
union all
select 'function', p.oid::regprocedure::text, pg_get_function_result(p.oid)
from pg_proc p where p.pronamespace = 'public'::regnamespace
union all
select 'type', typname, typtype::text
from pg_type t where t.typnamespace = 'public'::regnamespace and typtype in ('d', 'e')
union all
select 'grant', grantee || ' ' || table_name, privilege_type
from information_schema.table_privileges
where table_schema = 'public' and grantee in ('signal_functions', 'signal_jobs')
union all
select 'grant', pg_get_userbyid(acl.grantee) || ' ' || c.relname || '.' || a.attname, acl.privilege_type
from pg_attribute a join pg_class c on c.oid = a.attrelid, aclexplode(a.attacl) as acl
where c.relnamespace = 'public'::regnamespace and not a.attisdropped
    and pg_get_userbyid(acl.grantee) in ('signal_functions', 'signal_jobs')
union all
select 'grant', grantee || ' ' || routine_name, privilege_type
from information_schema.routine_privileges
where routine_schema = 'public' and grantee in ('signal_functions', 'signal_jobs')
"""

# What a writer has to heed: new on a table that was there before, it refuses what the live version writes.
_DEMANDS = """
select 'constraint', coalesce(c.relname, t.typname) || '.' || n.conname, pg_get_constraintdef(n.oid)
from pg_constraint n
left join pg_class c on c.oid = n.conrelid
left join pg_type t on t.oid = n.contypid
where n.connamespace = 'public'::regnamespace and n.contype in ('c', 'f', 'x')
    and not coalesce(c.relispartition, false)
union all
select 'unique', t.relname || '.' || c.relname, pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
where c.relnamespace = 'public'::regnamespace and i.indisunique and not t.relispartition
union all
select 'not null', c.relname || '.' || a.attname,
    case when a.atthasdef or a.attidentity <> '' then 'with a default' else 'without a default' end
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and a.attnum > 0 and not a.attisdropped and a.attnotnull
union all
select 'trigger', c.relname || '.' || g.tgname, pg_get_triggerdef(g.oid)
from pg_trigger g join pg_class c on c.oid = g.tgrelid
where c.relnamespace = 'public'::regnamespace and not g.tgisinternal
union all
select 'row-level security', c.relname, 'on'
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relrowsecurity and not c.relispartition
union all
select 'policy', tablename || '.' || policyname,
    concat_ws(' ', permissive, array_to_string(roles, ','), cmd, qual, with_check)
from pg_policies where schemaname = 'public'
"""

# The condition of each check of a table, its columns, and their types. A domain counts as its base type.
_CHECKS = """
select c.relname || '.' || n.conname, pg_get_expr(n.conbin, n.conrelid), array_agg(a.attname::text),
    array_agg(format_type(case when t.typtype = 'd' then t.typbasetype else t.oid end, null))
from pg_constraint n
join pg_class c on c.oid = n.conrelid
join pg_attribute a on a.attrelid = c.oid and a.attnum = any(n.conkey)
join pg_type t on t.oid = a.atttypid
where n.connamespace = 'public'::regnamespace and n.contype = 'c' and not c.relispartition
group by n.oid, c.relname
"""

Facts = set[tuple[str, str, str]]


class Catalog:
    """One state of a schema. `passed_by_null` are checks that hold while these columns of theirs are null."""

    def __init__(self, promises: Facts, demands: Facts, passed_by_null: dict[str, set[str]]) -> None:
        self.promises = promises
        self.demands = demands
        self.passed_by_null = passed_by_null

    @property
    def owners(self) -> set[str]:
        """Tables and domains that exist; a demand upon a new one binds nobody yet."""
        tables = {name.split(".")[0] for kind, name, _ in self.promises if kind == "column"}
        return tables | {name for kind, name, _ in self.promises if kind == "type"}

    @property
    def columns(self) -> set[str]:
        return {name for kind, name, _ in self.promises if kind == "column"}

    @property
    def left_null(self) -> set[str]:
        """Columns that are null if a writer does not name them."""
        with_default = {name for kind, name, _ in self.promises if kind == "default"}
        nullable = {name for kind, name, how in self.promises if kind == "column" and how.endswith(" null")}
        return nullable - with_default


async def read_catalog(connection: AsyncConnection[TupleRow]) -> Catalog:
    async def facts(query: str) -> Facts:
        rows: list[tuple[Any, ...]] = await (await connection.execute(query.encode())).fetchall()
        return {(str(kind), str(name), str(how)) for kind, name, how in rows}

    return Catalog(await facts(_PROMISES), await facts(_DEMANDS), await _passed_by_null(connection))


def _only_permits(kind: str, name: str, how: str, before: Catalog) -> bool:
    """Whether this is one more policy of a table that had row-level security: it hides no row."""
    if kind != "policy" or not how.startswith("PERMISSIVE"):
        return False
    is_new = not any((other, same) == ("policy", name) for other, same, _ in before.demands)
    return is_new and ("row-level security", name.split(".", maxsplit=1)[0], "on") in before.demands


async def _passed_by_null(connection: AsyncConnection[TupleRow]) -> dict[str, set[str]]:
    found = {}
    for name, condition, columns, types in await (await connection.execute(_CHECKS.encode())).fetchall():
        row = ", ".join(f'null::{kind} as "{column}"' for column, kind in zip(columns, types, strict=True))
        query = f"select ({condition}) is not false from (select {row}) as empty"
        holds = await (await connection.execute(query.encode())).fetchone()
        if holds == (True,):
            found[name] = {f"{name.split('.')[0]}.{column}" for column in columns}
    return found


def broken_promises(before: Catalog, after: Catalog, script: str, released: set[str]) -> list[str]:
    """What the step from `before` to `after` breaks, unless `script` says that it may.

    `released` are the versions that a contract may name: what was unused in one that is out by now.
    """
    allowed: dict[str, str] = dict(_CONTRACT.findall(script))
    # A right that is a weakness may go at once, if the script says why.
    withdrawn = set(_WITHDRAWN.findall(script))
    found = []
    for kind, name, how in sorted(before.promises - after.promises):
        widened = any((kind, name) == (other, same) for other, same, _ in after.promises)
        found.append((f"{kind} {name}", f"was {how}, {'is another' if widened else 'is gone'}"))
    there_before = before.owners
    unwritten = after.left_null - before.columns
    for kind, name, how in sorted(after.demands - before.demands):
        if name.split(".")[0] not in there_before or (kind, how) == ("not null", "with a default"):
            continue
        if _only_permits(kind, name, how, before):
            continue
        if name in after.passed_by_null and after.passed_by_null[name] <= unwritten:
            continue  # the live version does not write these columns, so the check always holds
        found.append((f"{kind} {name}", f"is demanded anew: {how}"))
    problems = [f"{what} {why}" for what, why in found if what not in allowed and what not in withdrawn]
    problems += [
        f"contract: {what} names {version}, which is not released"
        for what, version in allowed.items()
        if version not in released
    ]
    return problems
