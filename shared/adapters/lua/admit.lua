-- Admits a batch of requests: for each its license and the rate limit, and the cached confidences that
-- they ask for, in one call.
--
-- KEYS  for each request license:{hash} and rate:{hash}:window; then for each confidence that any of them
--       asks for its key and its lock
-- ARGV  window in microseconds, life of a confidence in ms, life of a lock in ms, lock token; one byte for
--       each request: the number of the confidence that it asks for, from 1, or 0; the tags, of 16 bytes
--       each (TAG_BYTES in shared/domain/access/admission.py), of the licenses that the requests' callers have
-- Returns four things. Numbers are packed, 32 bits each in little endian, for whoever reads them.
--       Of each request: limit, remaining, reset_us, life_ms; the limit is -1 where the license is not
--       cached, remaining is -1 where the request is refused.
--       Of each confidence: its age in ms where it is cached; -2 - n where the lock was free and the caller
--       is to compute it, on behalf of request n (from 0); -1 where somebody else does, or nobody who was
--       let through asked.
--       The values of the cached confidences.
--       The number and the license record of each request whose caller has another, by its tag.
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
local token = ARGV[4]
local asked_for = ARGV[5]
local tags = ARGV[6]
local count = #asked_for
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

-- Lets one request through if the limit allows: remaining (-1 if not), microseconds to more quota.
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
    return limit - count - 1, oldest - horizon + 1
  end
  -- More than `limit` are there when the license's limit was lowered meanwhile.
  if count > limit then
    oldest = tonumber(redis.call('LINDEX', key, count - limit))
  end
  return -1, oldest - horizon + 1
end

local values = {}

-- What `requester`, who was let through, finds of a confidence.
local function look_up(key, lock, requester)
  local value = redis.call('GET', key)
  if value then
    values[#values + 1] = value
    return math.max(0, confidence_ms - redis.call('PTTL', key))
  end
  if redis.call('SET', lock, token, 'NX', 'PX', lock_ms) then
    return -2 - requester
  end
  return -1
end

local requests, states, changed = {}, {}, {}
for i = 1, count do
  local key = KEYS[2 * i - 1]
  local record = redis.call('GET', key)
  local limit, remaining, reset, life = -1, -1, 0, 0
  if record then
    local allowance, tag = string.match(record, '^%d+ (%d+) (%x+) ')
    limit = tonumber(allowance)
    if limit > 0 then
      remaining, reset = take(KEYS[2 * i], limit)
    end
    life = redis.call('PTTL', key)
    if tag ~= string.sub(tags, 16 * i - 15, 16 * i) then
      changed[#changed + 1] = i - 1
      changed[#changed + 1] = record
    end
    local asked = string.byte(asked_for, i)
    if remaining >= 0 and asked > 0 and not states[asked] then
      local at = 2 * (count + asked)
      states[asked] = look_up(KEYS[at - 1], KEYS[at], i - 1)
    end
  end
  requests[i] = struct.pack('<i4i4i4i4', limit, remaining, reset, life)
end
for asked = 1, #KEYS / 2 - count do
  states[asked] = struct.pack('<i4', states[asked] or -1)
end
return {table.concat(requests), table.concat(states), values, changed}
