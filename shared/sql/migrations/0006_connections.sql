-- The open connections of each license, written when Web PubSub asks whether a client may connect, and
-- deleted when it reports the end. A timer compares them with the service's own list.
create table connections (
    connection_id text primary key check (length(connection_id) between 1 and 256),
    license_id text not null check (length(license_id) between 1 and 64),
    opened_at timestamptz not null default now(),
    checked_at timestamptz not null default now()
);
comment on index connections_pkey is 'Prevents one connection from counting twice against its license.';

create index connections_license on connections (license_id, checked_at);

-- The client access URLs that have connected, kept until they expire.
create table used_urls (
    nonce text primary key check (length(nonce) between 1 and 64),
    connection_id text not null check (length(connection_id) between 1 and 256),
    used_at timestamptz not null default now()
);
comment on index used_urls_pkey is 'Prevents a client access URL from connecting twice.';

create index used_urls_used_at on used_urls (used_at);

grant select, insert, delete on connections to signal_functions;
grant update (checked_at) on connections to signal_functions;
grant select on connections to signal_jobs;
grant select, insert on used_urls to signal_functions;
grant select, delete on used_urls to signal_jobs;
