-- Fair queues: keys are served by turns. Fewest in flight first, then served longest ago, then the best job.
--
-- Of a fair queue:
--   :fair    sorted set of one score: <size and name of the key><9 - priority><when due><member> of each job that may
--            be claimed once it is due, so that the best of a key is found by its bytes
--   :turns   sorted set: the keys that have such a job which is due, by how many are in flight; members are
--            <fence that was served last, or 0><9 - priority><when due><place><key>, so that equals go by that
--   :turned  hash: the member of `turns` of each key
--   :served  hash: the fence that each key was given last, of keys with jobs that wait or are leased
--
-- A job that falls due is moved from `ready` to `held` when it is first seen to be due, and its key gets a turn.

local KEY_AT = 16 + 1 + 16 + 16 + 1

local function fair_member(job)
  local prefix = jobs.bounds(jobs.field(job))
  return prefix .. (9 - job.priority) .. jobs.pad(job.due) .. job.member
end

-- Return rank, when due and member of the best job of a key that is due.
local function best(s, q, field)
  local prefix, from, to = jobs.bounds(field)
  for _ = 0, 9 do
    -- ZRANGEBYLEX: the first of the most urgent.
    local member = redis.call('ZRANGEBYLEX', q.key.fair, from, to, 'LIMIT', 0, 1)[1]
    if not member then return nil end
    local rank = string.sub(member, #prefix + 1, #prefix + 1)
    local due = string.sub(member, #prefix + 2, #prefix + 17)
    if tonumber(due) <= s.now then return rank, due, string.sub(member, #prefix + 18) end
    from = '[' .. prefix .. (rank + 1)
  end
end

-- Let a key have the turn that is due to it, or none.
function jobs.turn(s, q, field)
  local rank, due, member = best(s, q, field)
  -- HGET: the turn that it has.
  local before = redis.call('HGET', q.key.turned, field)
  local turn = false
  if member then
    -- HGET: when it was served.
    local served = tonumber(redis.call('HGET', q.key.served, field) or 0)
    turn = jobs.pad(served) .. rank .. due .. string.sub(member, 1, 16) .. field
  end
  if before and before ~= turn then
    -- ZREM, HDEL: it has that turn no more.
    redis.call('ZREM', q.key.turns, before)
    redis.call('HDEL', q.key.turned, field)
  end
  if turn then
    -- ZADD, HSET: its turn, after those with fewer jobs in flight.
    redis.call('ZADD', q.key.turns, jobs.count_of(q, 'flying', field), turn)
    redis.call('HSET', q.key.turned, field, turn)
  end
end

-- Let a job be among those of its key that may be claimed.
function jobs.offer(q, job)
  -- ZADD: it is found there.
  redis.call('ZADD', q.key.fair, 0, fair_member(job))
end

-- Let it be no more.
function jobs.withdraw(s, q, job)
  -- ZREM: it is not found there.
  if redis.call('ZREM', q.key.fair, fair_member(job)) == 1 then jobs.turn(s, q, jobs.field(job)) end
end

-- Give turns to the keys of which jobs have fallen due; tell whether that was all.
function jobs.take_turns(s, q)
  local members = jobs.due_members(s, q, jobs.PART)
  local fields = {}
  for _, member in ipairs(members) do
    local job = jobs.find(s, jobs.number_in(member))
    -- ZREM, ZADD: it was seen to be due.
    redis.call('ZREM', q.key.ready, member)
    redis.call('ZADD', q.key.held, job.due, member)
    fields[jobs.field(job)] = true
  end
  for field in pairs(fields) do jobs.turn(s, q, field) end
  return #members < jobs.PART
end

-- Return the job whose turn it is; nil if none is due.
function jobs.next_turn(s, q)
  -- ZRANGE: the first.
  local turn = redis.call('ZRANGE', q.key.turns, 0, 0)[1]
  if not turn then return nil end
  local _, _, member = best(s, q, string.sub(turn, KEY_AT))
  return (jobs.find(s, jobs.number_in(member)))
end

-- Remember that a job's key was served.
function jobs.serve(s, q, job, fence)
  -- HSET: under which fence.
  redis.call('HSET', q.key.served, jobs.field(job), fence)
  jobs.turn(s, q, jobs.field(job))
end

-- Forget that a key was served, of which nothing is left.
function jobs.forget_served(q, field)
  -- HDEL: if it comes back, it is as new.
  redis.call('HDEL', q.key.served, field)
end
