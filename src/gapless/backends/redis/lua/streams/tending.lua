-- Streams: what is to be done about them at some time: forgetting them, and giving back what has grown old.

local FORGOTTEN_MAX = 100
local NEVER, BEHIND_MS = streams.NEVER, streams.BEHIND_MS

local function forget_stream(s, h)
  s.floor = math.max(s.floor, h.last)
  s.ground = {{s.epoch, s.floor}}
  if h.keep.group ~= '' then streams.grow(s, h, -h.counted) end
  h.changed = nil
  -- HSET: no offset is given again, and no position below holds.
  redis.call('HSET', s.key, 'floor', s.floor, 'ground', cjson.encode(s.ground))
  -- UNLINK: all that was kept of it.
  redis.call('UNLINK', streams.key(s, 's', h.stream), streams.key(s, 'i', h.stream))
end

local function tend(s, stream)
  local h = streams.head(s, stream)
  -- ZREM: it is put in again where there is more to do.
  redis.call('ZREM', s.p .. ':due', stream)
  h.due = 0
  if not h.exists then return end
  if h.keep.meta_ttl > 0 and h.updated + h.keep.meta_ttl <= s.aged then
    forget_stream(s, h)
  else
    streams.touch(s, h)
    h.rest = true
  end
end

-- Do what is due about streams, a bounded piece of it; store.begin calls it.
function store.forget(s)
  local due = s.p .. ':due'
  -- ZRANGEBYSCORE: those whose time has come.
  for _, stream in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', s.aged, 'LIMIT', 0, FORGOTTEN_MAX)) do
    -- One that is damaged holds up no other.
    pcall(tend, s, stream)
  end
  s.due = NEVER
  streams.save(s)
  s.heads, s.touched, s.groups, s.due_changed = nil, nil, nil, nil
  -- ZRANGE: which is next.
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  s.due = first and math.max(tonumber(first), s.aged + 1) or 0
  if first and tonumber(first) <= s.aged then s.due = s.aged + BEHIND_MS end
  -- HSET: what every function looks at.
  redis.call('HSET', s.key, 'due', s.due)
end
