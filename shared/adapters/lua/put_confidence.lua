-- Caches a confidence and lets go of its lock if the caller holds it.
--
-- KEYS  the confidence's key, its lock
-- ARGV  value, life in ms, lock token (empty for none)

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
return 1
