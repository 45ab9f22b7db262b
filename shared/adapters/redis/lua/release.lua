-- Releases a lock if the caller holds it; returns 1 if so, else 0.
--
-- KEYS  the lock
-- ARGV  lock token

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
