-- Erasures of accounts. `account_id` is null when all is done: then nothing connects the pseudonym with the account.
create table erasures (
    pseudonym text primary key check (length(pseudonym) between 1 and 64),
    account_id text check (length(account_id) between 1 and 64),
    requested_at timestamptz not null,
    finished_at timestamptz,
    check ((account_id is null) = (finished_at is not null))
);
comment on index erasures_pkey is 'Prevents two erasures from having one pseudonym.';

create unique index erasures_account on erasures (account_id) where account_id is not null;
comment on index erasures_account is 'Prevents one account from getting two pseudonyms.';

alter table erasures enable row level security;
alter table erasures force row level security;
create policy own_account on erasures to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on erasures to signal_jobs using (true);
grant select, insert on erasures to signal_functions;
grant select, update on erasures to signal_jobs;

-- The timers may delete rows of accounts that are being erased, or give them the pseudonym, and no others.
create function is_erased(account text) returns boolean
language sql
stable
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (select from public.erasures where erasures.account_id = account)
$$;
create function is_pseudonym(account text) returns boolean
language sql
stable
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (
        select from public.erasures where erasures.pseudonym = account and erasures.finished_at is null
    )
$$;
revoke execute on function is_erased(text), is_pseudonym(text) from public;
grant execute on function is_erased(text), is_pseudonym(text) to signal_jobs;

create policy erasure on trades for update to signal_jobs
    using (is_erased(account_id)) with check (is_pseudonym(account_id));
grant update (account_id, trade_id, key_public_id) on trades to signal_jobs;

create policy erasure on trade_ids to signal_jobs using (is_erased(account_id));
create policy erasure on trade_days to signal_jobs using (is_erased(account_id));
create policy erasure on trade_day_figures to signal_jobs using (is_erased(account_id));
create policy erasure on account_usage to signal_jobs using (is_erased(account_id));
grant select, delete on trade_ids, trade_days, trade_day_figures, account_usage to signal_jobs;

create policy erasure on hooks to signal_jobs using (is_erased(account_id));
grant select, delete on hooks to signal_jobs;
grant update (payload) on payment_events to signal_jobs;
grant delete on notifications to signal_jobs;
grant update (publisher) on signals to signal_jobs;
create index signals_publisher on signals (publisher) where publisher is not null;

-- Gives audit entries the pseudonym of an account that is being erased. It runs with the owner's rights, because
-- nobody may change an entry otherwise. `subjects` are the account's licenses and keys.
create function pseudonymise_audit(account text, subjects text[]) returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    substitute text := (select pseudonym from erasures where erasures.account_id = account);
    changed integer;
begin
    if substitute is null then
        raise exception 'no erasure of this account is under way' using errcode = 'insufficient_privilege';
    end if;
    update audit
    set subject = case when subject = account then substitute else subject end,
        detail = replace(detail::text, to_json(account)::text, to_json(substitute)::text)::jsonb
    where (subject = account or subject = any(subjects))
        and (subject = account or position(to_json(account)::text in detail::text) > 0);
    get diagnostics changed = row_count;
    return changed;
end
$$;
revoke execute on function pseudonymise_audit(text, text[]) from public;
grant execute on function pseudonymise_audit(text, text[]) to signal_jobs;
create index audit_subject on audit (subject);
grant select on audit to signal_functions;
