-- name: insert
-- Lists licenses that are not listed yet, in one order so that two callers never deadlock; returns their ids.
insert into license_list (
    license_id, revision, account_id, plan, status, created_at, expires_at, grace_until, symbols, reference, search,
    document
)
select
    license_id, revision, account_id, plan, status, created_at, expires_at, grace_until, symbols, reference, search,
    document
from jsonb_to_recordset(%(rows)s::jsonb) as given(
    license_id text, revision bigint, account_id text, plan text, status text, created_at timestamptz,
    expires_at timestamptz, grace_until timestamptz, symbols text[], reference text, search text, document jsonb
)
order by license_id
on conflict (license_id) do nothing
returning license_id;

-- name: lock
-- Locks listed licenses until the transaction ends, in one order, and returns what is listed.
select document from license_list where license_id = any(%(license_ids)s) order by license_id for update;

-- name: replace
-- Lists these licenses as they are given.
update license_list
set revision = given.revision,
    account_id = given.account_id,
    plan = given.plan,
    status = given.status,
    created_at = given.created_at,
    expires_at = given.expires_at,
    grace_until = given.grace_until,
    symbols = given.symbols,
    reference = given.reference,
    search = given.search,
    document = given.document
from jsonb_to_recordset(%(rows)s::jsonb) as given(
    license_id text, revision bigint, account_id text, plan text, status text, created_at timestamptz,
    expires_at timestamptz, grace_until timestamptz, symbols text[], reference text, search text, document jsonb
)
where license_list.license_id = given.license_id;

-- name: revisions
-- The listed revision of each of these licenses.
select license_id, revision from license_list where license_id = any(%(license_ids)s);

-- name: of_discord_user
-- A bounded number of the licenses whose holder is this user at Discord.
select document
from license_list
where document ->> 'discord_user_id' = %(discord_user_id)s
order by license_id
limit %(limit)s;

-- name: warn
-- Notes that the holders of a bounded number of licenses that expire soon are warned; returns these licenses.
with due as (
    select license_id, case when expires_at <= %(now)s::timestamptz + interval '1 day' then 1 else 7 end as days
    from license_list
    where status = 'active' and plan <> 'test'
        and expires_at > %(now)s::timestamptz
        and expires_at <= %(now)s::timestamptz + interval '7 days'
        -- What renews itself does not end, unless an operator has shortened it.
        and not coalesce(
            (document ->> 'renews')::boolean and expires_at >= (document ->> 'paid_until')::timestamptz, false
        )
        and (
            warned_for is distinct from expires_at
            or (warned_days = 7 and expires_at <= %(now)s::timestamptz + interval '1 day')
        )
    order by expires_at, license_id
    limit %(limit)s
    for update skip locked
)
update license_list
set warned_for = expires_at, warned_days = due.days
from due
where license_list.license_id = due.license_id
returning document, due.days;

-- name: page
-- A page of the licenses that fit a filter, in order of `place` and then of id, and how many fit it in all.
with judged as (
    select
        *,
        case
            when status = 'revoked' then 'revoked'
            when status = 'suspended'
                or grace_until <= %(now)s::timestamptz
                or document ->> 'suspended_by' = 'payment' then 'suspended'
            when status = 'expired' or expires_at <= %(now)s::timestamptz then 'expired'
            else 'active'
        end as standing
    from license_list
), chosen as (
    select
        license_id collate "C" as id,
        document,
        case %(order)s::text
            when 'created' then to_char(created_at, 'YYYYMMDDHH24MISSUS')
            when 'expires' then coalesce(to_char(expires_at, 'YYYYMMDDHH24MISSUS'), '~')
            when 'account' then account_id
            when 'plan' then plan
            else ''
        end collate "C" as place
    from judged
    where (%(plan)s::text is null or plan = %(plan)s)
        and (%(account_id)s::text is null or account_id = %(account_id)s)
        and (%(reference)s::text is null or reference = %(reference)s)
        and (%(status)s::text is null or standing = %(status)s)
        and (
            %(symbol)s::text is null
            or %(symbol)s = any(symbols)
            or (symbols is null and plan = any(%(plans_with_symbol)s::text[]))
        )
        and (%(text)s::text is null or position(%(text)s in search) > 0)
        and (%(expires_by)s::timestamptz is null or (standing = 'active' and expires_at <= %(expires_by)s))
)
select document, id, place, (select count(*) from chosen) as matching
from chosen
where %(after_id)s::text is null
    or case
        when %(descending)s then (place, id) < (%(after_place)s::text, %(after_id)s)
        else (place, id) > (%(after_place)s::text, %(after_id)s)
    end
order by
    case when not %(descending)s then place end,
    case when not %(descending)s then id end,
    case when %(descending)s then place end desc,
    case when %(descending)s then id end desc
limit %(limit)s;
