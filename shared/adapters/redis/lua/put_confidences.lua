-- Caches confidences and releases each one's lock if the caller holds it.
--
-- KEYS  for each confidence: its key, its lock
-- ARGV  life in ms, then for each confidence its value and its lock token (empty for none)

for i = 1, #KEYS, 2 do
  redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ARGV[1])
  local token = ARGV[i + 2]
  if token ~= '' and redis.call('GET', KEYS[i + 1]) == token then
    redis.call('DEL', KEYS[i + 1])
  end
end
return 1
