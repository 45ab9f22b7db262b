-- Caches a license record unless Redis holds a later revision, so that a slow reader of the key store never
-- undoes a revocation. Storing the same revision again renews its life.
--
-- KEYS  license:{hash}
-- ARGV  revision, record, life in ms
-- Returns 1 if stored, else 0.

local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
