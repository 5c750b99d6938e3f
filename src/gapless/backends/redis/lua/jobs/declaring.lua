-- Which queues there are, how they behave, and what recurs in them.
--
--   P:schedules  hash: MessagePack {queue, spec, last_ms} by the name of a recurring job

-- What of a fair queue means nothing for others.
local OF_FAIR = {'fair', 'turns', 'turned', 'served'}

local function places_alike(before, after)
  return before.ordered == after.ordered and before.fair == after.fair and before.on_dead == after.on_dead
end

-- Let a queue behave otherwise from now on; its jobs are given their places anew, bit by bit, if that matters.
local function change(s, q, options)
  local before = q.options
  jobs.behave(q, options)
  if not places_alike(before, q.options) then
    q.stage, q.at = 1, 0
    if not q.options.fair then q.turning = {} end
    for _, name in ipairs(q.options.fair and {} or OF_FAIR) do
      q.changes[name] = nil
      -- UNLINK: nobody takes turns any more.
      redis.call('UNLINK', q.key[name])
    end
  end
  jobs.save_queue(s, q)
  q.is_tended = false
  jobs.tend(s, q)
end

-- declare(now, token, chances, queue, options, most): answers 1 if it is new.
local function declare(keys, args)
  local s = jobs.begin(keys, args)
  local q = jobs.queue(s, args[4])
  -- HLEN: how many queues there are.
  if not q and redis.call('HLEN', s.p .. ':queues') >= tonumber(args[6]) then
    return jobs.refuse(s, {'limit_exceeded', 'there are ' .. args[6] .. ' queues'})
  end
  if q and not jobs.tend(s, q) then return jobs.more(s) end
  if not q then
    jobs.wake(s, jobs.make_queue(s, args[4], args[5]))
    return store.finish(s, 1)
  end
  if q.packed ~= args[5] then change(s, q, args[5]) end
  jobs.wake(s, q)
  if s.jobs.more then return jobs.more(s) end
  return store.finish(s, 0)
end

-- Begin a function about the queue that its fourth argument names; nil and what to answer instead.
function jobs.begin_queue(keys, args)
  local s = jobs.begin(keys, args)
  local q = jobs.queue(s, args[4])
  if not q then return nil, jobs.refuse(s, jobs.unknown_queue(args[4])) end
  if not jobs.tend(s, q) then return nil, jobs.more(s) end
  return s, q
end

-- Append what records a deed, before it; nil, or what to answer in place of the deed.
function jobs.record(s, audit)
  if audit == '' then return nil end
  local stored, refused = streams.admit(s, cmsgpack.unpack(audit))
  return not stored and jobs.refuse(s, refused) or nil
end

-- drop(now, token, chances, queue): answers how many jobs went with it.
local function drop(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local dropped = jobs.drop_queue(s, q)
  jobs.sweep(s)
  return store.finish(s, dropped)
end

-- pause(now, token, chances, queue, paused, audit)
local function pause(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local refused = jobs.record(s, args[6])
  if refused then return refused end
  q.is_paused = tonumber(args[5])
  jobs.save_queue(s, q)
  if q.is_paused == 0 then jobs.wake(s, q) end
  return store.finish(s)
end

-- Schedules ----------------------------------------------------------------------------------

local function schedule_of(s, name)
  -- HGET: the recurring job of that name.
  local kept = redis.call('HGET', s.p .. ':schedules', name)
  if kept then return unpack(cmsgpack.unpack(kept)) end
end

local function save_schedule(s, name, queue, spec, last_ms)
  -- HSET: as it is now.
  redis.call('HSET', s.p .. ':schedules', name, cmsgpack.pack({queue, spec, last_ms}))
end

-- Forget the recurring jobs of a queue.
function jobs.drop_schedules(s, queue)
  -- HGETALL: there are SCHEDULES_MAX at most.
  local kept = redis.call('HGETALL', s.p .. ':schedules')
  for i = 1, #kept, 2 do
    -- HDEL: it has no queue any more.
    if cmsgpack.unpack(kept[i + 1])[1] == queue then redis.call('HDEL', s.p .. ':schedules', kept[i]) end
  end
end

-- schedule(now, token, name, queue, spec, last_ms, most)
local function schedule(keys, args)
  local s = store.begin(keys, args)
  if not jobs.queue(s, args[4]) then return jobs.refuse(s, jobs.unknown_queue(args[4])) end
  local queue, _, last_ms = schedule_of(s, args[3])
  -- HLEN: how many there are.
  if not queue and redis.call('HLEN', s.p .. ':schedules') >= tonumber(args[7]) then
    return jobs.refuse(s, {'limit_exceeded', 'there are ' .. args[7] .. ' schedules'})
  end
  save_schedule(s, args[3], args[4], args[5], math.max(tonumber(args[6]), last_ms or 0))
  return store.finish(s)
end

-- unschedule(now, token, name): answers 1 if there was one.
local function unschedule(keys, args)
  local s = store.begin(keys, args)
  -- HDEL: it recurs no more.
  return store.finish(s, redis.call('HDEL', s.p .. ':schedules', args[3]))
end

-- schedules(now, token): the time, then name, queue, spec, last_ms of each.
local function schedules(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  local told = {}
  -- HGETALL: there are SCHEDULES_MAX at most.
  local kept = redis.call('HGETALL', s.p .. ':schedules')
  for i = 1, #kept, 2 do told[#told + 1] = {kept[i], unpack(cmsgpack.unpack(kept[i + 1]))} end
  return store.told(s, s.now, told)
end

-- fire(now, token, chances, name, spec, tick_ms, emits): answers 1 if this tick was still to be decided.
local function fire(keys, args)
  local s = jobs.begin(keys, args)
  local tick_ms, emits = tonumber(args[6]), cmsgpack.unpack(args[7])
  local queue, spec, last_ms = schedule_of(s, args[4])
  if not queue or spec ~= args[5] or tick_ms <= last_ms or tick_ms > s.now then return store.finish(s, 0) end
  if not jobs.tend_emits(s, emits) then return jobs.more(s) end
  local enqueued, refused = jobs.emit_all(s, emits)
  if refused then return jobs.refuse(s, refused) end
  save_schedule(s, args[4], queue, spec, tick_ms)
  return store.finish(s, 1)
end

define('declare', declare)
define('drop', drop, {'allow-oom'})
define('pause', pause, {'allow-oom'})
define('schedule', schedule)
define('unschedule', unschedule, {'allow-oom'})
define('schedules', schedules, {'no-writes'})
define('fire', fire)
