-- The claim links that have given their key. A link needs no row before: its token proves itself.
create table claims_used (
    license_id text not null check (length(license_id) between 1 and 64),
    purpose text not null check (purpose in ('first_key', 'lost_key')),
    issued_at timestamptz not null check (isfinite(issued_at)),
    used_at timestamptz not null default now(),
    primary key (license_id, purpose, issued_at)
);
comment on index claims_used_pkey is 'Prevents a claim link from giving two keys.';

create index claims_used_used_at on claims_used (used_at);

grant select, insert on claims_used to signal_functions;
grant select, delete on claims_used to signal_jobs;

-- Test licenses are made by strangers, and removed with all their rows when they have ended. The timers may delete
-- the trades of their accounts, and of no others.
create policy test_accounts on trades for delete to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_ids to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_days to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_day_figures to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on account_usage to signal_jobs using (starts_with(account_id, 'sc-test-'));
grant delete on trades to signal_jobs;
grant select, delete on trade_ids, trade_days, trade_day_figures, account_usage to signal_jobs;
