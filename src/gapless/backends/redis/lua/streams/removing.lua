-- Streams: what is removed by somebody's wish. All of it makes room, and is let do so in a full store.

local TOTAL, STORED = streams.TOTAL, streams.STORED

-- Remove a message, leave what find and retention need of it; false if it is not there.
local function erase_message(s, h, offset, in_index)
  if offset <= h.floor or offset > h.last then return false end
  local key = streams.key(s, 's', h.stream)
  -- HGET: the message.
  local value = redis.call('HGET', key, offset)
  if not value then error(streams.lost(h, offset)) end
  local total, kind, _, time, meta_bytes, data_bytes = struct.unpack(STORED, value)
  if kind == 0 then return false end
  local keyed = in_index and streams.keyed(value)
  local hole = struct.pack(STORED, total, 0, offset, time, meta_bytes, data_bytes)
  -- HSET: what is left of it takes its place.
  redis.call('HSET', key, offset, hole .. (keyed and 'k' .. keyed or ''))
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
