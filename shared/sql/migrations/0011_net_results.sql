-- A trade wins if its pnl exceeds its fees, and an account can withdraw a trade.

-- The only column of a trade that ever changes: an account can withdraw its trade, and it stays stored.
alter table trades add column withdrawn_at timestamptz;
grant update (withdrawn_at) on trades to signal_functions;

-- The number of trades that the figures of the day were computed from, net of fees; if it differs from `trades`, the
-- figures are computed again. It begins at 0, so the next performance computes every day again. To set `stale`
-- would not do: the version that is live during this migration would compute the figures before fees, and clear it.
alter table trade_days add column counted bigint not null default 0;
create index trade_days_uncounted on trade_days (account_id, day) where counted <> trades;
