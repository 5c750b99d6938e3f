-- The store as a whole: its time, its generations, and who has it open (semantics 1).
--
-- All keys of a store begin with its prefix, which is a hash tag: they lie in one slot.
--   P:meta     hash: what is below, one field each
--              format   how all of it is laid out
--              replid   first 16 characters of the replication id of the incarnation that wrote last
--              epoch    the current generation
--              gens     JSON: {{id, cut_seq, fate, began_ms}, ...}, oldest first
--              suspect  until when (ms) it is not settled whether the current generation lacks anything; 0
--              durable  1: what is acknowledged survives this incarnation's end, failover included
--              vouched  1: so it was in the incarnation before
--              seq      +1 per append, enqueue, settlement
--              floor    where a stream begins that was never there; ground: JSON, its lineage
--              time     the newest time (ms) that was given out; it never falls
--              wall     what the server's clock showed then
--              fence    the last fence's number
--   P:openers  sorted set: each process that has the store open, by when (ms) it was last heard of
--   P:pending  set: those of them who have not said yet what they saw of earlier generations
--
-- Every function has one key, the prefix, and its first two arguments are the time ('0': the server's; below 0:
-- the server's, of which so much counts for what grows old) and a random token of 16 hexadecimal digits, of which
-- a new generation makes its id.

local FORMAT = '1'
local SUSPECT_MS = 2000
local OPENER_MS = 10000
local VALUES = 2000

-- Call a command with any number of values: Lua hands over only so many at once.
function store.call(command, key, values)
  for i = 1, #values, VALUES do
    -- It is explained by whoever hands it over.
    redis.call(command, key, unpack(values, i, math.min(i + VALUES - 1, #values)))
  end
end

-- Return the incarnation of this server: it changes at every restart and every promotion.
local function incarnation()
  -- INFO: the only place where a script can read the replication id.
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'master_replid:(%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x)')
end

-- Return the time in milliseconds; how much of it counts for what grows old: less, where a caller's own clock says
-- that the server's has jumped ahead; and what the server's clock showed. One that was set back is waited for at half
-- its pace: time that stood still would let no lease, session or suspicion end.
local function clock(given, known, wall)
  given = tonumber(given)
  if given > 0 then
    local now = math.max(known, given)
    return now, now, wall
  end
  -- TIME: the store's clock is the server's.
  local told = redis.call('TIME')
  local time = told[1] * 1000 + math.floor(told[2] / 1000)
  if wall == 0 then wall = time end
  local now = math.max(time, known + math.max(0, math.floor((time - wall) / 2)))
  return now, given < 0 and math.min(now, -given) or now, (now > known or time < wall) and time or wall
end

-- Read what every function needs.
local function read_meta(keys, args)
  local key = keys[1] .. ':meta'
  -- HMGET: all that every function needs, at once.
  local meta = redis.call('HMGET', key, 'replid', 'epoch', 'seq', 'floor', 'time', 'suspect', 'fence', 'due',
    'format', 'wall')
  if meta[1] and meta[9] ~= FORMAT then
    error(redis.error_reply('GAPLESS store_refused the store is of another version of gapless: format '
      .. tostring(meta[9]) .. ', not ' .. FORMAT))
  end
  local time = tonumber(meta[5] or 0)
  local wall = tonumber(meta[10] or 0)
  local now, aged, wall_now = clock(args[1], time, wall)
  return {
    p = keys[1],
    key = key,
    replid = incarnation(),
    known = meta[1],
    epoch = meta[2],
    seq = tonumber(meta[3] or 0),
    seq_before = tonumber(meta[3] or 0),
    floor = tonumber(meta[4] or 0),
    time = time,
    now = now,
    aged = aged,
    wall = wall_now,
    wall_before = wall,
    suspect = tonumber(meta[6] or 0),
    fence = tonumber(meta[7] or 0),
    fence_before = tonumber(meta[7] or 0),
    due = tonumber(meta[8] or 0),
    writes = {},
  }
end

-- Return the generations, oldest first.
function store.gens(s)
  if not s.gens then
    -- HGET: the list of generations, which few functions need.
    local gens = redis.call('HGET', s.key, 'gens')
    s.gens = gens and cjson.decode(gens) or {}
  end
  return s.gens
end

-- Return the index of each generation by its id.
function store.order(s)
  if not s.index then
    s.index = {}
    for i, gen in ipairs(store.gens(s)) do s.index[gen[1]] = i end
  end
  return s.index
end

local function save_gens(s)
  -- HSET: the list of generations as it is now.
  redis.call('HSET', s.key, 'gens', cjson.encode(s.gens), 'suspect', s.suspect)
end

-- Settle whether the current generation has everything that was acknowledged before it: so it is if all who had
-- the store open have been heard, and else if it was, and is, one that keeps what it acknowledges.
local function decide(s, all_heard)
  -- HMGET: what was told of this incarnation, and of the one before it.
  local told = redis.call('HMGET', s.key, 'durable', 'vouched')
  local vouched = all_heard or (told[1] == '1' and told[2] == '1')
  for _, gen in ipairs(store.gens(s)) do
    if gen[3] == 'suspect' then gen[3] = vouched and 'clean' or 'lossy' end
  end
  s.suspect = 0
  save_gens(s)
  -- DEL: nobody is waited for any more.
  redis.call('DEL', s.p .. ':pending')
end

-- Begin a generation: the server is not the incarnation that wrote last, or there was nothing. `most` are
-- remembered, if that is told.
local function incarnate(s, token, most)
  local gens = store.gens(s)
  local is_new = #gens == 0
  -- EXISTS: whether there is something else in its place.
  if is_new and redis.call('EXISTS', s.key) == 1 then
    error(redis.error_reply('GAPLESS store_refused ' .. s.key .. ' is of another program; choose another prefix'))
  end
  s.epoch = string.sub(s.replid, 1, 8) .. string.sub(token, 1, 8)
  s.known = s.replid
  gens[#gens + 1] = {s.epoch, s.seq, is_new and 'clean' or 'suspect', s.now}
  -- HGET: how many generations are remembered.
  most = tonumber(most or redis.call('HGET', s.key, 'gens_max') or 1000)
  while #gens > most do table.remove(gens, 1) end
  s.index = nil
  s.fence = math.max(s.fence, s.now * 1000 - 1)
  local was_suspect = s.suspect > 0
  s.suspect = is_new and 0 or s.now + SUSPECT_MS
  -- HGET: whether the last incarnation kept what it acknowledged, as far as who had it open could tell.
  local vouched = redis.call('HGET', s.key, was_suspect and 'vouched' or 'durable') or 0
  -- HSET: the new generation; whether it keeps what it acknowledges is yet to be told.
  redis.call('HSET', s.key, 'format', FORMAT, 'replid', s.replid, 'epoch', s.epoch, 'vouched', vouched,
    'durable', 0, 'fence', s.fence, 'time', s.now, 'wall', s.wall)
  save_gens(s)
  if not is_new then
    -- ZRANGEBYSCORE: who had the store open until shortly before.
    local openers = redis.call('ZRANGEBYSCORE', s.p .. ':openers', s.time - OPENER_MS, '+inf')
    -- DEL: whoever an earlier generation waited for.
    redis.call('DEL', s.p .. ':pending')
    for _, opener in ipairs(openers) do
      -- SADD: each is to say what it saw.
      redis.call('SADD', s.p .. ':pending', opener)
    end
  end
end

-- Begin a function that may write: what was to happen by now has happened then.
function store.begin(keys, args, gens_max)
  local s = read_meta(keys, args)
  if s.known ~= s.replid then incarnate(s, args[2], gens_max) end
  if s.suspect > 0 and s.now >= s.suspect then decide(s, false) end
  if s.due > 0 and s.due <= s.aged and store.forget then store.forget(s) end
  return s
end

-- Begin a function that only reads; nil if something has to be written first (then answer store.AGAIN).
function store.look(keys, args)
  local s = read_meta(keys, args)
  if s.known ~= s.replid or (s.suspect > 0 and s.now >= s.suspect) or (s.due > 0 and s.due <= s.aged) then
    return nil
  end
  return s
end

store.AGAIN = {err = 'AGAIN something has to be written first'}

-- What a function writes is done at its end (or by store.flush), so that what is refused half-way leaves
-- nothing behind: between store.mark and store.keep or store.rollback, whoever changes what was read into tables
-- says with store.undoing how that is undone.

-- Write a command, at the end.
function store.write(s, ...)
  s.writes[#s.writes + 1] = {...}
end

-- Write what waits to be written.
function store.flush(s)
  local writes = s.writes
  s.writes = {}
  -- Each command is explained where it is handed to store.write.
  for _, command in ipairs(writes) do redis.call(unpack(command)) end
end

-- Begin what may be undone.
function store.mark(s)
  s.undo = {}
  return {#s.writes, s.seq, s.fence}
end

-- Note how a change is undone.
function store.undoing(s, undo)
  if s.undo then s.undo[#s.undo + 1] = undo end
end

-- Let what was done since the mark hold.
function store.keep(s)
  s.undo = nil
end

-- Undo what was done since the mark.
function store.rollback(s, mark)
  for i = #s.writes, mark[1] + 1, -1 do s.writes[i] = nil end
  for i = #s.undo, 1, -1 do s.undo[i]() end
  s.seq, s.fence, s.undo = mark[2], mark[3], nil
end

-- Write what this function has to.
local function write_all(s)
  if streams.save then streams.save(s) end
  if jobs.save then jobs.save(s) end
  store.flush(s)
  if s.seq ~= s.seq_before or s.fence ~= s.fence_before or s.now > s.time or s.wall ~= s.wall_before then
    -- HSET: what every function changes.
    redis.call('HSET', s.key, 'seq', s.seq, 'time', s.now, 'fence', s.fence, 'wall', s.wall)
  end
end

-- Answer, after all that changed was written.
function store.finish(s, ...)
  local done, why = pcall(write_all, s)
  if not done then
    why = tostring(type(why) == 'table' and why.err or why)
    -- What we refuse ourselves is refused before anything is written.
    if string.find(why, '^GAPLESS ') then error(redis.error_reply(why)) end
    error(redis.error_reply('GAPLESS unknown what was written before it failed stands: ' .. why))
  end
  return {s.epoch, s.seq, s.now, ...}
end

-- Answer what was only read.
function store.told(s, ...)
  return {s.epoch, s.seq, s.now, ...}
end

-- Return the next fence's number.
function store.next_fence(s)
  s.fence = s.fence + 1
  return s.fence
end

local function outside(offset, floor, last)
  if offset < floor then
    return false, string.format('it is older than what is kept, which follows offset %.0f', floor)
  end
  if offset > last then return false, string.format('it is ahead of the end, offset %.0f', last) end
  return true
end

-- Return whether all up to an offset is what its reader has read (core/lineage.py), and why not; nil: not
-- settled yet. The lineage is a list of {gen, first_offset}.
function store.holds(s, epoch, offset, floor, last, lineage)
  if epoch == s.epoch then return outside(offset, floor, last) end
  local order = store.order(s)
  local mine = order[epoch]
  if not mine then
    return false, epoch == '' and 'it names no generation' or 'it is of a generation that the store does not know'
  end
  local holds, why = outside(offset, floor, last)
  for i = mine + 1, #s.gens do
    if s.gens[i][3] == 'lossy' then return false, 'what the store had acknowledged was lost after it' end
    if s.gens[i][3] == 'suspect' and holds then return nil end
  end
  if not holds then return false, why end
  for _, link in ipairs(lineage) do
    if (order[link[1]] or 0) > mine and offset >= link[2] then
      return false, 'a later generation wrote other messages there'
    end
  end
  return true
end

-- What one process saw last, (epoch, seq), is held against where later generations began. A generation that was
-- seen, and is not known here, was lost as a whole, when the present one began at the latest. Where a generation
-- was taken for clean by then, another one begins, so that who went on in it asks again.
local function bear_witness(s, epoch, seq, token)
  if epoch == '' then return end
  local mine = store.order(s)[epoch]
  local changed, is_late = false, false
  for i = mine and mine + 1 or #s.gens, #s.gens do
    local fate = s.gens[i][3]
    if (not mine or s.gens[i][2] < seq) and fate ~= 'lossy' then
      s.gens[i][3] = 'lossy'
      changed, is_late = true, is_late or fate == 'clean'
    end
  end
  if changed then save_gens(s) end
  if is_late then incarnate(s, token) end
end

-- pulse(now, token, opener, epoch, seq, durable, gens_max): say that a process has the store open, and what it
-- saw last. Answers how the current generation began.
local function pulse(keys, args)
  local s = store.begin(keys, args, args[7])
  local openers = s.p .. ':openers'
  -- ZADD: it is there.
  redis.call('ZADD', openers, s.now, args[3])
  -- ZREMRANGEBYSCORE: whoever was not heard of for long is not waited for.
  redis.call('ZREMRANGEBYSCORE', openers, '-inf', '(' .. (s.now - 6 * OPENER_MS))
  -- HSET: as it is since the server was last asked, and was configured last.
  redis.call('HSET', s.key, 'durable', args[6], 'gens_max', args[7])
  local witness = args[4] ~= '' and args[4] ~= s.epoch
  bear_witness(s, args[4], tonumber(args[5]), args[2])
  if s.suspect > 0 then
    -- SREM: it has said what it saw.
    redis.call('SREM', s.p .. ':pending', args[3])
    -- SCARD: whether others are to be heard.
    if redis.call('SCARD', s.p .. ':pending') == 0 then decide(s, witness) end
  end
  local gens = store.gens(s)
  return store.finish(s, gens[#gens][3], s.suspect)
end

-- part(now, token, opener, epoch, seq): a process closes the store, which it saw last at (epoch, seq).
local function part(keys, args)
  local s = store.begin(keys, args)
  bear_witness(s, args[4], tonumber(args[5]), args[2])
  -- ZREM, SREM: it is not waited for.
  redis.call('ZREM', s.p .. ':openers', args[3])
  redis.call('SREM', s.p .. ':pending', args[3])
  return store.finish(s)
end

-- generations(now, token): all that are remembered.
local function generations(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  local told = {}
  for i, gen in ipairs(store.gens(s)) do told[i] = {gen[1], gen[2], gen[3]} end
  return store.told(s, told)
end

define('pulse', pulse, {'allow-oom'})
define('part', part, {'allow-oom'})
define('generations', generations, {'no-writes'})
