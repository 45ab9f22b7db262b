-- name: lock_licenses
-- Locks the counts of licenses until the transaction ends, in one order, so that two callers never deadlock.
select pg_advisory_xact_lock(hashtextextended('connections.' || license_id, 0))
from (select distinct unnest(%(license_ids)s::text[]) as license_id order by license_id) as wanted;

-- name: count
-- The number of open connections of each of these licenses that has any.
select license_id, count(*) from connections where license_id = any(%(license_ids)s) group by license_id;

-- name: used_urls
-- The connection that each of these client access URLs has opened.
select nonce, connection_id from used_urls where nonce = any(%(nonces)s);

-- name: open
-- Adds connections and marks their client access URLs as used; repeated ones change nothing.
with opened as (
    select * from unnest(
        %(connection_ids)s::text[], %(license_ids)s::text[], %(nonces)s::text[],
        %(session_ids)s::text[], %(sessions)s::text[]
    ) as opened(connection_id, license_id, nonce, session_id, session)
), marked as (
    insert into used_urls (nonce, connection_id) select nonce, connection_id from opened
    on conflict (nonce) do nothing
)
insert into connections (connection_id, license_id, session_id, session)
select connection_id, license_id, session_id, session::jsonb from opened
on conflict (connection_id) do nothing;

-- name: close
-- Removes connections that have ended.
delete from connections where connection_id = any(%(connection_ids)s);

-- name: unchecked
-- The licenses whose connections were not compared with the service's list for the longest time.
select license_id
from connections
group by license_id
having min(checked_at) < now() - make_interval(secs => %(older_than_s)s)
order by min(checked_at), license_id
limit %(limit)s;

-- name: counted
-- The connections of a license that are counted.
select connection_id from connections where license_id = %(license_id)s;

-- name: forget_missing
-- Removes a license's connections that the service does not list, unless they opened too lately to be listed.
delete from connections
where license_id = %(license_id)s
    and connection_id <> all(%(listed)s::text[])
    and opened_at < now() - make_interval(secs => %(older_than_s)s);

-- name: add
-- Adds connections of a license that the service lists and that were not counted when they opened.
insert into connections (connection_id, license_id)
select added, %(license_id)s from unnest(%(added)s::text[]) as added
on conflict (connection_id) do nothing;

-- name: note_check
-- Notes that a license's connections were compared with the service's list.
update connections set checked_at = now() where license_id = %(license_id)s;

-- name: excess
-- The connections of a license beyond the oldest ones, which its plan allows.
select connection_id
from connections
where license_id = %(license_id)s
order by opened_at, connection_id
offset %(allowed)s
limit %(limit)s;

-- name: connected_sessions
-- Sessions that have open connections, in the order of their ids, each with its connections, the youngest first.
select min(license_id), session_id, (array_agg(session::text) filter (where session is not null))[1],
    array_agg(connection_id order by opened_at desc, connection_id)
from connections
where session_id > %(after)s
group by session_id
order by session_id
limit %(limit)s;

-- name: prune_used_urls
-- Deletes a bounded number of marks of client access URLs that have expired since.
delete from used_urls
where nonce in (
    select nonce from used_urls
    where used_at < now() - make_interval(secs => %(older_than_s)s)
    order by used_at
    limit %(limit)s
);
