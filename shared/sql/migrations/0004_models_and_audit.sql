create table models (
    version text primary key check (length(version) between 1 and 128),
    strategy text not null check (length(strategy) between 1 and 64),
    status text not null check (status in ('candidate', 'champion', 'challenger', 'retired')),
    basis text not null check (basis in ('model', 'base_rate')),
    artefact bytea,
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    created_at timestamptz not null,
    check (basis = 'base_rate' or artefact is not null)
);
comment on index models_pkey is 'Prevents a model version from meaning two models.';

create unique index models_champion on models (strategy) where status = 'champion';
comment on index models_champion is 'Prevents two models of one strategy from being served at once.';

create index models_strategy on models (strategy, created_at);

-- Who changed what; rows are only ever added.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null check (length(actor) between 1 and 128),
    action text not null check (length(action) between 1 and 64),
    subject text not null check (length(subject) between 1 and 256),
    detail jsonb not null check (jsonb_typeof(detail) = 'object')
);
comment on index audit_pkey is 'Prevents two entries from being taken for one.';

grant select on models to signal_functions;
grant select, insert on models to signal_jobs;
grant update (status) on models to signal_jobs;
grant insert on audit to signal_functions, signal_jobs;
