-- Streams: which entries are stored, and what others are answered (ports/streams.py has the order of the checks).
--
-- An entry, as backends/redis/encoding.py makes it: {stream, data, meta, retention, asks}; asks, where there are
-- any: {key, version, expected, keyed, expected_keyed, wrong, transient, also}, each of them false if there is none.

local HOUR_MS = 3600000
local KEY = '>I8I8'
local UNKEEPABLE = '!'

local function refused(code, message)
  return nil, {code, message}
end

-- Idempotency keys ----------------------------------------------------------------------------

-- Return when a key is forgotten: whole hours are, with their window.
local function key_ends(time, window)
  return (math.floor(time / HOUR_MS) + 1) * HOUR_MS + window
end

-- Return what was answered under a key; a refusal if that was another payload.
local function held(s, key)
  local name, payload, window = key[1], key[2], key[3]
  s.held = s.held or {}
  local answer = s.held[name]
  if answer == nil then
    answer = false
    -- GET: whether the key is held.
    local text = redis.call('GET', s.p .. ':k:' .. name)
    if text then
      local offset, time = struct.unpack(KEY, string.sub(text, 17, 32))
      if key_ends(time, window) > s.aged then
        answer = {payload = string.sub(text, 1, 16), told = {string.sub(text, 33), offset, time, 0, false}}
      end
    end
    s.held[name] = answer
  end
  if not answer then return nil end
  if answer.payload ~= payload then
    return refused('key_conflict', 'the idempotency key belongs to another payload')
  end
  return answer.told
end

-- Count anew which keys are held, by their hours.
local function recount(s, key, window)
  local total, ends = 0, 0
  -- HGETALL: some tens of hours at most.
  local counts = redis.call('HGETALL', key)
  for i = 1, #counts, 2 do
    local hour = tonumber(string.match(counts[i], '^h(%d+)$'))
    if hour then
      local gone = key_ends(hour * HOUR_MS, window)
      if gone <= s.aged then
        s.hours_gone[#s.hours_gone + 1] = counts[i]
      else
        total = total + tonumber(counts[i + 1])
        ends = ends == 0 and gone or math.min(ends, gone)
      end
    end
  end
  return total, ends
end

-- Return how many keys are held.
local function keys_held(s, window)
  if not s.keys_held then
    s.hours_gone = {}
    local key = s.p .. ':kn'
    -- HMGET: how many, and until when that is so.
    local kept = redis.call('HMGET', key, 'n', 'until')
    s.keys_held, s.keys_until = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
    if s.keys_until <= s.aged and kept[1] then s.keys_held, s.keys_until = recount(s, key, window) end
  end
  return s.keys_held
end

-- Hold a key with its answer.
local function hold(s, key, told)
  local name = key[1]
  s.holding = s.holding or {}
  local i = #s.holding + 1
  if s.undo then
    store.undoing(s, function() s.held[name], s.holding[i], s.keys_held = false, nil, s.keys_held - 1 end)
  end
  s.held[name] = {payload = key[2], told = {told[1], told[2], told[3], 0, false}}
  s.holding[i] = {name, key[2] .. struct.pack(KEY, told[2], told[3]) .. told[1], key[3]}
  s.keys_held = keys_held(s, key[3]) + 1
end

-- Message ids of jobs are such keys too.
streams.key_held, streams.keys_held, streams.hold_key = held, keys_held, hold

-- Write the keys of this function.
function streams.save_keys(s)
  local count = #s.holding
  if count == 0 then return end
  local ends = key_ends(s.now, s.holding[1][3])
  for _, one in ipairs(s.holding) do
    -- SET: it ends by itself; whether it holds is compared.
    redis.call('SET', s.p .. ':k:' .. one[1], one[2], 'PX', key_ends(s.now, one[3]) - s.now)
  end
  local key = s.p .. ':kn'
  -- HDEL: hours that have ended.
  if #s.hours_gone > 0 then redis.call('HDEL', key, unpack(s.hours_gone)) end
  local ends_first = s.keys_until > s.aged and math.min(s.keys_until, ends) or ends
  -- HINCRBY, HSET: how many are held.
  redis.call('HINCRBY', key, 'h' .. math.floor(s.now / HOUR_MS), count)
  redis.call('HSET', key, 'n', s.keys_held, 'until', ends_first)
end

-- Conditions ----------------------------------------------------------------------------------

-- Return the answer to an entry that is older than what its stream has.
local function stale(s, h, version)
  if version[1] == UNKEEPABLE then
    return refused('bad_request', 'the version is out of range, or its epoch is too long')
  end
  if version[1] <= h.version and (version[2] == '' or version[2] == h.version_epoch) then
    return {s.epoch, h.last, s.now, 0, false}
  end
end

local function unexpected(s, h, asks)
  local expected, keyed = asks[3], asks[4]
  if expected then
    local ends = expected[2] == h.last
    local holds = ends and store.holds(s, expected[1], expected[2], h.floor, h.last, streams.lineage(s, h))
    if ends and holds == nil then return refused('unavailable', streams.UNSETTLED) end
    if not holds then return refused('position_conflict', 'the stream ends at ' .. h.last) end
  end
  if asks[5] then
    local last = streams.last_keyed(s, h, keyed)
    if last ~= asks[5] then
      return refused('position_conflict', "the last message with key '" .. keyed .. "' is at " .. last)
    end
  end
end

-- Limits --------------------------------------------------------------------------------------

-- Return how many bytes an entry's group gains by it, and by its stream if that joins.
local function grows(s, h, e)
  local keep, joining = streams.retention(e[4]), 0
  if h.heavy then streams.drop_heavy(s, h) end
  if h.exists and h.keep.group ~= keep.group then joining = streams.weigh(s, h) end
  return joining + #e[2] + #e[3]
end

local function beyond_group(s, h, e, beside)
  local keep = streams.retention(e[4])
  if keep.group == '' then return end
  if streams.group(s, keep.group) + grows(s, h, e) + beside > keep.group_bytes then
    local limit = string.format('%.0f', keep.group_bytes)
    return {'limit_exceeded', "what '" .. keep.group .. "' keeps is at its limit of " .. limit .. ' bytes'}
  end
end

local function beyond_beside(s, h, e, also)
  if also[1] == e[1] then return {'bad_request', 'what is stored with a message goes to another stream'} end
  local asks = also[5]
  if asks and asks[6] then return {'bad_request', asks[6]} end
  local group = streams.retention(e[4]).group
  local shared = group == streams.retention(also[4]).group
  return beyond_group(s, streams.head(s, also[1]), also, shared and grows(s, h, e) or 0)
end

-- Return why an entry is beyond a limit.
local function beyond(s, h, e, asks)
  if asks then
    if asks[6] then return {'bad_request', asks[6]} end
    local key = asks[1]
    if key and keys_held(s, key[3]) >= key[4] then
      return {'too_many_requests', 'too many idempotency keys are held'}
    end
    if asks[7] then return end
  end
  return beyond_group(s, h, e, 0) or (asks and asks[8] and beyond_beside(s, h, e, asks[8]))
end

-- Admitting -----------------------------------------------------------------------------------

local function write(s, h, e)
  local asks = e[5]
  local offset = streams.write(s, h, e[2], e[3], e[4], asks and asks[4])
  if asks and asks[2] and asks[2][1] ~= UNKEEPABLE then
    h.version, h.version_epoch, h.cold_changed = asks[2][1], asks[2][2], true
  end
  return {s.epoch, offset, s.now, 1, false}
end

local function admit_asking(s, e, asks)
  local key = asks[1]
  if key then
    local told, refusal = held(s, key)
    if told or refusal then return told, refusal end
  end
  local h = streams.head(s, e[1])
  if asks[2] and not asks[7] then
    local told, refusal = stale(s, h, asks[2])
    if told or refusal then return told, refusal end
  end
  local _, refusal = unexpected(s, h, asks)
  refusal = refusal or beyond(s, h, e, asks)
  if refusal then return nil, refusal end
  local told
  if asks[7] then
    told = {s.epoch, 0, s.now, 1, false}
  else
    told = write(s, h, e)
    if asks[8] then told[5] = write(s, streams.head(s, asks[8][1]), asks[8]) end
  end
  if key then hold(s, key, told) end
  return told
end

-- Append an entry, and return {epoch, offset, time, fresh, also or false}; or nil and {code, message}.
function streams.admit(s, e)
  if e[5] then return admit_asking(s, e, e[5]) end
  local h = streams.head(s, e[1])
  local refusal = beyond_group(s, h, e, 0)
  if refusal then return nil, refusal end
  return write(s, h, e)
end

-- append(now, token, deadline, opener, entries, origins): entries are refused after the deadline (ms). `origins`
-- (MessagePack) has a number for each that says with which others of its stream it stands and falls, 0 for none;
-- it is empty if none of them has any. Answers an offset for each that was stored now, else what admit returns.
local function append(keys, args)
  local s = store.begin(keys, args)
  if s.now > tonumber(args[3]) then
    return redis.error_reply('GAPLESS unavailable the append came too late, and was not stored')
  end
  s.opener = args[4]
  local origins = args[6] ~= '' and cmsgpack.unpack(args[6])
  local stopped, answers = {}, {}
  for i, e in ipairs(cmsgpack.unpack(args[5])) do
    local origin = origins and origins[i] or 0
    if stopped[origin] then
      answers[i] = {'unavailable', 'an earlier message of the same origin was refused'}
    else
      local told, refusal = streams.admit(s, e)
      if refusal and origin > 0 then stopped[origin] = true end
      answers[i] = refusal or (told[4] == 1 and not told[5] and told[2]) or told
    end
  end
  return store.finish(s, s.epoch, s.now, answers)
end

define('append', append)
