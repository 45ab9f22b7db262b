-- name: write
-- Adds an entry: the actor, the action and its subject.
insert into audit (actor, action, subject, detail)
values (%(actor)s, %(action)s, %(subject)s, %(detail)s);
