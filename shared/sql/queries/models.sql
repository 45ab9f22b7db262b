-- name: champion
-- A strategy's champion.
select version, strategy, status, basis, artefact, document, created_at
from models
where strategy = %(strategy)s and status = 'champion';

-- name: list_models
-- All versions, or those of a strategy, newest first, without their artefacts.
select version, strategy, status, basis, null::bytea as artefact, document, created_at
from models
where %(strategy)s::text is null or strategy = %(strategy)s
order by created_at desc, version
limit %(limit)s;

-- name: add_model
-- Stores a new version; an existing one stays as it is.
insert into models (version, strategy, status, basis, artefact, document, created_at)
values (%(version)s, %(strategy)s, %(status)s, %(basis)s, %(artefact)s, %(document)s, %(created_at)s)
on conflict (version) do nothing;

-- name: lock_strategy
-- Lets one promotion at a time change a strategy, until the end of the transaction.
select pg_advisory_xact_lock(hashtext('signal_cloud.models'), hashtext(strategy))
from models
where version = %(version)s;

-- name: retire_champion
-- Retires the champion of a version's strategy, unless it is that version.
update models set status = 'retired'
where status = 'champion'
    and strategy = (select strategy from models where version = %(version)s)
    and version <> %(version)s
returning strategy, version;

-- name: crown
-- Makes a version its strategy's champion; no row if it is.
update models set status = 'champion' where version = %(version)s and status <> 'champion'
returning strategy, version, basis;
