-- name: write
-- Adds what was done, by whom and to what.
insert into audit (actor, action, subject, detail)
values (%(actor)s, %(action)s, %(subject)s, %(detail)s);
