-- Admits a batch of requests in one call: reads each one's license, applies its rate limit, and looks up the
-- cached confidences that the requests ask for.
--
-- KEYS  for each request: license:{hash} and rate:{hash}:window; then for each confidence that any request
--       asks for: its key and its lock
-- ARGV  window in microseconds, life of a confidence in ms, life of a lock in ms, lock token, costs; then for
--       each request: the tag (shared/domain/access/admission.py) of the license record that its caller holds,
--       and the number of the confidence that it asks for, from 1, or 0 for none. The costs are those of
--       requests that cost more than one unit, such as "2=5-0,7=10-1" for the second and the seventh; the seventh
--       has paid one of its ten units before.
-- Returns two lists.
--       For each request: limit, remaining, reset_us, life_ms, record. The limit is -1 if the license is not
--       cached, remaining is -1 - n if the request is refused while n units are left, the record is nil if the
--       caller holds it.
--       For each confidence: outcome, value. The outcome is the age in ms if the confidence is cached; -2 - n if
--       the lock was free and the caller must compute it, on behalf of request n (from 0); -1 if another
--       process computes it, or if every request that asked for it was refused.
--
-- The limit is a log of the times of the admitted units, at most `limit` long, oldest first. A request of n units
-- takes n places or none: it is admitted while at most `limit` - n of them are within the window, both ends
-- included. That is exact in every window. It holds for all processes, because the server has one clock and runs
-- scripts in one thread. A request that costs more than the whole limit takes the whole limit.
-- Memory: 10 bytes per request in the window and about 120 per key, its name included. On Valkey 9, MEMORY
-- USAGE reports 1,120 bytes at 100 requests, 100,848 at 10,000. The log expires one window after the last
-- request.

local window = tonumber(ARGV[1])
local window_ms = math.ceil(window / 1000) + 1
local confidence_ms = tonumber(ARGV[2])
local lock_ms = ARGV[3]
local token = ARGV[4]
local costs = ARGV[5]
local FIRST = 6 -- of the arguments of requests
local count = (#ARGV - FIRST + 1) / 2
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local horizon = now - window

-- Removes the requests before the horizon, and returns how many are left. The oldest must be before the
-- horizon. Its strides double, so that a long log of old requests takes few steps.
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

-- Admits one request of `cost` units, of which `paid` were taken before, if the limit allows. Returns remaining
-- (below 0 if refused), and the microseconds to more quota, or until a refused request has room. A refused request
-- that comes again pays all its units, beside those that it has paid now.
local function take(key, limit, cost, paid)
  local count = redis.call('LLEN', key)
  local oldest = now
  if count > 0 then
    oldest = tonumber(redis.call('LINDEX', key, 0))
    if oldest > now + window then
      -- The clock was set back by more than a window: these times would block the key for that long.
      redis.call('DEL', key)
      count, oldest = 0, now
    elseif oldest < horizon then
      count = forget_old(key, count)
      oldest = count > 0 and tonumber(redis.call('LINDEX', key, 0)) or now
    end
  end
  if cost > limit then
    cost = limit
  end
  local excess = count + cost - paid - limit
  if excess <= 0 then
    for _ = 1, cost - paid do
      redis.call('RPUSH', key, now)
    end
    redis.call('PEXPIRE', key, window_ms)
    return -excess, oldest - horizon + 1
  end
  -- The log is longer than `limit` if the license's limit was lowered since.
  if excess + paid > 1 then
    oldest = tonumber(redis.call('LINDEX', key, excess + paid - 1))
  end
  return -1 - math.max(0, limit - count), oldest - horizon + 1
end

-- Looks up a confidence for the admitted request `requester`; returns its outcome and value.
local function look_up(key, lock, requester)
  local value = redis.call('GET', key)
  if value then
    return {math.max(0, confidence_ms - redis.call('PTTL', key)), value}
  end
  if redis.call('SET', lock, token, 'NX', 'PX', lock_ms) then
    return {-2 - requester, false}
  end
  return {-1, false}
end

local cost_of, paid_of = {}, {}
if costs ~= '' then
  for request, cost, paid in string.gmatch(costs, '(%d+)=(%d+)-(%d+)') do
    cost_of[tonumber(request)] = tonumber(cost)
    paid_of[tonumber(request)] = tonumber(paid)
  end
end

local requests, confidences = {}, {}
for i = 1, count do
  local key = KEYS[2 * i - 1]
  local record = redis.call('GET', key)
  local limit, remaining, reset, life = -1, -1, 0, 0
  if record then
    local allowance, tag = string.match(record, '^%d+ (%d+) (%x+) ')
    limit = tonumber(allowance)
    if limit > 0 then
      remaining, reset = take(KEYS[2 * i], limit, cost_of[i] or 1, paid_of[i] or 0)
    end
    life = redis.call('PTTL', key)
    if tag == ARGV[FIRST + 2 * i - 2] then
      record = false
    end
    local asked = tonumber(ARGV[FIRST + 2 * i - 1])
    if remaining >= 0 and asked > 0 and not confidences[asked] then
      local at = 2 * (count + asked)
      confidences[asked] = look_up(KEYS[at - 1], KEYS[at], i - 1)
    end
  end
  requests[i] = {limit, remaining, reset, life, record}
end
for asked = 1, #KEYS / 2 - count do
  confidences[asked] = confidences[asked] or {-1, false}
end
return {requests, confidences}
