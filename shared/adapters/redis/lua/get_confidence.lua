-- Reads a confidence for a request that waits for another process's evaluation.
--
-- KEYS  its key, its lock
-- Returns whether the lock is held (1 or 0), the value or nil, the value's life in ms

return {redis.call('EXISTS', KEYS[2]), redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
