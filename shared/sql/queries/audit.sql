-- name: write
-- Adds an entry: the action and its subject, under this session's login and a note on who used it.
select write_audit(%(note)s, %(action)s, %(subject)s, %(detail)s);
