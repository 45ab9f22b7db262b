-- name: fitness
-- The facts that decide whether this login can migrate this database.
select
    current_setting('server_version_num')::integer as server_version,
    current_user as login,
    current_database() as database,
    has_schema_privilege('public', 'create') as may_create,
    (select rolcreaterole or rolsuper from pg_roles where rolname = current_user)
        or not exists (
            select from unnest(array['signal_functions', 'signal_jobs']) as wanted
            where not exists (select from pg_roles where rolname = wanted)
        ) as has_roles;

-- name: login_state
-- Whether a login exists, may log in, has more rights than the roles, and can take both roles.
select
    rolcanlogin as can_login,
    rolsuper or rolbypassrls as is_above_security,
    (select count(*) from pg_roles as wanted
     where wanted.rolname in ('signal_functions', 'signal_jobs')
         and pg_has_role(logins.oid, wanted.oid, 'set')) = 2 as has_roles
from pg_roles as logins
where rolname = %(login)s;

-- name: entra_function
-- Whether Entra ID logins can be created in this database: on Azure, only in the database postgres.
select to_regproc('pgaadauth_create_principal_with_oid') is not null;

-- name: create_entra_login
-- Creates the login of a managed identity or an application: no administrator, without multi-factor sign-in.
select pgaadauth_create_principal_with_oid(%(login)s, %(object_id)s, 'service', false, false);

-- name: grant_roles
-- Lets a login take both roles, without inheriting their rights.
do $$
begin
    execute format(
        'grant signal_functions, signal_jobs to %I with inherit false, set true',
        current_setting('signal_cloud.login')
    );
end
$$;

-- name: name_login
-- Sets the login for the next statement.
select set_config('signal_cloud.login', %(login)s, false);
