-- Finds the licenses of a holder who has lost the keys. A column, because row-level security lets no index of an
-- expression be used.
alter table license_list add column email text generated always as (lower(document ->> 'email')) stored;
create index license_list_email on license_list (email) where email is not null;

-- A test license is removed from the list, too, when it has ended.
create policy test_licenses on license_list to signal_jobs using (plan = 'test');
grant select, delete on license_list to signal_jobs;
