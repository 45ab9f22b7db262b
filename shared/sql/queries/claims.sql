-- name: use
-- Marks a claim link as used until the end of the transaction; no row if it was used before. A second use waits for the first.
insert into claims_used (license_id, purpose, issued_at)
values (%(license_id)s, %(purpose)s, %(issued_at)s)
on conflict do nothing
returning used_at;

-- name: used_at
-- When a claim link was used.
select used_at
from claims_used
where license_id = %(license_id)s and purpose = %(purpose)s and issued_at = %(issued_at)s;

-- name: licenses_of_mail
-- The listed licenses whose holder has a mail address, which is given in lower case.
select document
from license_list
where email = %(email)s
order by license_id
limit %(limit)s;
