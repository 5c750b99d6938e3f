-- What becomes of jobs: by somebody's deed, or while nobody looked.
--
-- Whoever looks at a queue lets happen first what was to happen by now, up to jobs.PART of a kind; if that was not
-- all, the function does nothing else and answers MORE, and is called again (see jobs.py). So nothing happens late as
-- far as anybody can see, and no call takes long.
--
-- A lapse takes chance, if the queue's policy does. The caller gives it as a list, but only when it was told MORE:
-- most calls need none. Where nobody gives any (what a commit emits) this file draws.

local LAPSED, EXPIRED = 'the lease ran out', 'not started in time'
-- What a job is leaving, by its state: where it is by time.
local BY_TIME = {leased = 'leases', dead = 'deaths', done = 'ends'}

-- Return after how many milliseconds an attempt follows (core/retry.py).
function jobs.delay_ms(retry, attempt, chance)
  local delays = retry.delays_ms
  if #delays > 0 then return delays[math.min(attempt, #delays)] end
  local power = retry.factor ^ (attempt - 1)
  local full = power < math.huge and math.min(retry.cap_ms, retry.base_ms * power) or retry.cap_ms
  return math.floor(retry.jitter and full * (0.5 + chance / 2) or full)
end

local function is_living(state)
  return state == 'waiting' or state == 'leased'
end

local function leave_state(q, job)
  jobs.take_out(q, job.state, job.number)
  if job.state == 'waiting' then
    jobs.unstand(q, job)
    if job.expires_at > 0 then jobs.take_out(q, 'expires', jobs.pad(job.number)) end
  else
    jobs.take_out(q, BY_TIME[job.state], jobs.pad(job.number))
  end
  if job.state == 'leased' then
    jobs.count(q, 'flying', jobs.field(job), -1)
    jobs.count(q, 'workers', job.worker, -1)
  end
end

local function enter_state(s, q, job)
  jobs.put_in(q, job.state, job.number, job.number)
  if job.state == 'waiting' then return jobs.stand(s, q, job) end
  jobs.put_in(q, BY_TIME[job.state], jobs.pad(job.number), job.state == 'leased' and job.due or job.ended)
  if job.state == 'leased' then
    jobs.count(q, 'flying', jobs.field(job), 1)
    jobs.count(q, 'workers', job.worker, 1)
  end
end

-- What is to be done when a job is no longer among the living, or is again.
local function count_living(q, job, was)
  local is = is_living(job.state)
  if was == is then return end
  local field = jobs.field(job)
  local left = jobs.count(q, 'living', field, is and 1 or -1)
  if not is then
    jobs.free_name(q, job)
    if q.options.fair and left == 0 then jobs.forget_served(q, field) end
  end
end

-- Let a job be in another state; `due` is when it falls due, or its lease ends.
function jobs.move(s, q, job, to, due)
  local was = job.state
  leave_state(q, job)
  job.state, job.due, job.fence = to, due, ''
  if to ~= 'waiting' then job.expires_at = 0 end
  local is_in_line = is_living(to) or (to == 'dead' and q.options.on_dead == 'stop')
  if not is_in_line then jobs.leave(q, job) end
  if to == 'gone' then
    jobs.forget_note(s, job)
    jobs.erase(s, job.number)
  else
    jobs.save_job(s, job)
    enter_state(s, q, job)
  end
  count_living(q, job, is_living(was))
  if was == 'leased' and q.options.fair then jobs.turn(q, jobs.field(job)) end
  if jobs.is_lined(q, job) and to ~= 'leased' then jobs.line_up(s, q, job.key) end
end

-- Let a job expire unless it is started in time.
function jobs.let_expire(s, q, job)
  if job.expires_ms == 0 then return end
  job.expires_at = math.max(job.first + job.expires_ms, s.now)
  jobs.put_in(q, 'expires', jobs.pad(job.number), job.expires_at)
end

-- Make a job a dead letter.
function jobs.die(s, q, job, at, reason, details)
  jobs.did(q, 'died')
  job.ended = at
  jobs.note(s, job, reason, details, false)
  jobs.move(s, q, job, 'dead', 0)
end

-- Let a job that failed follow by the queue's policy, or after a delay; or die, if its attempts are used up.
function jobs.fail(s, q, job, at, reason, details, chance, delay)
  local retry = q.options.retry
  jobs.did(q, 'failed')
  if job.strikes >= retry.attempts_max then return jobs.die(s, q, job, at, reason, details) end
  jobs.note(s, job, reason, details, false)
  jobs.move(s, q, job, 'waiting', at + (delay or jobs.delay_ms(retry, job.attempt, chance)))
end

-- What happens by itself --------------------------------------------------------------------

-- Return members of a queue's set whose time has come, the first first, and note if there are more.
local function over(s, q, set, until_ms)
  -- ZRANGEBYSCORE: what was to happen by now.
  local found = redis.call('ZRANGEBYSCORE', jobs.set(q, set), '-inf', until_ms, 'LIMIT', 0, jobs.PART)
  if #found == jobs.PART then s.jobs.more = true end
  return found
end

local function draw(s)
  local chances = s.jobs.chances
  return chances and table.remove(chances) or math.random()
end

local function lapse(s, q)
  local lapsed = over(s, q, 'leases', s.now)
  local chances = s.jobs.chances
  if #lapsed > 0 and chances and #chances == 0 and q.options.retry.jitter then
    s.jobs.more = true
    return
  end
  for _, member in ipairs(lapsed) do
    local job = jobs.find(s, tonumber(member))
    if job.alone then job.strikes = job.strikes + 1 end
    job.alone = true
    jobs.fail(s, q, job, job.due, LAPSED, '', draw(s))
  end
end

-- Let a job die that was not started in time.
function jobs.expire(s, q, job)
  jobs.die(s, q, job, job.expires_at, EXPIRED, '')
end

local function purge_over(s, q, set, kept_ms)
  for _, member in ipairs(over(s, q, set, s.aged - kept_ms)) do
    jobs.move(s, q, jobs.find(s, tonumber(member)), 'gone', 0)
  end
end

local RELAID = {'waiting', 'leased', 'dead'}

local function relay_one(s, q, job)
  if job.state == 'waiting' then
    jobs.unstand(q, job)
    jobs.leave(q, job)
    return jobs.stand(s, q, job)
  end
  if jobs.is_lined(q, job) and (job.state == 'leased' or q.options.on_dead == 'stop') then
    jobs.join(q, job)
  else
    jobs.leave(q, job)
  end
  if jobs.is_lined(q, job) then jobs.line_up(s, q, job.key, true) end
end

-- Give some of the jobs their places anew: the queue's options are others than before.
local function relay(s, q)
  -- ZRANGEBYSCORE: whose turn it is.
  local numbers = redis.call('ZRANGEBYSCORE', jobs.set(q, RELAID[q.stage]), '(' .. jobs.text(q.at), '+inf', 'LIMIT', 0,
    jobs.PART)
  for _, number in ipairs(numbers) do
    q.at = tonumber(number)
    relay_one(s, q, (jobs.find(s, q.at)))
  end
  if #numbers < jobs.PART then
    q.stage, q.at = (q.stage + 1) % (#RELAID + 1), 0
  end
  if q.stage > 0 then s.jobs.more = true end
  jobs.save_queue(s, q)
end

-- Let happen what was to happen by now. Answers whether that was all.
function jobs.tend(s, q)
  if q.is_tended then return not s.jobs.more end
  q.is_tended = true
  if q.stage > 0 then relay(s, q) end
  lapse(s, q)
  for _, member in ipairs(over(s, q, 'expires', s.now)) do
    jobs.expire(s, q, (jobs.find(s, tonumber(member))))
  end
  if q.options.dead_ms > 0 then purge_over(s, q, 'deaths', q.options.dead_ms) end
  purge_over(s, q, 'ends', q.options.result_ms)
  return not s.jobs.more
end

-- Begin a function about jobs: its third argument are chances (MessagePack), or nothing.
function jobs.begin(keys, args)
  local s = store.begin(keys, args)
  jobs.of(s).chances = args[3] ~= '' and cmsgpack.unpack(args[3]) or {}
  return s
end

-- Answer that the function is to be called again, with chances.
function jobs.more(s)
  return store.finish(s, 'MORE')
end

-- Answer an error in place of the call. What was undone by then, or happened by itself, is written.
function jobs.refuse(s, refused)
  store.finish(s)
  return redis.error_reply('GAPLESS ' .. refused[1] .. ' ' .. refused[2])
end
