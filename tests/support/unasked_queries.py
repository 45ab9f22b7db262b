"""Names the queries whose plan is not shown, with the reason, and those that timers run."""

NOT_EXPLAINED = {
    "session.enter": "reads no table",
    "session.in_recovery": "reads no table",
    "performance.take_turn": "reads no table",
    "connections.lock_licenses": "reads no table",
    "connections.unchecked": "reads every open connection, once in 20 seconds",
    "connections.connected_sessions": "reads every open connection, once in 20 seconds",
    "outbox.wait_at_most": "reads no table",
    "signals.lock_publisher": "reads no table",
    "outbox.lock_batch": "reads no table",
    "trades.ensure_partitions": "reads the catalogue, by name",
    "upkeep.make_partitions": "reads the catalogue, by name",
    "migrations.lock_migrations": "reads no table",
    "migrations.limit_migration": "reads no table",
    "migrations.ensure_roles": "reads the catalogue, by name",
    "migrations.is_migrated": "reads the catalogue, by name",
    "migrations.applied_migrations": "one row a migration, once a start",
    "migrations.record_migration": "one row a migration",
}
RUN_BY_HAND = {
    "restore": "reads whole tables, in a drill, under its own time limit",
    "logins": "reads the catalogue, once a deployment",
    "failover": "reads a table with a row for each symbol, once after a promotion",
}
JOBS = {
    "training.signals_to_settle",
    "training.settle",
    "training.outcomes",
    "training.reported",
    "suspicions.find",
    "suspicions.forget",
    "connections.prune_used_urls",
    "models.add_model",
    "models.lock_strategy",
    "models.retire_champion",
    "models.crown",
}
