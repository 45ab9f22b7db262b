-- What may be misuse of a license, counted for operators: one row an account and day.
create table misuse_days (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    requests bigint not null check (requests >= 0),
    limited bigint not null check (limited >= 0),
    limited_hours integer not null check (limited_hours between 0 and 16777215),
    sessions_refused bigint not null check (sessions_refused >= 0),
    sessions_taken_over bigint not null check (sessions_taken_over >= 0),
    sessions_replaced bigint not null check (sessions_replaced >= 0),
    primary key (account_id, day)
);
comment on index misuse_days_pkey is 'Prevents an account from having two counts of one day.';

create index misuse_days_day on misuse_days (day);

-- The addresses that used a key on a day, each as a keyed hash that differs every day.
create table misuse_addresses (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    public_id text not null check (length(public_id) between 1 and 64),
    address bytea not null check (octet_length(address) = 8),
    primary key (account_id, day, public_id, address)
);
comment on index misuse_addresses_pkey is 'Prevents one address of a key from counting twice on a day.';

create index misuse_addresses_day on misuse_addresses (day);

grant select, insert, update on misuse_days to signal_functions;
grant select, insert on misuse_addresses to signal_functions;
grant select, delete on misuse_days, misuse_addresses to signal_jobs;
