-- Streams: where each one stands, what it drops, and how it is written.
--
--   P:s:<stream>  hash: h, numbers that every append changes (HOT), c, what seldom changes (MessagePack: retention
--                 as it was handed over, lineage, version, its epoch, index by keys?), and each message by its
--                 offset: the bytes of the stream's life up to and with it, 1 or, if it was erased, 0; the message
--                 as it is rung; 'k' and its key, where it has one. No Redis stream: there the bytes of an erased
--                 message stay until all around it are dropped
--   P:i:<stream>  sorted set of one score: the index by keys; length of the key, key, offset
--   P:g           hash: bytes that count against each group of retention
--   P:due         sorted set of streams, by when something is to be done about them; `due` in P:meta is the first
--   P:k:<digest>  idempotency key: digest of the payload, KEY, epoch; it ends with its window (admitting.lua)
--   P:kn          hash: how many keys are held (n), by hour (h<hour>), and until when that is so (until)
--   P:c:<stream>  Pub/Sub channel: b'M', opener, epoch, messages (MESSAGE, meta, data)
--
-- What is dropped is at or below the stream's floor. Retention only compares: by count and bytes when something is
-- appended, by time whenever anybody looks. Trimming only gives memory back, a bounded piece each time.
--
-- A head (`h`) is read once per function and written by streams.save. What is appended lies in `records`, with the
-- running totals in `totals` and keys in `keys`, from offset `base` + 1 on, until then.

local HOT = '>I8I8I8I8I8I8I8I8'
streams.HOT = HOT
local MESSAGE = '>I8I8I4I4'
local STORED = '>I8BI8I8I4I4'
streams.STORED = STORED
local TOTAL = '>I8'
streams.TOTAL = TOTAL
local NEVER = 2 ^ 53 - 1
streams.NEVER = NEVER
-- What is left of a piece of work is done so much later.
streams.BEHIND_MS = 50

streams.retention = remembering(function(text)
  local keep = cmsgpack.unpack(text)
  return {count = keep[1], ttl = keep[2], meta_ttl = keep[3], age = keep[4], bytes = keep[5], group = keep[6],
    group_bytes = keep[7]}
end)
local cold_of = remembering(function(text) return cmsgpack.unpack(text) end)
-- {0, 0, 0, 0, 0, '', 0}: nothing is dropped.
local UNLIMITED = '\151\0\0\0\0\0\160\0'

function streams.key(s, kind, stream)
  return s.p .. ':' .. kind .. ':' .. stream
end

-- Return the lineage of what does not exist.
local function ground(s)
  if not s.ground then
    -- HGET: read only for streams that do not exist.
    local text = redis.call('HGET', s.key, 'ground')
    s.ground = text and cjson.decode(text) or {}
  end
  return s.ground
end

function streams.lineage(s, h)
  return h.lineage or ground(s)
end

-- Return where a stream ends, and its lineage.
function streams.timeline(s, stream)
  local h = streams.head(s, stream)
  return h.last, streams.lineage(s, h)
end

streams.UNSETTLED = 'the store has just begun a new generation; try again'

-- Heads ---------------------------------------------------------------------------------------

local function new_head(s, stream)
  return {stream = stream, last = s.floor, floor = s.floor, updated = 0, total = 0, wakes = 0, due = 0,
    counted = 0, swept = s.floor, keep_text = UNLIMITED, version = '', version_epoch = '', keyed = 0}
end

local function known_head(stream, hot, cold)
  local h = {stream = stream, exists = true}
  h.last, h.floor, h.updated, h.total, h.wakes, h.due, h.counted, h.swept = struct.unpack(HOT, hot)
  cold = cold_of(cold)
  h.keep_text, h.lineage, h.version, h.version_epoch, h.keyed = unpack(cold)
  return h
end

local function read_head(s, stream)
  -- HMGET: where the stream stands.
  local kept = redis.call('HMGET', streams.key(s, 's', stream), 'h', 'c')
  local h = kept[1] and known_head(stream, kept[1], kept[2]) or new_head(s, stream)
  h.keep = streams.retention(h.keep_text)
  h.base, h.base_total, h.base_floor = h.last, h.total, h.floor
  h.records, h.totals, h.keys, h.newest = {}, {}, {}, {}
  return h
end

-- Return where a stream stands now.
function streams.head(s, stream)
  local heads = s.heads
  if not heads then
    heads = {}
    s.heads, s.touched = heads, {}
  end
  local h = heads[stream]
  if not h then
    h = read_head(s, stream)
    heads[stream] = h
  end
  if h.wakes <= s.aged and h.exists then streams.drop_old(s, h) end
  return h
end

-- Note that a head is to be written, and how that is undone.
function streams.touch(s, h)
  if s.undo and not s.undo[h] then
    s.undo[h] = true
    local copy, newest, groups, count = {}, {}, {}, #h.records
    for name, value in pairs(h) do copy[name] = value end
    for key, offset in pairs(h.newest) do newest[key] = offset end
    for name, bytes in pairs(s.groups or {}) do groups[name] = bytes end
    store.undoing(s, function()
      for name in pairs(h) do h[name] = nil end
      for name, value in pairs(copy) do h[name] = value end
      for i = #h.records, count + 1, -1 do h.records[i], h.totals[i], h.keys[i] = nil, nil, nil end
      h.newest, s.groups = newest, groups
    end)
  end
  if not h.changed then
    h.changed = true
    s.touched[#s.touched + 1] = h
  end
end

-- What lies where -----------------------------------------------------------------------------

function streams.lost(h, offset)
  return redis.error_reply(string.format('GAPLESS store_damaged message %.0f of %s is lost', offset, h.stream))
end

-- Return when a kept message was stored, the running total of bytes with it, and its own bytes.
local function look_at(s, h, offset)
  if offset > h.base then
    local i = offset - h.base
    return s.now, h.totals[i], h.totals[i] - (i > 1 and h.totals[i - 1] or h.base_total)
  end
  -- HGET: one message.
  local value = redis.call('HGET', streams.key(s, 's', h.stream), offset)
  if not value then error(streams.lost(h, offset)) end
  local total, _, _, time, meta_bytes, data_bytes = struct.unpack(STORED, value)
  return time, total, meta_bytes + data_bytes
end

-- Return the first offset in (from, to] of which `is` holds, as it does of all behind it; else to + 1.
local function first_where(from, to, is)
  local step, high = 1, nil
  while not high do
    if from == to then return to + 1 end
    local probe = math.min(from + step, to)
    if is(probe) then high = probe else from, step = probe, step * 2 end
  end
  while high - from > 1 do
    local middle = math.floor((from + high) / 2)
    if is(middle) then high = middle else from = middle end
  end
  return high
end

-- Return the first offset of what is kept that was stored at a time or later; else the next one.
function streams.find(s, h, at)
  return first_where(h.floor, h.last, function(offset) return (look_at(s, h, offset)) >= at end)
end

-- Return the bytes of what is kept, erased or not.
function streams.weigh(s, h)
  if h.floor == h.last then return 0 end
  local _, total, bytes = look_at(s, h, h.floor + 1)
  return h.total - total + bytes
end

-- What is dropped -----------------------------------------------------------------------------

local function raise_floor(s, h, floor)
  if floor <= h.floor then return end
  h.floor = floor
  if h.keep.group ~= '' and h.exists then streams.count(s, h) end
end
streams.raise_floor = raise_floor

-- Drop what is too old, and tell when there will be more.
function streams.drop_old(s, h)
  local keep, floor = h.keep, h.floor
  local ttl, age = keep.ttl, keep.age
  if ttl > 0 and h.updated + ttl <= s.aged then
    floor = h.last
  elseif age > 0 and floor < h.last then
    floor = streams.find(s, h, s.aged - age + 1) - 1
  end
  if floor > h.floor then
    streams.touch(s, h)
    raise_floor(s, h, floor)
  end
  h.wakes = ttl > 0 and h.updated + ttl or NEVER
  if age > 0 then
    local oldest = floor < h.last and look_at(s, h, floor + 1) or s.aged
    h.wakes = math.min(h.wakes, oldest + age)
  end
end

-- Drop what is beyond the retention's bytes, but the newest message. Put off (`heavy`) as long as nobody looks.
function streams.drop_heavy(s, h)
  h.heavy = nil
  local least = h.total - h.keep.bytes
  if h.floor + 1 >= h.last or h.total - streams.weigh(s, h) >= least then return end
  local floor = first_where(h.floor, h.last - 1, function(offset)
    local _, total = look_at(s, h, offset)
    return total >= least
  end)
  raise_floor(s, h, math.min(floor, h.last - 1))
end

-- Groups of retention -------------------------------------------------------------------------

-- Return the bytes that count against a group.
function streams.group(s, name)
  s.groups = s.groups or {}
  if not s.groups[name] then
    -- HGET: read once.
    s.groups[name] = tonumber(redis.call('HGET', s.p .. ':g', name) or 0)
  end
  return s.groups[name]
end

function streams.grow(s, h, bytes)
  local before = streams.group(s, h.keep.group)
  h.counted, s.groups[h.keep.group] = h.counted + bytes, before + bytes
end

-- Count what a stream holds against its group.
function streams.count(s, h)
  streams.grow(s, h, streams.weigh(s, h) - h.counted)
end

-- Keep so much of a stream from now on.
function streams.retain(s, h, text)
  if h.keep.group ~= '' then streams.grow(s, h, -h.counted) end
  h.keep_text, h.keep, h.wakes, h.cold_changed = text, streams.retention(text), 0, true
  if h.keep.group ~= '' then streams.count(s, h) end
end

-- Appending -----------------------------------------------------------------------------------

local function link(s, h)
  local order, links = store.order(s), {}
  for _, one in ipairs(streams.lineage(s, h)) do
    if order[one[1]] then links[#links + 1] = one end
  end
  links[#links + 1] = {s.epoch, h.last + 1}
  h.lineage, h.cold_changed = links, true
end

-- Append a message that is admitted; return its offset.
function streams.write(s, h, data, meta, keep_text, keyed)
  streams.touch(s, h)
  if h.heavy and keep_text ~= h.keep_text then streams.drop_heavy(s, h) end
  local links = h.lineage
  if not links or #links == 0 or links[#links][1] ~= s.epoch then link(s, h) end
  local bytes, offset = #data + #meta, h.last + 1
  local i = offset - h.base
  h.records[i] = struct.pack(MESSAGE, offset, s.now, #meta, #data) .. meta .. data
  h.total = h.total + bytes
  h.totals[i] = h.total
  h.last, h.updated, h.exists = offset, s.now, true
  s.seq = s.seq + 1
  if keyed then h.keys[i], h.newest[keyed] = keyed, offset end
  if keep_text ~= h.keep_text then
    streams.retain(s, h, keep_text)
  elseif h.keep.group ~= '' then
    streams.grow(s, h, bytes)
  end
  local keep = h.keep
  if keep.count > 0 then raise_floor(s, h, offset - keep.count) end
  if keep.bytes > 0 then
    h.heavy = true
    if keep.group ~= '' then streams.drop_heavy(s, h) end
  end
  return offset
end

-- Keys ----------------------------------------------------------------------------------------

local function index_prefix(keyed)
  return struct.pack('>I4', #keyed) .. keyed
end
streams.index_prefix = index_prefix

-- Return the member of the index that stands for a message.
function streams.indexed(keyed, offset)
  return index_prefix(keyed) .. struct.pack(TOTAL, offset)
end

-- Return the offset of the last message with a key, 0 if none is kept.
function streams.last_keyed(s, h, keyed)
  local offset = h.newest[keyed]
  if not offset and h.keyed == 1 then
    local prefix = index_prefix(keyed)
    -- ZREVRANGEBYLEX: the last of its members.
    local found = redis.call('ZREVRANGEBYLEX', streams.key(s, 'i', h.stream),
      '[' .. prefix .. string.rep('\255', 8), '[' .. prefix, 'LIMIT', 0, 1)[1]
    offset = found and struct.unpack(TOTAL, string.sub(found, -8))
  end
  if h.heavy then streams.drop_heavy(s, h) end
  return offset and offset > h.floor and offset or 0
end
