-- Queues: which there are, and what a function knows of each that it has to do with.
--
--   P:queues    hash: MessagePack {id, is_paused, stage, at, options (MessagePack)} by a queue's name. While jobs
--               are given their places anew, because the options are others, `stage` tells which jobs have their
--               turn, from number `at` on; 0: none
--   P:gone      set: sorted sets of the jobs of queues that were dropped, which are removed bit by bit
--   Of each queue, under P:q:<id>: (ids never come twice):
--     :waiting :leased :dead :done  sorted sets: its jobs by number, one for each state
--     :ready    sorted set: members (see records.lua) of waiting jobs that may be claimed once they are due, by
--               (9 - priority) * RANK + due_ms
--     :held     sorted set: of all others that wait (behind the head of their key's line), by due_ms
--     :leases   sorted set: when leases run out; :expires: when jobs expire that were not started
--     :deaths   sorted set: dead jobs by when they died; :ends: done ones by when they were
--     :lines    sorted set: all lines; of a key of an ordered queue all that wait or are leased (or dead, if that
--               stops the line) in their order (see lines.lua)
--     :fair :turns :turned :served  of a fair queue (see turns.lua)
--     :flying   hash: how many jobs of a key are leased; :living: wait or are leased; :workers: each has leased
--     :unique   hash: MessagePack {number, until_ms} by a name under which there is one job
--     :counts   hash: what was done to how many jobs since the generation `epoch` began
--
-- What a function changes of jobs, sorted sets and counters is written together at its end (jobs.save), or before it
-- reads the same set: the calls are what costs most. What is refused half-way is undone (store.undoing).

-- A batch of what happens by itself: more of it is left to the next call (see tending.lua).
jobs.PART = 500

local SETS = {'waiting', 'leased', 'dead', 'done'}
local REST = {'ready', 'held', 'leases', 'expires', 'deaths', 'ends', 'lines', 'fair', 'turns', 'turned', 'served',
  'flying', 'living', 'workers', 'unique', 'counts'}
local COUNTERS = {'flying', 'living', 'workers'}
local SWEPT = 200

-- Return the digits of a whole number; Lua would shorten what is beyond 10^14.
function jobs.text(number)
  return string.format('%.0f', number)
end

-- Return what this function knows of jobs and queues, and what it has to write.
function jobs.of(s)
  if not s.jobs then
    s.jobs = {queues = {}, records = {}, changed = {}, bodies = {}, erased = {}, answers = {}, woken = {}}
  end
  return s.jobs
end

local options_of = remembering(function(text) return cmsgpack.unpack(text) end)

local KEYS = {__index = function(keys, name)
  keys[name] = keys.prefix .. name
  return keys[name]
end}

-- Let a queue behave as its options (MessagePack) say.
function jobs.behave(q, options)
  q.packed, q.options = options, options_of(options)
end

local function new_queue(s, name, kept)
  local id, is_paused, stage, at, options = unpack(kept)
  local q = {name = name, id = id, is_paused = is_paused, stage = stage, at = at, counts = {}, changes = {},
    turning = {}}
  jobs.behave(q, options)
  q.key = setmetatable({prefix = s.p .. ':q:' .. id .. ':'}, KEYS)
  for _, counter in ipairs(COUNTERS) do q[counter] = {} end
  jobs.of(s).queues[name] = q
  return q
end

-- Return a queue; nil if there is none.
function jobs.queue(s, name)
  local q = jobs.of(s).queues[name]
  if q then return q end
  -- HGET: how the queue is declared.
  local kept = redis.call('HGET', s.p .. ':queues', name)
  return kept and new_queue(s, name, cmsgpack.unpack(kept)) or nil
end

function jobs.unknown_queue(name)
  return {'unknown_queue', "there is no queue '" .. name .. "'; declare it first"}
end

-- Write how a queue is declared.
function jobs.save_queue(s, q)
  -- HSET: the queue as it is now.
  redis.call('HSET', s.p .. ':queues', q.name, cmsgpack.pack({q.id, q.is_paused, q.stage, q.at, q.packed}))
end

-- Make a queue.
function jobs.make_queue(s, name, options)
  s.seq = s.seq + 1
  local q = new_queue(s, name, {jobs.text(s.seq), 0, 0, 0, options})
  jobs.save_queue(s, q)
  return q
end

-- Remove a queue and its schedules; its jobs are gone with it. Answers how many those were.
function jobs.drop_queue(s, q)
  local dropped = 0
  for _, state in ipairs(SETS) do
    -- ZCARD: how many jobs there are.
    local count = redis.call('ZCARD', jobs.set(q, state))
    if count > 0 then
      dropped = dropped + count
      local gone = s.p .. ':gone:' .. q.id .. state
      -- RENAME, SADD: what they say is removed bit by bit.
      redis.call('RENAME', q.key[state], gone)
      redis.call('SADD', s.p .. ':gone', gone)
    end
  end
  for _, name in ipairs(REST) do
    -- UNLINK: memory is freed aside.
    redis.call('UNLINK', q.key[name])
  end
  -- HDEL: there is no such queue any more.
  redis.call('HDEL', s.p .. ':queues', q.name)
  s.jobs.queues[q.name] = nil
  jobs.drop_schedules(s, q.name)
  return dropped
end

-- Remove some of the jobs of queues that were dropped.
function jobs.sweep(s)
  -- SRANDMEMBER: whether there are any.
  local swept = redis.call('SRANDMEMBER', s.p .. ':gone')
  if not swept then return end
  -- ZPOPMIN: some of them.
  local popped = redis.call('ZPOPMIN', swept, SWEPT)
  if #popped < 2 * SWEPT then
    -- SREM: these were the last.
    redis.call('SREM', s.p .. ':gone', swept)
  end
  for i = 1, #popped, 2 do
    jobs.erase(s, tonumber(popped[i]))
    -- HDEL: if anything was told of it.
    redis.call('HDEL', s.p .. ':jn', popped[i])
  end
end

-- Sorted sets ---------------------------------------------------------------------------------

local function changes_of(q, set)
  if not q.changes[set] then q.changes[set] = {} end
  return q.changes[set]
end

-- Let a member be in a set.
function jobs.put_in(q, set, member, score)
  changes_of(q, set)[member] = score
end

-- Let a member be in a set no more.
function jobs.take_out(q, set, member)
  changes_of(q, set)[member] = false
end

-- Return the key of a set that is to be read.
function jobs.set(q, set)
  local changes = q.changes[set]
  if not changes then return q.key[set] end
  q.changes[set] = nil
  local added, removed = {}, {}
  for member, score in pairs(changes) do
    if score then
      added[#added + 1] = score
      added[#added + 1] = member
    else
      removed[#removed + 1] = member
    end
  end
  -- ZADD, ZREM: what has changed.
  store.call('ZADD', q.key[set], added)
  store.call('ZREM', q.key[set], removed)
  return q.key[set]
end

-- Counts ------------------------------------------------------------------------------------

-- Return one of a queue's counters: how many `flying` or `living` jobs a key has, or a worker.
function jobs.count_of(q, counter, field)
  local counted = q[counter]
  if not counted[field] then
    -- HGET: as it was before this function.
    local before = tonumber(redis.call('HGET', q.key[counter], field) or 0)
    counted[field] = {before, before}
  end
  return counted[field][1]
end

-- Count up or down.
function jobs.count(q, counter, field, by)
  local now = jobs.count_of(q, counter, field) + by
  q[counter][field][1] = now
  return now
end

local function save_counter(q, counter)
  local set, dropped = {}, {}
  for field, counted in pairs(q[counter]) do
    if counted[1] == 0 and counted[2] ~= 0 then
      dropped[#dropped + 1] = field
    elseif counted[1] ~= counted[2] then
      set[#set + 1] = field
      set[#set + 1] = counted[1]
    end
    counted[2] = counted[1]
  end
  -- HSET, HDEL: the new counts; nothing is left of some.
  store.call('HSET', q.key[counter], set)
  store.call('HDEL', q.key[counter], dropped)
end

-- Note that something was done to a job.
function jobs.did(q, what, times)
  q.counts[what] = (q.counts[what] or 0) + (times or 1)
end

-- Return what was done to jobs, but for what this function did.
function jobs.counts(s, q)
  local told = {}
  -- HGETALL: half a dozen numbers.
  local kept = redis.call('HGETALL', q.key.counts)
  for i = 1, #kept, 2 do told[kept[i]] = kept[i + 1] end
  return told.epoch == s.epoch and told or {}
end

local function save_counts(s, q)
  if next(q.counts) == nil then return end
  -- HGET: the generation that they are of.
  if redis.call('HGET', q.key.counts, 'epoch') ~= s.epoch then
    -- DEL, HSET: they begin anew with each.
    redis.call('DEL', q.key.counts)
    redis.call('HSET', q.key.counts, 'epoch', s.epoch)
  end
  for what, times in pairs(q.counts) do
    -- HINCRBY: so many more.
    if times ~= 0 then redis.call('HINCRBY', q.key.counts, what, times) end
  end
  q.counts = {}
end

-- Tell, at the end, who waits that a queue's jobs may have become claimable.
function jobs.wake(s, q)
  jobs.of(s).woken[q.name] = true
end

-- Write what has changed, and ring; store.finish calls it.
function jobs.save(s)
  if not s.jobs then return end
  for _, q in pairs(s.jobs.queues) do
    jobs.give_turns(s, q)
    for set in pairs(q.changes) do jobs.set(q, set) end
    for _, counter in ipairs(COUNTERS) do save_counter(q, counter) end
    save_counts(s, q)
  end
  jobs.save_records(s)
  jobs.save_answers(s)
  for name in pairs(s.jobs.woken) do
    -- SPUBLISH: a hint, to every node.
    redis.call('SPUBLISH', s.p .. ':ready', name)
  end
  s.jobs.woken = {}
end
