-- Streams: what is told of them. Nothing here writes.

local PAGE_MESSAGES_MAX = 1000
local CHUNK_MIN, CHUNK_MAX = 8, 256
local SHAPE_BYTES = 9
local TOTAL, STORED = streams.TOTAL, streams.STORED

local function lost(epoch, offset, why)
  return string.format('GAPLESS position_lost position %s:%.0f does not hold: %s', epoch, offset, why)
end

-- Return an error if a position does not hold.
local function broken(s, h, epoch, offset)
  local holds, why = store.holds(s, epoch, offset, h.floor, h.last, streams.lineage(s, h))
  if holds then return nil end
  return redis.error_reply(holds == nil and 'GAPLESS unavailable ' .. streams.UNSETTLED or lost(epoch, offset, why))
end

-- A page takes messages in the order in which they are read, until one has no room. Those that were erased
-- need none.
local function take(page, offset, value)
  local _, kind, _, _, meta_bytes, data_bytes = struct.unpack(STORED, value)
  if kind == 0 then return true end
  local bytes = meta_bytes + data_bytes
  if #page.taken > 0 and page.bytes + bytes > page.bytes_max then
    page.edge = offset
    return false
  end
  page.bytes = page.bytes + bytes
  page.taken[#page.taken + 1] = string.sub(value, SHAPE_BYTES + 1)
  return true
end

-- Return how many messages to read next: about as many as there is room for.
local function chunk(page)
  local count = #page.taken
  -- One more shows where the page ends.
  local room = page.messages_max - count + 1
  if count == 0 then return math.min(CHUNK_MIN, room) end
  local mean = math.max(page.bytes / count, 1)
  return math.min(room, CHUNK_MAX, math.floor((page.bytes_max - page.bytes) / mean) + 1)
end

-- Take the messages at some offsets; false once there is no room.
local function take_all(s, h, page, offsets)
  -- HMGET: those messages.
  local values = redis.call('HMGET', streams.key(s, 's', h.stream), unpack(offsets))
  for i, offset in ipairs(offsets) do
    if not values[i] then error(streams.lost(h, offset)) end
    if #page.taken == page.messages_max then
      page.edge = offset
      return false
    end
    if not take(page, offset, values[i]) then return false end
  end
  return true
end

-- Fill a page with what lies at offsets that `next` tells, in the order of reading; nil after the last of them.
local function fill(s, h, page, next)
  local more = true
  while more do
    local offsets = {}
    for _ = 1, chunk(page) do offsets[#offsets + 1] = next() end
    more = #offsets > 0 and take_all(s, h, page, offsets)
  end
end

local function dense(page, from, to)
  return function()
    if from > to then return nil end
    if page.back then
      to = to - 1
      return to + 1
    end
    from = from + 1
    return from - 1
  end
end

-- Return the offsets of the messages with a key in [from, to], PAGE_MESSAGES_MAX and one at most.
local function keyed_offsets(s, h, page, keyed, from, to)
  if h.keyed == 0 or from > to then return {} end
  local low, high = '[' .. streams.indexed(keyed, from), '[' .. streams.indexed(keyed, to)
  local key = streams.key(s, 'i', h.stream)
  local members
  if page.back then
    -- ZREVRANGEBYLEX: where they are, the last first.
    members = redis.call('ZREVRANGEBYLEX', key, high, low, 'LIMIT', 0, PAGE_MESSAGES_MAX + 1)
  else
    -- ZRANGEBYLEX: where they are.
    members = redis.call('ZRANGEBYLEX', key, low, high, 'LIMIT', 0, PAGE_MESSAGES_MAX + 1)
  end
  for i, member in ipairs(members) do members[i] = struct.unpack(TOTAL, string.sub(member, -8)) end
  return members
end

local function listed(page, offsets)
  local i = 0
  return function()
    i = i + 1
    if i > PAGE_MESSAGES_MAX then page.edge = page.edge or offsets[i] end
    return i <= PAGE_MESSAGES_MAX and offsets[i] or nil
  end
end

-- Return the offsets that a page without a key may cover, as a first and last one.
local function covered(page, start, last)
  if page.back then return math.max(start + 1, last - PAGE_MESSAGES_MAX + 1), last end
  return start + 1, math.min(last, start + PAGE_MESSAGES_MAX)
end

-- read(now, token, stream, direction, epoch, offset, messages, bytes, has_key, key): a page after a position ('>'),
-- before it ('<') or from the oldest message on (''). Answers floor, last, after, through, messages (as rung).
local function read(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  local h = streams.head(s, args[3])
  local direction, epoch, offset = args[4], args[5], tonumber(args[6])
  local page = {back = direction == '<', taken = {}, bytes = 0}
  page.messages_max, page.bytes_max = tonumber(args[7]), tonumber(args[8])
  local start, last = h.floor, h.last
  if page.back then
    last = math.max(math.min(offset - 1, h.last), h.floor)
    offset = last
  elseif direction == '>' then
    start = offset
  end
  local wrong = direction ~= '' and broken(s, h, epoch, offset)
  if wrong then return wrong end
  local from, to = start + 1, last
  if args[9] == '1' then
    fill(s, h, page, listed(page, keyed_offsets(s, h, page, args[10], from, to)))
  else
    from, to = covered(page, start, last)
    fill(s, h, page, dense(page, from, to))
  end
  if page.back then return store.told(s, s.epoch, h.floor, h.last, page.edge or from - 1, last, page.taken) end
  return store.told(s, s.epoch, h.floor, h.last, start, page.edge and page.edge - 1 or to, page.taken)
end

-- heads(now, token, streams...): floor and last of each.
local function heads(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  local told = {}
  for i = 3, #args do
    local h = streams.head(s, args[i])
    told[#told + 1], told[#told + 2] = h.floor, h.last
  end
  return store.told(s, s.epoch, told)
end

-- find(now, token, stream, at_ms): the offset just before the first message stored then or later.
local function find(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  return store.told(s, s.epoch, streams.find(s, streams.head(s, args[3]), tonumber(args[4])) - 1)
end

-- last_keyed(now, token, stream, key): the offset of the last message with a key, or 0.
local function last_keyed(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  return store.told(s, streams.last_keyed(s, streams.head(s, args[3]), args[4]))
end

define('read', read, {'no-writes'})
define('heads', heads, {'no-writes'})
define('find', find, {'no-writes'})
define('last_keyed', last_keyed, {'no-writes'})
