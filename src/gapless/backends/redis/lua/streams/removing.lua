-- Streams: what is removed by somebody's wish. All of it makes room, and is let do so in a full store.

local STORED = '>I8I8I8I4I4'
local HOLE = '>I8I8I8I8'
local TOTAL = '>I8'

-- Remove a message, leave what find and retention need of it; false if it is not there.
local function erase_message(s, h, offset, in_index)
  if offset <= h.floor or offset > h.last then return false end
  local key, id = streams.key(s, 's', h.stream), string.format('%.0f-0', offset)
  -- XRANGE: the message.
  local found = redis.call('XRANGE', key, id, id)[1]
  if not found then return false end
  local fields = found[2]
  local total, _, time, meta_bytes, data_bytes = struct.unpack(STORED, fields[2])
  local hole = struct.pack(HOLE, offset, time, total, meta_bytes + data_bytes)
  if in_index and fields[3] then hole = hole .. 'k' .. fields[4] end
  -- ZADD, XDEL: what is left of it takes its place.
  redis.call('ZADD', streams.key(s, 'x', h.stream), offset, hole)
  redis.call('XDEL', key, id)
  if h.holes == 0 then
    streams.touch(s, h)
    h.holes, h.cold_changed = 1, true
  end
  return true
end

-- trim(now, token, stream, through): drop all up to an offset. Answers floor and last.
local function trim(keys, args)
  local s = store.begin(keys, args)
  local h = streams.head(s, args[3])
  local floor = math.min(tonumber(args[4]), h.last)
  if floor > h.floor then
    streams.touch(s, h)
    streams.raise_floor(s, h, floor)
  end
  return store.finish(s, s.epoch, h.floor, h.last)
end

-- erase(now, token, stream, offset): 1 if a message was removed.
local function erase(keys, args)
  local s = store.begin(keys, args)
  local done = erase_message(s, streams.head(s, args[3]), tonumber(args[4]), true)
  return store.finish(s, done and 1 or 0)
end

-- Return the key's part of a member of the index, and its offset.
local function taken_apart(member)
  return string.sub(member, 1, -9), (struct.unpack(TOTAL, string.sub(member, -8)))
end

-- compact(now, token, stream, through, from, count): of so many members of the index from one on, erase those that
-- a later one supersedes. Answers how many, and where to go on; '' at the end.
local function compact(keys, args)
  local s = store.begin(keys, args)
  local h, through, from, count = streams.head(s, args[3]), tonumber(args[4]), args[5], tonumber(args[6])
  local index = streams.key(s, 'i', h.stream)
  -- ZRANGEBYLEX: the next members.
  local members = redis.call('ZRANGEBYLEX', index, from == '' and '-' or '[' .. from, '+', 'LIMIT', 0, count)
  local removed = 0
  for i = 1, #members - 1 do
    local keyed, offset = taken_apart(members[i])
    if keyed == taken_apart(members[i + 1]) and offset <= through then
      if erase_message(s, h, offset, false) then removed = removed + 1 end
      -- ZREM: nobody finds it by its key.
      redis.call('ZREM', index, members[i])
    end
  end
  return store.finish(s, removed, #members == count and members[#members] or '')
end

define('trim', trim, {'allow-oom'})
define('erase', erase, {'allow-oom'})
define('compact', compact, {'allow-oom'})
