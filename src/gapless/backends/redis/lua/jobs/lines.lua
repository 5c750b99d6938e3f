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
  -- ZADD: where its turn comes.
  redis.call('ZADD', q.key.lines, 0, line_member(job))
end

-- Let a job's line go on without it.
function jobs.leave(q, job)
  -- ZREM: it stands there no more.
  if job.key then redis.call('ZREM', q.key.lines, line_member(job)) end
end

local function free(q, job)
  -- ZADD: to those that may be claimed.
  redis.call('ZADD', q.key.ready, jobs.score(job), job.member)
  if q.options.fair then jobs.offer(q, job) end
end

local function hold(q, job)
  -- ZADD: to those that are held.
  redis.call('ZADD', q.key.held, job.due, job.member)
end

-- Let the first in the line of a key be claimed if it waits and none is leased; but not who came after it.
function jobs.line_up(s, q, key)
  local prefix, from, to = jobs.bounds('=' .. key)
  -- ZRANGEBYLEX: the first two.
  local found = redis.call('ZRANGEBYLEX', q.key.lines, from, to, 'LIMIT', 0, 2)
  for i, member in ipairs(found) do
    local job = jobs.find(s, jobs.number_in(string.sub(member, #prefix + 17)))
    if job.state == 'waiting' then
      if i == 1 and jobs.count_of(q, 'flying', '=' .. key) == 0 then
        -- ZREM: it is held no more, if it was.
        if redis.call('ZREM', q.key.held, job.member) == 1 then free(q, job) end
      else
        -- ZREM: it may not be claimed any more, if it was so.
        if redis.call('ZREM', q.key.ready, job.member) == 1 then hold(q, job) end
        if q.options.fair then jobs.withdraw(s, q, job) end
      end
    end
  end
end

-- Let a job that waits stand where it belongs.
function jobs.stand(s, q, job)
  if not jobs.is_lined(q, job) then return free(q, job) end
  jobs.join(q, job)
  hold(q, job)
  jobs.line_up(s, q, job.key)
end

-- Take a job away from where it waits.
function jobs.unstand(s, q, job)
  -- ZREM: it is in one of the two.
  if redis.call('ZREM', q.key.ready, job.member) == 0 then redis.call('ZREM', q.key.held, job.member) end
  if q.options.fair then jobs.withdraw(s, q, job) end
end

-- Call `found` with the rank of each priority of which jobs may be claimed, the most urgent first.
function jobs.each_rank(q, found)
  local rank = 0
  while rank <= 9 do
    -- ZRANGEBYSCORE: the first of the most urgent.
    local first = redis.call('ZRANGEBYSCORE', q.key.ready, rank * jobs.RANK, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
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
    local found = redis.call('ZRANGEBYSCORE', q.key.ready, base, base + s.now, 'LIMIT', 0, limit - #members)
    for _, member in ipairs(found) do members[#members + 1] = member end
    return #members == limit
  end)
  return members
end
