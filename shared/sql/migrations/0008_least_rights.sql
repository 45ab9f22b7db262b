-- Audit entries get their actor from the login, so that no role can write one in another actor's name.

-- withdraws: grant signal_functions audit, because a direct insert could name any actor
-- withdraws: grant signal_jobs audit, because a direct insert could name any actor
revoke insert on audit from signal_functions, signal_jobs;

create function write_audit(note text, action text, subject text, detail jsonb) returns void
language sql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    insert into public.audit (actor, action, subject, detail)
    values (left(concat_ws(': ', session_user, nullif(note, '')), 128), action, subject, detail)
$$;
revoke execute on function write_audit(text, text, text, jsonb) from public;
grant execute on function write_audit(text, text, text, jsonb) to signal_functions, signal_jobs;
