-- name: remove_trades
-- Deletes the trades of a test account.
delete from trades where account_id = %(account_id)s;

-- name: remove_trade_ids
-- Deletes the trade_ids of a test account.
delete from trade_ids where account_id = %(account_id)s;

-- name: remove_days
-- Deletes the counts of a test account's days.
delete from trade_days where account_id = %(account_id)s;

-- name: remove_figures
-- Deletes the figures of a test account's days.
delete from trade_day_figures where account_id = %(account_id)s;

-- name: remove_usage
-- Deletes what counts against the quotas of a test account.
delete from account_usage where account_id = %(account_id)s;

-- name: remove_suspicions
-- Deletes the suspicious trades of a test account.
delete from suspicious_trades where account_id = %(account_id)s;

-- name: remove_listed
-- Removes a test license from the list of licenses.
delete from license_list where license_id = %(license_id)s and account_id = %(account_id)s;

-- name: remove_misuse
-- Deletes what was counted of a test account's use.
delete from misuse_days where account_id = %(account_id)s;

-- name: remove_addresses
-- Deletes the hashes of the addresses that used the keys of a test account.
delete from misuse_addresses where account_id = %(account_id)s;
