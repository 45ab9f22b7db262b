-- A connection remembers its session, so that an open socket renews it: its id, and what restores it in Redis.
alter table connections
    add column session_id text check (length(session_id) between 1 and 64),
    add column session jsonb check (octet_length(session::text) <= 8192);

create index connections_session on connections (session_id) where session_id is not null;
