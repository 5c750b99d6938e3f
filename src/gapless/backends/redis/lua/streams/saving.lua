-- Streams: how what a function changed of them is written, and rung.

local HOT, STORED, NEVER, BEHIND_MS = streams.HOT, streams.STORED, streams.NEVER, streams.BEHIND_MS
local SHAPE = '>I8B'
local RING_BYTES_MAX = 64 * 1024
local SWEPT_MAX = 1000
-- Memory is given back when so many messages are dropped, or so many bytes may be.
local DROPPED_MIN = 16
local DROPPED_BYTES_MIN = 4096
local NOBODY = '                '

-- Giving memory back --------------------------------------------------------------------------

-- Return a message's key, if it has one.
function streams.keyed(value)
  local _, kind, _, _, meta_bytes, data_bytes, at = struct.unpack(STORED, value)
  if kind == 1 then at = at + meta_bytes + data_bytes end
  return string.sub(value, at, at) == 'k' and string.sub(value, at + 1) or nil
end

local function offsets(from, to)
  local list = {}
  for offset = from, to do list[#list + 1] = offset end
  return list
end

-- Take dropped messages out of the index.
local function unindex(s, h, dropped)
  local members = {}
  -- HMGET: what keys they have.
  for i, value in ipairs(redis.call('HMGET', streams.key(s, 's', h.stream), unpack(dropped))) do
    local keyed = value and streams.keyed(value)
    if keyed then members[#members + 1] = streams.indexed(keyed, dropped[i]) end
  end
  -- ZREM: nobody finds them any more.
  if #members > 0 then redis.call('ZREM', streams.key(s, 'i', h.stream), unpack(members)) end
end

-- Give back the memory of what is dropped, up to SWEPT_MAX messages. Sets `rest` where that was not all.
local function tidy(s, h)
  local key = streams.key(s, 's', h.stream)
  if h.floor == h.last then
    -- UNLINK: all of it, freed by another thread; where the stream stands is written again.
    redis.call('UNLINK', key, streams.key(s, 'i', h.stream))
    h.keyed, h.cold_changed = 0, true
    h.swept, h.rest = h.floor, nil
    return
  end
  local to = math.min(h.floor, h.base, h.swept + SWEPT_MAX)
  if to > h.swept then
    local dropped = offsets(h.swept + 1, to)
    if h.keyed == 1 then unindex(s, h, dropped) end
    -- HDEL: those messages.
    redis.call('HDEL', key, unpack(dropped))
  end
  h.swept = to < math.min(h.floor, h.base) and to or h.floor
  h.rest = h.swept < h.floor
end

-- Writing -------------------------------------------------------------------------------------

local function index_records(s, h, from)
  local members = {}
  for i = from, #h.records do
    if h.keys[i] then
      members[#members + 1] = 0
      members[#members + 1] = streams.indexed(h.keys[i], h.base + i)
    end
  end
  if #members == 0 then return end
  -- ZADD: where they are found by their keys.
  store.call('ZADD', streams.key(s, 'i', h.stream), members)
  if h.keyed == 0 then h.keyed, h.cold_changed = 1, true end
end

local function publish(s, h, parts)
  -- SPUBLISH: nodes that follow the stream hear of it when it is durable.
  redis.call('SPUBLISH', streams.key(s, 'c', h.stream), 'M' .. (s.opener or NOBODY) .. s.epoch .. table.concat(parts))
end

-- Tell those who follow a stream what was appended.
local function ring(s, h)
  local parts, bytes = {}, 0
  for _, record in ipairs(h.records) do
    if bytes > 0 and bytes + #record > RING_BYTES_MAX then
      publish(s, h, parts)
      parts, bytes = {}, 0
    end
    parts[#parts + 1] = record
    bytes = bytes + #record
  end
  if bytes > 0 then publish(s, h, parts) end
end

-- Note when something is to be done about a stream.
local function schedule(s, h)
  local keep, due = h.keep, NEVER
  if keep.meta_ttl > 0 then due = h.updated + keep.meta_ttl end
  if h.floor < h.last then
    -- When all of it is dropped; what is dropped before goes with what is appended.
    if keep.ttl > 0 then due = math.min(due, h.updated + keep.ttl) end
    if keep.age > 0 then due = math.min(due, h.updated + keep.age) end
  end
  if h.rest then due = math.min(due, s.aged + BEHIND_MS) end
  if due < NEVER and (h.due == 0 or h.due > due) then
    h.due = due
    -- ZADD: once, also if it is put off by later messages; it is looked at then.
    redis.call('ZADD', s.p .. ':due', due, h.stream)
    if s.due == 0 or due < s.due then s.due, s.due_changed = due, true end
  end
end

local function is_untidy(h)
  local dropped = h.floor - h.swept
  return dropped >= DROPPED_MIN
    or (dropped > 0 and (h.floor == h.last or h.total - h.base_total >= DROPPED_BYTES_MIN))
end

-- Return the fields that tell where a stream stands.
local function head_fields(h)
  local hot = struct.pack(HOT, h.last, h.floor, h.updated, h.total, h.wakes, h.due, h.counted, h.swept)
  if not h.cold_changed then return {'h', hot} end
  return {'h', hot, 'c', cmsgpack.pack({h.keep_text, h.lineage or {}, h.version, h.version_epoch, h.keyed})}
end

local function save_stream(s, h)
  -- What was appended and dropped at once is never written.
  local from = math.max(1, h.floor - h.base + 1)
  index_records(s, h, from)
  if h.rest or is_untidy(h) then tidy(s, h) end
  schedule(s, h)
  local fields = head_fields(h)
  for i = from, #h.records do
    local tail = h.keys[i] and 'k' .. h.keys[i] or ''
    fields[#fields + 1] = h.base + i
    fields[#fields + 1] = struct.pack(SHAPE, h.totals[i], 1) .. h.records[i] .. tail
  end
  -- HSET: where it stands, and what was appended.
  store.call('HSET', streams.key(s, 's', h.stream), fields)
  if #h.records > 0 then ring(s, h) end
end

-- Write what was changed of streams; store.finish calls it.
function streams.save(s)
  -- Whatever finds that a message is lost comes before the first write.
  for _, h in ipairs(s.touched or {}) do
    if h.changed and h.heavy then streams.drop_heavy(s, h) end
  end
  for _, h in ipairs(s.touched or {}) do
    if h.changed then save_stream(s, h) end
    h.changed = nil
  end
  for name, bytes in pairs(s.groups or {}) do
    -- HSET: what counts against the group now.
    redis.call('HSET', s.p .. ':g', name, bytes)
  end
  if s.holding then streams.save_keys(s) end
  if s.due_changed then
    -- HSET: what every function looks at.
    redis.call('HSET', s.key, 'due', s.due)
  end
end
