-- Addresses that take a publisher's alerts (POST hooks/<secret>). The secret is a key of the license, of which Table
-- Storage has a keyed hash; `public_id` says which key it is, and `previous_public_id` which one before it still
-- works during an overlap. `mapping` is the name of a file in shared/hooks, or a mapping itself.
create table hooks (
    hook_id text primary key check (length(hook_id) = 17),
    account_id text not null check (length(account_id) between 1 and 64),
    license_id text not null check (length(license_id) between 1 and 64),
    public_id text not null check (length(public_id) = 6),
    previous_public_id text check (length(previous_public_id) = 6),
    name text not null check (length(name) between 1 and 64),
    mapping jsonb not null check (jsonb_typeof(mapping) in ('string', 'object')),
    strategy text not null check (length(strategy) between 1 and 64),
    symbols text[] not null check (cardinality(symbols) <= 100),
    addresses text[] not null check (cardinality(addresses) <= 64),
    created_at timestamptz not null,
    rotated_at timestamptz,
    ended_at timestamptz
);
comment on index hooks_pkey is 'Prevents two hooks from having one id.';

create unique index hooks_public_id on hooks (public_id);
comment on index hooks_public_id is 'Prevents one secret from opening two hooks.';

create index hooks_previous_public_id on hooks (previous_public_id) where previous_public_id is not null;
create index hooks_license on hooks (license_id);
create index hooks_account on hooks (account_id, created_at);

alter table hooks enable row level security;
alter table hooks force row level security;
create policy own_account on hooks to signal_functions
    using (account_id = current_setting('app.account_id', true));
-- Operators name a hook by its id alone; a transaction of theirs says so.
create policy operators on hooks for select to signal_functions
    using (current_setting('app.operator', true) = 'hooks');

grant select, insert on hooks to signal_functions;
grant update (public_id, previous_public_id, rotated_at, ended_at) on hooks to signal_functions;
