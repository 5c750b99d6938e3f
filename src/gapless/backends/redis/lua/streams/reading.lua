-- Streams: what is told of them. Nothing here writes.

local PAGE_MESSAGES_MAX = 1000
local CHUNK_MIN, CHUNK_MAX = 8, 256
local BYTES_OF_TOTAL = 8
local TOTAL = '>I8'
local SIZES = '>I8I8I8I4I4'

local function lost(epoch, offset)
  return string.format('GAPLESS position_lost position %s:%.0f does not hold', epoch, offset)
end

-- Return an error if a position does not hold.
local function broken(s, h, epoch, offset)
  local holds = store.holds(s, epoch, offset, h.floor, h.last, streams.lineage(s, h))
  if holds then return nil end
  return redis.error_reply(holds == nil and 'GAPLESS unavailable ' .. streams.UNSETTLED or lost(epoch, offset))
end

local function size_of(value)
  local _, _, _, meta_bytes, data_bytes = struct.unpack(SIZES, value)
  return meta_bytes + data_bytes
end

-- A page takes messages in the order in which they are read, until one has no room.
local function take(page, offset, value)
  local bytes = size_of(value)
  if #page.taken > 0 and page.bytes + bytes > page.bytes_max then
    page.edge = offset
    return false
  end
  page.bytes = page.bytes + bytes
  page.taken[#page.taken + 1] = string.sub(value, BYTES_OF_TOTAL + 1)
  return true
end

-- Return how many messages to read next: about as many as there is room for.
local function chunk(page)
  local count = #page.taken
  local room = page.messages_max - count
  if count == 0 then return math.min(CHUNK_MIN, room) end
  local mean = math.max(page.bytes / count, 1)
  return math.min(room, CHUNK_MAX, math.floor((page.bytes_max - page.bytes) / mean) + 1)
end

-- Fill a page with what lies in [from, to], forwards or backwards.
local function fill(s, h, page, from, to)
  local key = streams.key(s, 's', h.stream)
  while from <= to and #page.taken < page.messages_max do
    local count = chunk(page)
    local found
    if page.back then
      -- XREVRANGE: the next messages down.
      found = redis.call('XREVRANGE', key, to .. '-0', from .. '-0', 'COUNT', count)
    else
      -- XRANGE: the next messages up.
      found = redis.call('XRANGE', key, from .. '-0', to .. '-0', 'COUNT', count)
    end
    for _, entry in ipairs(found) do
      local offset = tonumber(string.match(entry[1], '%d+'))
      if not take(page, offset, entry[2][2]) then return end
      if page.back then to = offset - 1 else from = offset + 1 end
    end
    if #found < count then return end
  end
  if #page.taken == page.messages_max then page.edge = page.back and to or from end
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

local function fill_keyed(s, h, page, keyed, from, to)
  local key = streams.key(s, 's', h.stream)
  for i, offset in ipairs(keyed_offsets(s, h, page, keyed, from, to)) do
    if i > PAGE_MESSAGES_MAX or #page.taken == page.messages_max then
      page.edge = offset
      return
    end
    -- XRANGE: the message, unless it was erased.
    local found = redis.call('XRANGE', key, offset .. '-0', offset .. '-0')[1]
    if found and not take(page, offset, found[2][2]) then return end
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
  local page = {back = direction == '<', taken = {}, bytes = 0, messages_max = tonumber(args[7]), bytes_max = tonumber(args[8])}
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
    fill_keyed(s, h, page, args[10], from, to)
  else
    from, to = covered(page, start, last)
    fill(s, h, page, from, to)
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
