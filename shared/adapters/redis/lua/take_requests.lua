-- Admits a batch of requests in one call: reads each one's license, applies its rate limits, and looks up the
-- cached confidences that the requests ask for.
--
-- KEYS  for each request: license:{hash} and rate:{hash}:window; then for each confidence that any request
--       asks for: its key and its lock. A license with a limit over all its keys has one more log,
--       rate:license:{id}:window, whose name only its record says; the server has one shard.
-- ARGV  window and burst window in microseconds, life of a confidence in ms, life of a lock in ms, lock token,
--       costs; then for each request: the tag (shared/domain/access/admission.py) of the license record that its
--       caller holds, and the number of the confidence that it asks for, from 1, or 0 for none. The costs are
--       those of requests that cost more than one unit, such as "2=5-0,7=10-1" for the second and the seventh; the
--       seventh has paid one of its ten units before.
-- Returns two lists.
--       For each request: limit, remaining, reset_us, life_ms, record. The limit is -1 if the license is not
--       cached, remaining is -1 - n if the request is refused while n units are left, the record is nil if the
--       caller holds it. If the license has more limits than the key's, six more: which limit refuses longest
--       (0 none, 1 the key's, 2 the burst's, 3 the license's), the burst limit and its reset_us, the license's
--       limit, remaining and reset_us.
--       For each confidence: outcome, value. The outcome is the age in ms if the confidence is cached; -2 - n if
--       the lock was free and the caller must compute it, on behalf of request n (from 0); -1 if another
--       process computes it, or if every request that asked for it was refused.
--
-- A limit is a log of the times of the admitted units, at most `limit` long, oldest first. A request of n units
-- takes n places or none: it is admitted while at most `limit` - n of them are within the window, both ends
-- included. That is exact in every window. It holds for all processes, because the server has one clock and runs
-- scripts in one thread. A request that costs more than the whole limit takes the whole limit. The key's log
-- serves two limits, that of the window and that of the burst window; a request takes its units from the key's
-- log and the license's, or from none.
-- Memory: 10 bytes per request in the window and about 120 per log, its name included. On Valkey 9, MEMORY
-- USAGE reports 1,120 bytes at 100 requests, 100,848 at 10,000. The log expires one window after the last
-- request.

local window = tonumber(ARGV[1])
local window_ms = math.ceil(window / 1000) + 1
local burst_window = tonumber(ARGV[2])
local confidence_ms = tonumber(ARGV[3])
local lock_ms = ARGV[4]
local token = ARGV[5]
local costs = ARGV[6]
local FIRST = 7 -- of the arguments of requests
-- The revision, the limits and the tag of a record end before this byte; the license behind them is long, and most
-- callers hold it.
local HEAD = 127
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

-- Returns how many units the log has within the window, and the time of the oldest (now if there is none).
local function measure(key)
  local count = redis.call('LLEN', key)
  if count == 0 then
    return 0, now
  end
  local oldest = tonumber(redis.call('LINDEX', key, 0))
  if oldest > now + window then
    -- The clock was set back by more than a window: these times would block the key for that long.
    redis.call('DEL', key)
    return 0, now
  end
  if oldest < horizon then
    count = forget_old(key, count)
    oldest = count > 0 and tonumber(redis.call('LINDEX', key, 0)) or now
  end
  return count, oldest
end

local function push(key, units)
  for _ = 1, units do
    redis.call('RPUSH', key, now)
  end
  redis.call('PEXPIRE', key, window_ms)
end

-- Returns the microseconds until a refused request has room, of whose units `excess` + `paid` must leave. A
-- refused request that comes again pays all its units, beside those that it has paid now. The log is longer than
-- its limit if the license's limit was lowered since.
local function wait(key, oldest, excess, paid)
  if excess + paid > 1 then
    oldest = tonumber(redis.call('LINDEX', key, excess + paid - 1))
  end
  return oldest - horizon + 1
end

-- Admits one request of `cost` units, of which `paid` were taken before, if the limit allows. Returns remaining
-- (below 0 if refused), and the microseconds to more quota, or until a refused request has room.
local function take(key, limit, cost, paid)
  local count, oldest = measure(key)
  cost = math.min(cost, limit)
  local excess = count + cost - paid - limit
  if excess <= 0 then
    push(key, cost - paid)
    return -excess, oldest - horizon + 1
  end
  return -1 - math.max(0, limit - count), wait(key, oldest, excess, paid)
end

-- Returns the microseconds until the burst limit has room for the request, 0 if it has now.
local function burst_wait(key, limit, cost, paid)
  cost = math.min(cost, limit)
  -- The oldest unit that may be in the burst window beside those of the request.
  local last = redis.call('LINDEX', key, cost - paid - limit - 1)
  if not last or tonumber(last) < now - burst_window then
    return 0
  end
  last = redis.call('LINDEX', key, cost - limit - 1) or last
  return tonumber(last) + burst_window - now + 1
end

-- As `take`, for a license with more limits; also returns the six values that describe these.
local function take_from_all(key, limit, burst, license_limit, license_id, cost, paid)
  local license_key = 'rate:license:{' .. license_id .. '}:window'
  local count, oldest = measure(key)
  cost = math.min(cost, limit)
  local excess = count + cost - paid - limit
  local reset, refused, longest = oldest - horizon + 1, 0, 0
  if excess > 0 then
    reset = wait(key, oldest, excess, paid)
    refused, longest = 1, reset
  end
  local burst_reset = burst > 0 and burst_wait(key, burst, cost, paid) or 0
  if burst_reset > longest then
    refused, longest = 2, burst_reset
  end
  local license_left, license_reset = 0, 0
  local units = math.min(cost, license_limit) - paid
  if license_limit > 0 then
    local license_count, license_oldest = measure(license_key)
    local license_excess = license_count + units - license_limit
    license_left, license_reset = license_limit - license_count, license_oldest - horizon + 1
    if license_excess > 0 then
      license_reset = wait(license_key, license_oldest, license_excess, paid)
      if license_reset > longest then
        refused = 3
      end
    end
  end
  if refused > 0 then
    local left = math.max(0, limit - count)
    return -1 - left, reset, {refused, burst, burst_reset, license_limit, math.max(0, license_left), license_reset}
  end
  push(key, cost - paid)
  if license_limit > 0 then
    push(license_key, units)
    license_left = license_left - units
  end
  return -excess, reset, {0, burst, 0, license_limit, license_left, license_reset}
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
  local head = redis.call('GETRANGE', key, 0, HEAD)
  local record = false
  local limit, remaining, reset, life, more = -1, -1, 0, 0, nil
  if head ~= '' then
    local allowance, others, tag = string.match(head, '^%d+ (%d+)(%S*) (%x+) ')
    limit = tonumber(allowance)
    if limit > 0 then
      local cost, paid = cost_of[i] or 1, paid_of[i] or 0
      if others == '' then
        remaining, reset = take(KEYS[2 * i], limit, cost, paid)
      else
        local burst, license_limit, license_id = string.match(others, '^/(%d+)/(%d+)/(.+)$')
        remaining, reset, more = take_from_all(
          KEYS[2 * i], limit, tonumber(burst), tonumber(license_limit), license_id, cost, paid
        )
      end
    end
    life = redis.call('PTTL', key)
    if tag ~= ARGV[FIRST + 2 * i - 2] then
      record = redis.call('GET', key)
    end
    local asked = tonumber(ARGV[FIRST + 2 * i - 1])
    if remaining >= 0 and asked > 0 and not confidences[asked] then
      local at = 2 * (count + asked)
      confidences[asked] = look_up(KEYS[at - 1], KEYS[at], i - 1)
    end
  end
  local row = {limit, remaining, reset, life, record}
  if more then
    for place = 1, 6 do
      row[5 + place] = more[place]
    end
  end
  requests[i] = row
end
for asked = 1, #KEYS / 2 - count do
  confidences[asked] = confidences[asked] or {-1, false}
end
return {requests, confidences}
