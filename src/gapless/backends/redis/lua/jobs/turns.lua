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
    local member = redis.call('ZRANGEBYLEX', jobs.set(q, 'fair'), from, to, 'LIMIT', 0, 1)[1]
    if not member then return nil end
    local rank = string.sub(member, #prefix + 1, #prefix + 1)
    local due = string.sub(member, #prefix + 2, #prefix + 17)
    if tonumber(due) <= s.now then return rank, due, string.sub(member, #prefix + 18) end
    from = '[' .. prefix .. (rank + 1)
  end
end

-- Let a key have the turn that is due to it, or none, before anybody is to have a turn.
function jobs.turn(q, field)
  q.turning[field] = true
end

local function give_turn(s, q, field)
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
    jobs.take_out(q, 'turns', before)
    -- HDEL: it has that turn no more.
    redis.call('HDEL', q.key.turned, field)
  end
  if turn then
    jobs.put_in(q, 'turns', turn, jobs.count_of(q, 'flying', field))
    -- HSET: its turn, after those with fewer jobs in flight.
    redis.call('HSET', q.key.turned, field, turn)
  end
end

-- Let all keys have the turns that are due to them.
function jobs.give_turns(s, q)
  for field in pairs(q.turning) do give_turn(s, q, field) end
  q.turning = {}
end

-- Let a job be among those of its key that may be claimed.
function jobs.offer(q, job)
  jobs.put_in(q, 'fair', fair_member(job), 0)
end

-- Let it be no more.
function jobs.withdraw(q, job)
  jobs.take_out(q, 'fair', fair_member(job))
  jobs.turn(q, jobs.field(job))
end

-- Give turns to the keys of which jobs have fallen due; tell whether that was all.
function jobs.take_turns(s, q)
  local members = jobs.due_members(s, q, jobs.PART)
  for _, member in ipairs(members) do
    local job = jobs.find(s, jobs.number_in(member))
    jobs.take_out(q, 'ready', member)
    jobs.put_in(q, 'held', member, job.due)
    job.stands = 'turn'
    jobs.save_job(s, job)
    jobs.turn(q, jobs.field(job))
  end
  return #members < jobs.PART
end

-- Return the job whose turn it is; nil if none is due.
function jobs.next_turn(s, q)
  jobs.give_turns(s, q)
  -- ZRANGE: the first.
  local turn = redis.call('ZRANGE', jobs.set(q, 'turns'), 0, 0)[1]
  if not turn then return nil end
  local _, _, member = best(s, q, string.sub(turn, KEY_AT))
  return (jobs.find(s, jobs.number_in(member)))
end

-- Remember that a job's key was served.
function jobs.serve(q, job, fence)
  -- HSET: under which fence.
  redis.call('HSET', q.key.served, jobs.field(job), fence)
  jobs.turn(q, jobs.field(job))
end

-- Forget that a key was served, of which nothing is left.
function jobs.forget_served(q, field)
  -- HDEL: if it comes back, it is as new.
  redis.call('HDEL', q.key.served, field)
end
