-- Decides about the sessions of one license: takes, renews, releases, ends or looks, in one step. The server
-- has one clock and runs scripts in one thread, so the decision holds over any number of processes.
--
-- KEYS  sessions:{license}, a hash of records by session id, each the JSON of a SessionRecord
--       (shared/domain/access/sessions.py). A record with `ended_ms` is kept only to refuse its renewals.
-- ARGV  operation, life of a lease in ms, life of an ended or expired record in ms, most ended records; then
--       take: places, 1 to take over or 0, new session id, the session id that the caller holds or '',
--             instance, version, public id of the key, symbols (separated by commas)
--       renew: session id, public id of the key or '', places or 0, copy (JSON) or ''. The copy restores a
--             session that Redis has lost.
--       release: session id, reason
--       end: public id of a key or '' for all, reason
--       look: nothing
-- Returns
--       take: 1, the record, ended records, 1 if the session was kept and lacks a symbol that it had, or 0;
--             or 0, the ms until a place may be free, the holders in the way
--       renew: the record, with `ended_ms` if the session is over, or '' if it is unknown
--       release: the live record as it was, or ''
--       end: the ids of the sessions that ended
--       look: the live records
--
-- For each symbol of a session, at most `places` live sessions cover it. A license has at most one session of
-- an instance. A session that has expired goes on if its places are still free when it is renewed.
-- Memory: about 300 bytes a session and 10 a symbol. The hash expires with the last of its records.

local key = KEYS[1]
local operation = ARGV[1]
local lease, kept, most_ended = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST = 5 -- of the arguments of the operation
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local records = {}

local function store(record)
  records[record.session_id] = record
  redis.call('HSET', key, record.session_id, cjson.encode(record))
  redis.call('PEXPIRE', key, lease + kept)
end

local function remove(id)
  records[id] = nil
  redis.call('HDEL', key, id)
end

local function is_open(record)
  return not record.ended_ms
end

local function is_live(record)
  return is_open(record) and record.expires_ms > now
end

local function covers(record, symbol)
  for _, covered in ipairs(record.symbols) do
    if covered == symbol then
      return true
    end
  end
  return false
end

-- Ends a record, and forgets the oldest ended ones if there are too many.
local function finish(record, reason, by)
  record.ended_ms = now
  record.reason = reason
  record.by = by
  store(record)
  local count, oldest = 0, nil
  for _, other in pairs(records) do
    if other.ended_ms then
      count = count + 1
      if not oldest or other.ended_ms < oldest.ended_ms then
        oldest = other
      end
    end
  end
  if count > most_ended then
    remove(oldest.session_id)
  end
end

-- The live sessions that cover a symbol, the one that expires first at the front; without the session `own`.
local function holders(symbol, own)
  local found = {}
  for id, record in pairs(records) do
    if id ~= own and is_live(record) and covers(record, symbol) then
      found[#found + 1] = record
    end
  end
  table.sort(found, function(one, other)
    if one.expires_ms ~= other.expires_ms then
      return one.expires_ms < other.expires_ms
    end
    return one.session_id < other.session_id
  end)
  return found
end

-- For the symbols whose places others hold: the holders that must end, and the ms until they may have expired.
local function in_the_way(symbols, places, own)
  local found, listed, wait = {}, {}, 0
  for _, symbol in ipairs(symbols) do
    local others = holders(symbol, own)
    for i = 1, #others - places + 1 do
      local record = others[i]
      wait = math.max(wait, record.expires_ms - now)
      if not listed[record.session_id] then
        listed[record.session_id] = true
        found[#found + 1] = record
      end
    end
  end
  return found, wait
end

local function of_instance(instance)
  for _, record in pairs(records) do
    if is_open(record) and record.instance == instance then
      return record
    end
  end
  return nil
end

local function encoded(list)
  local texts = {}
  for i, record in ipairs(list) do
    texts[i] = cjson.encode(record)
  end
  return texts
end

-- The record that a field holds; the clock may have been set back since.
local function decoded(text)
  local record = cjson.decode(text)
  record.expires_ms = math.min(record.expires_ms, now + lease)
  return record
end

-- Whether nothing needs the record any more.
local function is_stale(record)
  return (record.ended_ms or record.expires_ms) + kept < now
end

-- Reads all records, and removes those that nothing needs any more.
local is_loaded = false
local function load()
  if is_loaded then
    return
  end
  is_loaded = true
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local record = decoded(flat[i + 1])
    if is_stale(record) then
      redis.call('HDEL', key, flat[i])
    else
      records[flat[i]] = record
    end
  end
end

local function take()
  local places, force = tonumber(ARGV[FIRST]), ARGV[FIRST + 1] == '1'
  local new_id, former = ARGV[FIRST + 2], ARGV[FIRST + 3]
  local instance, version, public_id = ARGV[FIRST + 4], ARGV[FIRST + 5], ARGV[FIRST + 6]
  local symbols = {}
  for symbol in string.gmatch(ARGV[FIRST + 7], '[^,]+') do
    symbols[#symbols + 1] = symbol
  end
  local own = of_instance(instance)
  local others, wait = in_the_way(symbols, places, own and own.session_id)
  if #others > 0 and not force then
    return {0, wait, encoded(others)}
  end
  for _, record in ipairs(others) do
    finish(record, 'taken_over', instance)
  end
  local id, since, dropped = new_id, now, 0
  if own and own.session_id == former then
    id, since = own.session_id, own.since_ms
    for _, symbol in ipairs(own.symbols) do
      if not covers({symbols = symbols}, symbol) then
        dropped = 1
      end
    end
  elseif own then
    finish(own, 'replaced', instance)
    others[#others + 1] = own
  end
  local record = {
    session_id = id,
    instance = instance,
    version = version,
    public_id = public_id,
    places = places,
    symbols = symbols,
    since_ms = since,
    expires_ms = now + lease,
  }
  store(record)
  return {1, cjson.encode(record), encoded(others), dropped}
end

-- Renews one session; returns its record as JSON. A live one costs no look at the others.
local function renew(id, public_id, places, copy)
  local text = redis.call('HGET', key, id)
  local record = text and decoded(text)
  if not record or is_stale(record) then
    if copy == '' then
      return ''
    end
    record = cjson.decode(copy)
    record.expires_ms = 0
  end
  if not is_open(record) then
    return text
  end
  if places > 0 then
    record.places = places
  end
  if not is_live(record) then
    load()
    local same = of_instance(record.instance)
    local others = in_the_way(record.symbols, record.places, id)
    if same and same.session_id ~= id then
      finish(record, 'replaced', same.instance)
      return cjson.encode(record)
    elseif #others > 0 then
      finish(record, 'expired', others[1].instance)
      return cjson.encode(record)
    end
  end
  if public_id ~= '' then
    record.public_id = public_id
  end
  record.expires_ms = now + lease
  store(record)
  return cjson.encode(record)
end

if operation == 'renew' then
  return renew(ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), ARGV[FIRST + 3])
end

load()

if operation == 'take' then
  return take()
end

local answers = {}

if operation == 'release' then
  local record = records[ARGV[FIRST]]
  if not record or not is_live(record) then
    return ''
  end
  local text = cjson.encode(record)
  finish(record, ARGV[FIRST + 1], '')
  return text
end

if operation == 'end' then
  local ending = {}
  for id, record in pairs(records) do
    if is_open(record) and (ARGV[FIRST] == '' or record.public_id == ARGV[FIRST]) then
      ending[#ending + 1] = record
      answers[#answers + 1] = id
    end
  end
  for _, record in ipairs(ending) do
    finish(record, ARGV[FIRST + 1], '')
  end
  return answers
end

-- look
for _, record in pairs(records) do
  if is_live(record) then
    answers[#answers + 1] = cjson.encode(record)
  end
end
return answers
