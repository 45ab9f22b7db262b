-- name: lock_migrations
-- One migrator at a time in a database; released when the session ends.
set lock_timeout = '60s';
select pg_advisory_lock(hashtext('signal_cloud.migrations'));

-- name: ensure_roles
-- The two roles, which belong to the whole server: made unless they exist; whoever migrates may take them on.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['signal_functions', 'signal_jobs'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I nologin noinherit', wanted);
        end if;
        if not pg_has_role(current_user, wanted, 'set') then
            execute format('grant %I to current_user with inherit false, set true', wanted);
        end if;
    end loop;
end
$$;

-- name: is_migrated
-- Whether any migration was ever applied here.
select to_regclass('public.schema_migrations') is not null;

-- name: applied_migrations
-- What was applied, with the checksum that it had.
select name, checksum from schema_migrations;

-- name: limit_migration
-- Bounds how long the migration of this transaction waits for a lock, and how long each of its statements takes.
select
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true);

-- name: record_migration
-- Notes a migration in its own transaction.
insert into schema_migrations (name, checksum) values (%(name)s, %(checksum)s);
