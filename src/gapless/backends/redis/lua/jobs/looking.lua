-- Looking at jobs, and tidying them up by hand.

-- What is told of a job: what may be missing is told with '=' before it, or as ''.
local function view(s, job, body)
  local reason, details, result = jobs.note_of(s, job)
  return {jobs.id(job), job.queue, jobs.state_code(job.state), jobs.field(job), job.priority, job.attempt,
    job.enqueued, job.due, job.worker, reason, details, job.ended, result and '=' .. result or '', body}
end

-- Return a job as it stands after what was to happen in its queue by now.
local function job_now(s, number, epoch)
  local job, q = jobs.find(s, number, epoch)
  if not job then return nil end
  jobs.tend(s, q)
  return jobs.find(s, number, epoch)
end

local function unknown(s, number)
  return jobs.refuse(s, {'unknown_job', 'there is no job ' .. number .. ', or not any more'})
end

-- look(now, token, chances, number, epoch): the job.
local function look(keys, args)
  local s = jobs.begin(keys, args)
  local job = job_now(s, tonumber(args[4]), args[5])
  if s.jobs.more then return jobs.more(s) end
  if not job then return unknown(s, args[4]) end
  return store.finish(s, view(s, job, jobs.bodies_of(s, {job})[1]))
end

-- cancel(now, token, chances, number, epoch): remove a job that waits; what it was.
local function cancel(keys, args)
  local s = jobs.begin(keys, args)
  local job, q = job_now(s, tonumber(args[4]), args[5])
  if s.jobs.more then return jobs.more(s) end
  if not job then return unknown(s, args[4]) end
  if job.state ~= 'waiting' then
    return jobs.refuse(s, {'job_started', 'job ' .. args[4] .. ' is ' .. job.state
      .. '; only one that waits can be cancelled'})
  end
  local told = view(s, job, jobs.bodies_of(s, {job})[1])
  jobs.move(s, q, job, 'gone', 0)
  jobs.wake(s, q)
  return store.finish(s, told)
end

-- states(now, token, chances, jobs): each is {number, epoch}. Answers the state of each.
local function states(keys, args)
  local s = jobs.begin(keys, args)
  local asked = cmsgpack.unpack(args[4])
  if not jobs.tend_of(s, asked) then return jobs.more(s) end
  local told = {}
  for i, one in ipairs(asked) do
    local job = jobs.find(s, one[1], one[2])
    told[i] = jobs.state_code(job and job.state or 'gone')
  end
  return store.finish(s, told)
end

-- Return the numbers of jobs of a state, in their order.
local function numbers_of(q, state, after, limit)
  if state == 'gone' then return {} end
  -- ZRANGEBYSCORE: they stand there by their numbers.
  return redis.call('ZRANGEBYSCORE', jobs.set(q, state), '(' .. after, '+inf', 'LIMIT', 0, limit)
end

-- browse(now, token, chances, queue, state, after, limit, bytes_max): answers 1 if others follow, and the jobs.
local function browse(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local limit, left = tonumber(args[7]), tonumber(args[8])
  local numbers = numbers_of(q, args[5], args[6], limit + 1)
  local page = {}
  for i = 1, math.min(limit, #numbers) do
    local job = jobs.find(s, tonumber(numbers[i]))
    left = left - job.size
    if #page > 0 and left < 0 then break end
    page[i] = job
  end
  local told, bodies = {}, jobs.bodies_of(s, page)
  for i, job in ipairs(page) do told[i] = view(s, job, bodies[i]) end
  return store.finish(s, #told < #numbers and 1 or 0, told)
end

-- Return the jobs of a state that are named, a list of {number, epoch}; or the first ones, if none are (false).
local function selected(s, q, state, named, limit)
  if not named then
    named = {}
    for i, number in ipairs(numbers_of(q, state, '0', limit)) do named[i] = {tonumber(number)} end
  end
  local found, seen = {}, {}
  for _, one in ipairs(named) do
    local job, of = jobs.find(s, one[1], one[2])
    if job and of == q and job.state == state and not seen[job] then
      seen[job] = true
      found[#found + 1] = job
    end
  end
  table.sort(found, function(a, b) return a.number < b.number end)
  return found
end

local function begin_anew(s, q, job, data)
  if data then jobs.edit(s, job, data) end
  jobs.forget_note(s, job)
  jobs.leave(q, job)
  s.seq = s.seq + 1
  jobs.put(job, s.seq)
  job.first, job.attempt, job.strikes, job.alone, job.worker, job.ended = s.now, 0, 0, false, '', 0
  jobs.let_expire(s, q, job)
  jobs.move(s, q, job, 'waiting', s.now)
end

-- redrive(now, token, chances, queue, named, limit, data, audit): dead jobs wait again. `named` are jobs or false,
-- `data` '' or '=' and the payload of the only one. Answers how many.
local function redrive(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local dead = selected(s, q, 'dead', cmsgpack.unpack(args[5]), tonumber(args[6]))
  if #dead == 0 then return store.finish(s, 0) end
  local refused = jobs.record(s, args[8])
  if refused then return refused end
  for _, job in ipairs(dead) do begin_anew(s, q, job, args[7] ~= '' and string.sub(args[7], 2)) end
  jobs.wake(s, q)
  return store.finish(s, #dead)
end

-- purge(now, token, chances, queue, named, limit, state, audit): remove jobs; so as `redrive`.
local function purge(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local gone = selected(s, q, args[7], cmsgpack.unpack(args[5]), tonumber(args[6]))
  if #gone == 0 then return store.finish(s, 0) end
  local refused = jobs.record(s, args[8])
  if refused then return refused end
  for _, job in ipairs(gone) do jobs.move(s, q, job, 'gone', 0) end
  jobs.wake(s, q)
  return store.finish(s, #gone)
end

-- Return how many jobs of a set are due, when the first was or is, and when the next is that is not.
local function by_due(q, set, base, now)
  local from, to = base, base + jobs.RANK - 1
  -- ZCOUNT, ZRANGEBYSCORE: by when they are due.
  local due = redis.call('ZCOUNT', jobs.set(q, set), from, base + now)
  local first = redis.call('ZRANGEBYSCORE', q.key[set], from, to, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local after = '(' .. jobs.text(base + now)
  local later = redis.call('ZRANGEBYSCORE', q.key[set], after, to, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return due, first and first - base, later and later - base
end

-- Return the same of all jobs that wait.
local function waiting_by_due(s, q)
  local due, first, later = by_due(q, 'held', 0, s.now)
  jobs.each_rank(q, function(base)
    local more, one, another = by_due(q, 'ready', base, s.now)
    due = due + more
    first = math.min(first or one, one or first)
    later = later and another and math.min(later, another) or later or another
  end)
  return due, first, later
end

-- Return when the first of a set comes, or nil.
local function first_of(q, set)
  -- ZRANGE: the first.
  return tonumber(redis.call('ZRANGE', jobs.set(q, set), 0, 0, 'WITHSCORES')[2])
end

-- next_due(now, token, chances, queue): when something changes by itself, or 0.
local function next_due(keys, args)
  local s, q = jobs.begin_queue(keys, args)
  if not s then return q end
  local _, _, next_ms = waiting_by_due(s, q)
  local lease_ms = first_of(q, 'leases')
  local stops = q.options.on_dead == 'stop' and q.options.dead_ms > 0
  local died_ms = stops and first_of(q, 'deaths')
  next_ms = math.min(next_ms or math.huge, lease_ms or math.huge, died_ms and died_ms + q.options.dead_ms or math.huge)
  return store.finish(s, q.is_paused == 0 and next_ms < math.huge and next_ms or 0)
end

local DONE_TO = {'enqueued', 'claimed', 'acked', 'failed', 'died'}

local function counted(s, q)
  local due, first = waiting_by_due(s, q)
  local told = {q.name, q.packed, q.is_paused, due}
  for i, state in ipairs({'waiting', 'leased', 'dead', 'done'}) do
    -- ZCARD: how many are there.
    told[4 + i] = redis.call('ZCARD', jobs.set(q, state))
  end
  told[5] = told[5] - due
  told[9] = due > 0 and s.now - first or 0
  local counts = jobs.counts(s, q)
  for i, what in ipairs(DONE_TO) do told[9 + i] = tonumber(counts[what] or 0) + (q.counts[what] or 0) end
  return told
end

-- queue_names(now, token): of all queues.
local function queue_names(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  -- HKEYS: there are QUEUES_MAX at most.
  return store.told(s, redis.call('HKEYS', s.p .. ':queues'))
end

-- queues(now, token, chances, queue...): how each is declared, and how many of its jobs are where.
local function queues(keys, args)
  local s = jobs.begin(keys, args)
  local found = {}
  for i = 4, #args do
    local q = jobs.queue(s, args[i])
    if q then
      jobs.tend(s, q)
      found[#found + 1] = q
    end
  end
  if s.jobs.more then return jobs.more(s) end
  local told = {}
  for i, q in ipairs(found) do told[i] = counted(s, q) end
  return store.finish(s, told)
end

define('look', look, {'allow-oom'})
define('cancel', cancel, {'allow-oom'})
define('states', states, {'allow-oom'})
define('browse', browse, {'allow-oom'})
define('redrive', redrive, {'allow-oom'})
define('purge', purge, {'allow-oom'})
define('next_due', next_due, {'allow-oom'})
define('queue_names', queue_names, {'no-writes'})
define('queues', queues, {'allow-oom'})
