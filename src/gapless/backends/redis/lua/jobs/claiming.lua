-- Jobs on their way to workers.
--
--   P:jc:<digest>  MessagePack {at_ms, number, fence, number, fence, ...}: what a request to claim was given; it ends
--                  by itself, as P:jr:<digest> does

-- What is told of jobs that are leased.
local function claimed(s, leased)
  local told, bodies = {}, jobs.bodies_of(s, leased)
  for i, job in ipairs(leased) do
    told[i] = {jobs.id(job), jobs.field(job), job.priority, job.attempt, job.fence, job.enqueued, job.due,
      job.alone and 1 or 0, bodies[i]}
  end
  return told
end

-- Return the jobs that a request was given before and has still.
local function claimed_before(s, key)
  -- GET: what it was given.
  local held = redis.call('GET', key)
  held = held and cmsgpack.unpack(held) or {0}
  local found = {}
  if held[1] + jobs.SETTLED_MS <= s.now then return found end
  for i = 2, #held, 2 do
    local job = jobs.find(s, held[i])
    if job and job.fence == held[i + 1] then found[#found + 1] = job end
  end
  return found
end

local function room(q, worker, limit)
  local options = q.options
  if options.in_flight_max > 0 then
    -- ZCARD: how many are leased.
    limit = math.min(limit, options.in_flight_max - redis.call('ZCARD', jobs.set(q, 'leased')))
  end
  if options.in_flight_per_worker_max > 0 then
    limit = math.min(limit, options.in_flight_per_worker_max - jobs.count_of(q, 'workers', worker))
  end
  return limit
end

-- Return a function that tells which job is next.
local function in_order(s, q, limit)
  if q.options.fair then return function() return jobs.next_turn(s, q) end end
  local numbers, at = {}, 0
  for i, member in ipairs(jobs.due_members(s, q, limit)) do numbers[i] = jobs.number_in(member) end
  jobs.fetch(s, numbers)
  return function()
    at = at + 1
    return numbers[at] and jobs.find(s, numbers[at])
  end
end

local function lease(s, q, job, worker, until_ms)
  local fence = store.next_fence(s)
  job.worker, job.attempt = worker, job.attempt + 1
  jobs.move(s, q, job, 'leased', until_ms)
  job.fence = s.epoch .. ':' .. jobs.text(fence)
  jobs.did(q, 'claimed')
  if q.options.fair then jobs.serve(q, job, fence) end
end

local function lease_next(s, q, worker, limit, until_ms, bytes_max)
  local leased, left = {}, bytes_max
  local following = in_order(s, q, limit)
  while #leased < limit do
    local job = following()
    if not job then break end
    left = left - job.size
    if #leased > 0 and (job.alone or left < 0) then break end
    lease(s, q, job, worker, until_ms)
    leased[#leased + 1] = job
    if job.alone then break end
  end
  return leased
end

local function hold_request(s, key, leased)
  local held = {s.now}
  for _, job in ipairs(leased) do
    held[#held + 1] = job.number
    held[#held + 1] = job.fence
  end
  -- SET: so that a repeat is told the same.
  redis.call('SET', key, cmsgpack.pack(held), 'PX', jobs.ANSWER_MS)
end

-- claim(now, token, chances, queue, worker, limit, lease_ms or 0, request, bytes_max): `request` is a digest or ''.
-- Answers 1 if it repeats an earlier claim, and the jobs, as `claimed` tells of them.
local function claim(keys, args)
  local s = jobs.begin(keys, args)
  local q = jobs.queue(s, args[4])
  if not q then return jobs.refuse(s, jobs.unknown_queue(args[4])) end
  if not jobs.tend(s, q) or (q.options.fair and not jobs.take_turns(s, q)) then return jobs.more(s) end
  local key = args[8] ~= '' and s.p .. ':jc:' .. args[8]
  local again = key and claimed_before(s, key) or {}
  if #again > 0 then return store.finish(s, 1, claimed(s, again)) end
  local limit = q.is_paused == 1 and 0 or room(q, args[5], tonumber(args[6]))
  local lease_ms = tonumber(args[7])
  local until_ms = s.now + (lease_ms > 0 and lease_ms or q.options.lease_ms)
  local leased = limit > 0 and lease_next(s, q, args[5], limit, until_ms, tonumber(args[9])) or {}
  if key and #leased > 0 then hold_request(s, key, leased) end
  return store.finish(s, 0, claimed(s, leased))
end

-- Return a job that is leased under a fence, and its queue; nil and what refuses it.
function jobs.leased(s, number, epoch, fence)
  local job, q = jobs.find(s, number, epoch)
  if not job or job.state ~= 'leased' or job.fence ~= fence or job.due <= s.now then
    return nil, {'lease_lost', 'the lease of job ' .. jobs.text(number) .. ' has ended'}
  end
  return job, q
end

-- Let happen what was to happen in the queues of jobs, lists that begin with {number, epoch}; tell whether that was
-- all.
function jobs.tend_of(s, items)
  local numbers = {}
  for i, item in ipairs(items) do numbers[i] = item[1] end
  jobs.fetch(s, numbers)
  for _, item in ipairs(items) do
    local job, q = jobs.find(s, item[1], item[2])
    if job then jobs.tend(s, q) end
  end
  return not s.jobs.more
end

-- extend(now, token, chances, lease_ms, leases): each is {number, epoch, fence}. Answers until when each lasts, or
-- {code, message}.
local function extend(keys, args)
  local s = jobs.begin(keys, args)
  local leases = cmsgpack.unpack(args[5])
  if not jobs.tend_of(s, leases) then return jobs.more(s) end
  local told, until_ms = {}, s.now + tonumber(args[4])
  for i, one in ipairs(leases) do
    local job, q = jobs.leased(s, unpack(one))
    if job then
      job.due = until_ms
      jobs.put_in(q, 'leases', jobs.pad(job.number), until_ms)
      jobs.save_job(s, job)
    end
    told[i] = job and until_ms or q
  end
  return store.finish(s, told)
end

define('claim', claim, {'allow-oom'})
define('extend', extend, {'allow-oom'})
