-- Every license as Table Storage has it, the source of truth, in a form that can be filtered and ordered. `document` is
-- the license as JSON. `symbols` is null if the license has the symbols of its plan. `search` is what a text is looked
-- for in. `warned_for` is the end of which the holder was warned, `warned_days` the days that were left at the most.
create table license_list (
    license_id text primary key check (length(license_id) between 1 and 64),
    revision bigint not null check (revision >= 1),
    account_id text not null check (length(account_id) between 1 and 64),
    plan text not null check (length(plan) between 1 and 64),
    status text not null check (status in ('active', 'suspended', 'revoked', 'expired')),
    created_at timestamptz not null,
    expires_at timestamptz,
    grace_until timestamptz,
    symbols text[],
    reference text check (length(reference) between 1 and 255),
    search text not null check (length(search) <= 8192),
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    warned_for timestamptz,
    warned_days smallint
);
comment on index license_list_pkey is 'Prevents a license from being listed twice, and a change from being told twice.';

create index license_list_expiring on license_list (expires_at) where status = 'active';

-- A bot's transaction sees its own account's licenses. One that names no account sees all: an operator's, or a timer's.
alter table license_list enable row level security;
alter table license_list force row level security;
create policy own_account_or_operator on license_list to signal_functions
    using (current_setting('app.account_id', true) in ('', account_id));

grant select, insert, update on license_list to signal_functions;
