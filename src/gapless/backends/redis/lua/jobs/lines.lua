-- Where a job stands that waits: in `ready`, of which jobs are claimed once they are due, or in `held`.
--
-- In an ordered queue the jobs of a key stand in a line: members of `lines` are <size and name of the key><when the job
-- first fell or falls due><the job's member>, in the order of their bytes. A job joins its line "when it first falls
-- due, at the end": since the line is ordered by just that, it stands there from the beginning, and whoever falls due
-- before it comes before it. Only the first of a line is in `ready`, and only if no job of the key is leased.

local LAST = '\255'

-- How much a priority counts for more than any time.
jobs.RANK = 2 ^ 49

-- Return how claims are ordered.
function jobs.score(job)
  return (9 - job.priority) * jobs.RANK + job.due
end

-- Return what stands for a key, or for all jobs without one.
function jobs.field(job)
  return job.key and '=' .. job.key or '-'
end

-- Return what members begin with that are of a key, and the bounds of all of them.
function jobs.bounds(field)
  local prefix = string.format('%03d', #field) .. field
  return prefix, '[' .. prefix, '[' .. prefix .. LAST
end

function jobs.is_lined(q, job)
  return q.options.ordered and job.key
end

local function line_member(job)
  return jobs.bounds(jobs.field(job)) .. jobs.pad(job.first) .. job.member
end

-- Let a job stand in the line of its key.
function jobs.join(q, job)
  jobs.put_in(q, 'lines', line_member(job), 0)
end

-- Let a job's line go on without it.
function jobs.leave(q, job)
  if job.key then jobs.take_out(q, 'lines', line_member(job)) end
end

-- A job that waits is in `ready`, or in `held`: there it is held up, or of a fair queue and has been seen to be due.
local function free(s, q, job)
  job.stands = 'ready'
  jobs.put_in(q, 'ready', job.member, jobs.score(job))
  if q.options.fair then jobs.offer(q, job) end
  jobs.save_job(s, job)
end

local function hold(s, q, job)
  job.stands = 'held'
  jobs.put_in(q, 'held', job.member, job.due)
  jobs.save_job(s, job)
end

-- Take a job away from where it waits.
function jobs.unstand(q, job)
  jobs.take_out(q, job.stands == 'ready' and 'ready' or 'held', job.member)
  if q.options.fair and job.stands ~= 'held' then jobs.withdraw(q, job) end
end

-- Return the first members of a key's line, and where in them the job's member begins.
local function first_of(q, key, count)
  local prefix, from, to = jobs.bounds('=' .. key)
  -- ZRANGEBYLEX: who is first.
  return redis.call('ZRANGEBYLEX', jobs.set(q, 'lines'), from, to, 'LIMIT', 0, count), #prefix + 17
end

-- Let the first in the line of a key be claimed if it waits and none is leased; but not whoever came after it. The
-- second is looked at too if somebody may have got before it.
function jobs.line_up(s, q, key, is_new_head)
  local found, member_at = first_of(q, key, is_new_head and 2 or 1)
  for i, member in ipairs(found) do
    local job = jobs.find(s, jobs.number_in(string.sub(member, member_at)))
    local is_held = job.stands == 'held'
    local may_be_claimed = i == 1 and jobs.count_of(q, 'flying', '=' .. key) == 0
    if job.state == 'waiting' and is_held == may_be_claimed then
      jobs.unstand(q, job)
      local stand = is_held and free or hold
      stand(s, q, job)
    end
  end
end

-- Let a job that waits stand where it belongs.
function jobs.stand(s, q, job)
  if not jobs.is_lined(q, job) then return free(s, q, job) end
  jobs.join(q, job)
  hold(s, q, job)
  if first_of(q, job.key, 1)[1] == line_member(job) then jobs.line_up(s, q, job.key, true) end
end

-- Call `found` with the rank of each priority of which jobs may be claimed, the most urgent first.
function jobs.each_rank(q, found)
  local rank = 0
  while rank <= 9 do
    -- ZRANGEBYSCORE: the first of the most urgent.
    local first = redis.call('ZRANGEBYSCORE', jobs.set(q, 'ready'), rank * jobs.RANK, '+inf', 'WITHSCORES',
      'LIMIT', 0, 1)
    if #first == 0 then return end
    rank = math.floor(first[2] / jobs.RANK)
    if found(rank * jobs.RANK, first[2] - rank * jobs.RANK) then return end
    rank = rank + 1
  end
end

-- Return members of jobs that may be claimed now, up to `limit`, in their order.
function jobs.due_members(s, q, limit)
  local members = {}
  jobs.each_rank(q, function(base)
    -- ZRANGEBYSCORE: what is due of one priority.
    local found = redis.call('ZRANGEBYSCORE', jobs.set(q, 'ready'), base, base + s.now, 'LIMIT', 0,
      limit - #members)
    for _, member in ipairs(found) do members[#members + 1] = member end
    return #members == limit
  end)
  return members
end
