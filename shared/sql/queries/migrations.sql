-- name: lock_migrations
-- Lets one migration process at a time work in a database; the end of the session releases the lock.
set lock_timeout = '60s';
select pg_advisory_lock(hashtext('signal_cloud.migrations'));

-- name: ensure_roles
-- Creates the two roles, unless the server has them; the login that migrates may take them.
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
-- The applied migrations, with their checksums at that time.
select name, checksum from schema_migrations;

-- name: limit_migration
-- Bounds this transaction's wait for a lock, and the time of each of its statements.
select
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true);

-- name: record_migration
-- Records a migration, in that migration's own transaction.
insert into schema_migrations (name, checksum) values (%(name)s, %(checksum)s);
