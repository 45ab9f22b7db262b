-- name: add
-- Stores events, once each.
insert into notification_events (event_id, kind, at, account_id, license_id, shown)
select * from unnest(
    %(event_ids)s::text[], %(kinds)s::text[], %(ats)s::timestamptz[], %(account_ids)s::text[],
    %(license_ids)s::text[], %(shown)s::jsonb[]
)
on conflict do nothing;
