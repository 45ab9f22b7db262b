-- Admits a batch of requests: for each its license, the rate limit and a cached confidence, in one call.
--
-- KEYS  for each request: license:{hash}, rate:{hash}:window, then, where its token is not empty,
--       the confidence's key and its lock
-- ARGV  window in microseconds, life of a confidence in ms, life of a lock in ms, then for each request
--       its lock token, empty where no confidence is asked for
-- Returns for each request {record, allowed, limit, remaining, reset_us, value, age_ms, leading, life_ms};
--       {} where the license is not cached, {record} where it allows nothing (its limit is 0).
--
-- The limit is a log of the times of the requests that were let through, at most `limit` long, oldest
-- first: a request passes while fewer than `limit` of them lie within the window, both ends included.
-- That is exact in every window, and one server's clock and one thread make it so for all processes.
-- Memory: 10 bytes a request in the window and about 120 a key, its name included: on Valkey 9 MEMORY
-- USAGE says 1,120 bytes at 100 requests, 100,848 at 10,000. It ends one window after the last request.

local window = tonumber(ARGV[1])
local window_ms = math.ceil(window / 1000) + 1
local confidence_ms = tonumber(ARGV[2])
local lock_ms = ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local horizon = now - window

-- Forgets the requests before the horizon, of which the oldest is one, and returns how many are left.
-- It gallops, so that a long log that ran out costs few steps.
local function forget_old(key, count)
  local old, stride = 1, 1
  while stride >= 1 do
    local reach = old + stride
    if reach <= count and tonumber(redis.call('LINDEX', key, reach - 1)) < horizon then
      old = reach
      stride = stride * 2
    else
      stride = math.floor(stride / 2)
    end
  end
  redis.call('LTRIM', key, old, -1)
  return count - old
end

-- Lets one request through if the limit allows: allowed (1 or 0), remaining, microseconds to more quota.
local function take(key, limit)
  local count = redis.call('LLEN', key)
  local oldest = now
  if count > 0 then
    oldest = tonumber(redis.call('LINDEX', key, 0))
    if oldest > now + window then
      -- The clock was set back by more than a window: these times would lock the key for as long.
      redis.call('DEL', key)
      count, oldest = 0, now
    elseif oldest < horizon then
      count = forget_old(key, count)
      oldest = count > 0 and tonumber(redis.call('LINDEX', key, 0)) or now
    end
  end
  if count < limit then
    redis.call('RPUSH', key, now)
    redis.call('PEXPIRE', key, window_ms)
    return 1, limit - count - 1, oldest - horizon + 1
  end
  -- More than `limit` are there when the license's limit was lowered meanwhile.
  if count > limit then
    oldest = tonumber(redis.call('LINDEX', key, count - limit))
  end
  return 0, 0, oldest - horizon + 1
end

-- The cached confidence and its age, or whether this caller is the one to compute it.
local function look_up(key, lock, token)
  local value = redis.call('GET', key)
  if value then
    return value, math.max(0, confidence_ms - redis.call('PTTL', key)), 0
  end
  if redis.call('SET', lock, token, 'NX', 'PX', lock_ms) then
    return false, 0, 1
  end
  return false, 0, 0
end

local answers = {}
local k = 1
for i = 4, #ARGV do
  local token = ARGV[i]
  local record = redis.call('GET', KEYS[k])
  local answer = {}
  if record then
    local limit = tonumber(string.match(record, '^%d+ (%d+) '))
    if limit == 0 then
      answer = {record}
    else
      local allowed, remaining, reset = take(KEYS[k + 1], limit)
      local value, age, leading = false, 0, 0
      if allowed == 1 and token ~= '' then
        value, age, leading = look_up(KEYS[k + 2], KEYS[k + 3], token)
      end
      answer = {record, allowed, limit, remaining, reset, value, age, leading, redis.call('PTTL', KEYS[k])}
    end
  end
  answers[#answers + 1] = answer
  k = k + (token == '' and 2 or 4)
end
return answers
