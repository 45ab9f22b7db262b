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
-- Whether a login exists, may log in, and has more rights than the roles; and the roles that it can take.
select
    rolcanlogin as can_login,
    rolsuper or rolbypassrls as is_above_security,
    array(
        select wanted.rolname::text from pg_roles as wanted
        where wanted.rolname in ('signal_functions', 'signal_jobs')
            and pg_has_role(logins.oid, wanted.oid, 'set')
        order by wanted.rolname
    ) as roles
from pg_roles as logins
where rolname = %(login)s;

-- name: entra_function
-- Whether Entra ID logins can be created in this database: on Azure, only in the database postgres.
select to_regproc('pgaadauth_create_principal_with_oid') is not null;

-- name: create_entra_login
-- Creates the login of a managed identity or an application: no administrator, without multi-factor sign-in.
select pgaadauth_create_principal_with_oid(%(login)s, %(object_id)s, 'service', false, false);

-- name: grant_role
-- Lets a login take one role, without inheriting its rights, and takes the other role from it.
do $$
declare
    login text := current_setting('signal_cloud.login');
    wanted text := current_setting('signal_cloud.role');
    other text := case wanted when 'signal_jobs' then 'signal_functions' else 'signal_jobs' end;
begin
    execute format('grant %I to %I with inherit false, set true', wanted, login);
    if pg_has_role(login, other, 'member') then
        execute format('revoke %I from %I', other, login);
    end if;
end
$$;

-- name: make_login
-- Makes a login with a password, or gives it this password; for servers that Entra ID does not protect.
do $$
declare
    login text := current_setting('signal_cloud.login');
begin
    if not exists (select from pg_roles where rolname = login) then
        execute format('create role %I', login);
    end if;
    execute format(
        'alter role %I login noinherit nosuperuser nocreaterole nocreatedb password %L',
        login, current_setting('signal_cloud.password')
    );
end
$$;

-- name: forget_password
-- Removes the password from the session's settings.
select set_config('signal_cloud.password', '', false);

-- name: name_login
-- Sets the login, its role and its password for the next statements.
select
    set_config('signal_cloud.login', %(login)s, false),
    set_config('signal_cloud.role', %(role)s, false),
    set_config('signal_cloud.password', %(password)s, false);
