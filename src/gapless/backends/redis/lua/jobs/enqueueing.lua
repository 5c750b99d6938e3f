-- Taking jobs in.
--
--   P:jr:<digest>  MessagePack {at_ms, batches of the whole call, {1, id, is_new, id, ...} or false of each here}: what
--                  a part of a request to enqueue was answered. It ends by itself, some time after it means nothing by
--                  the store's time

-- How long an answer is held, and how long the server keeps it at least: its clock may be another than `now`.
jobs.SETTLED_MS = 600000
jobs.ANSWER_MS = 660000

-- One job ------------------------------------------------------------------------------------

-- Return when a job first falls due; nil and what refuses it.
local function first_due(s, delay_ms, at_ms, ahead_max_ms)
  if at_ms == 0 then return s.now + delay_ms end
  if at_ms - s.now > ahead_max_ms then
    return nil, {'bad_request', 'at_ms lies ' .. jobs.text(at_ms - s.now) .. ' ms ahead; use up to '
      .. jobs.text(ahead_max_ms)}
  end
  return math.max(s.now, at_ms)
end

local function place(s, q, e, first)
  s.seq = s.seq + 1
  local job = {
    number = s.seq, queue = q.name, queue_id = q.id, epoch = s.epoch, key = e.key, priority = e.priority,
    unique = e.unique, expires_ms = e.expires_ms, enqueued = s.now, size = e.size, state = 'waiting', due = first,
    first = first, attempt = 0, strikes = 0, alone = false, expires_at = 0, ended = 0, worker = '', fence = '',
    is_noted = false, stands = 'held',
  }
  jobs.put(job, s.seq)
  jobs.add_job(s, job, e.body)
  jobs.put_in(q, 'waiting', job.number, job.number)
  jobs.let_expire(s, q, job)
  jobs.stand(s, q, job)
  jobs.count(q, 'living', jobs.field(job), 1)
  if e.unique then jobs.hold_name(q, job, e.unique_ms > 0 and s.now + e.unique_ms or 0) end
  jobs.did(q, 'enqueued')
  jobs.wake(s, q)
  if s.undo then
    store.undoing(s, function()
      jobs.move(s, q, job, 'gone', 0)
      jobs.did(q, 'enqueued', -1)
    end)
  end
  return job
end

local JOB = {'queue', 'key', 'priority', 'delay_ms', 'at_ms', 'expires_ms', 'unique', 'unique_ms', 'size', 'body',
  'message', 'ahead_max_ms'}

local function named(packed)
  local e = {}
  for i, value in ipairs(packed) do e[JOB[i]] = value end
  return e
end

-- Enqueue a job, a list of the values of JOB. Of these `key` and `unique` may be false, and so may be `message`: what
-- streams.hold_key takes. Answers {id, 1 if it is new}; or nil and {code, message}: then nothing was done.
function jobs.admit(s, packed)
  local e = named(packed)
  local q = jobs.queue(s, e.queue)
  if not q then return nil, jobs.unknown_queue(e.queue) end
  jobs.tend(s, q)
  local first, refused = first_due(s, e.delay_ms, e.at_ms, e.ahead_max_ms)
  if refused then return nil, refused end
  local told
  if e.message then told, refused = streams.key_held(s, e.message) end
  if told then return {jobs.text(told[2]) .. '-' .. told[1], 0} end
  if refused then return nil, refused end
  local holder = e.unique and jobs.holder(s, q, e.unique)
  local most = q.options.waiting_max
  -- ZCARD: how many wait.
  if not holder and most > 0 and redis.call('ZCARD', jobs.set(q, 'waiting')) >= most then
    return nil, {'limit_exceeded', jobs.text(most) .. " jobs wait in '" .. q.name .. "', and no more may"}
  end
  if e.message and streams.keys_held(s, e.message[3]) >= e.message[4] then
    return nil, {'too_many_requests', 'too many message ids are held'}
  end
  local job = holder and jobs.find(s, holder) or place(s, q, e, first)
  if e.message then streams.hold_key(s, e.message, {job.epoch, job.number, s.now}) end
  return {jobs.id(job), holder and 0 or 1}
end

-- Several ------------------------------------------------------------------------------------

local KINDS = {
  entry = function(s, value) return streams.admit(s, value) end,
  job = jobs.admit,
  refused = function(_, value) return nil, value end,
}

-- Append and enqueue what is emitted: a list of {kind, value}, in that order. Answers what became of each; or nil and
-- {code, message}: then the caller rolls back what was done.
function jobs.emit(s, emits)
  local emitted = {}
  for i, emit in ipairs(emits) do
    local one, refused = KINDS[emit[1]](s, emit[2])
    if refused then return nil, refused end
    emitted[i] = one
  end
  return emitted
end

-- Emit all or none; so as `jobs.emit`, but nothing was done where it is refused.
function jobs.emit_all(s, emits)
  if #emits == 0 then return {} end
  local mark = store.mark(s)
  local emitted, refused = jobs.emit(s, emits)
  if refused then
    store.rollback(s, mark)
    return nil, refused
  end
  store.keep(s)
  store.flush(s)
  return emitted
end

-- Let happen what was to happen in the queues of jobs that are to be enqueued; tell whether that was all.
function jobs.tend_emits(s, emits)
  for _, emit in ipairs(emits) do
    local q = emit[1] == 'job' and jobs.queue(s, emit[2][1])
    if q then jobs.tend(s, q) end
  end
  return not s.jobs.more
end

-- Return what a request was answered before; nil if it was not. Or nil, and what refuses it now.
local function requested(s, key, all, here)
  -- GET: what it was answered.
  local held = key and redis.call('GET', key)
  if not held then return nil end
  local at_ms, before, told = unpack(cmsgpack.unpack(held))
  if at_ms + jobs.SETTLED_MS <= s.now then return nil end
  if before ~= all or #told ~= here then
    return nil, {'bad_request', 'the request came before with ' .. before
      .. ' batches: give each call an id of its own'}
  end
  return told
end

local function hold_request(s, key, all, told)
  local held = {}
  for i, answer in ipairs(told) do held[i] = answer[1] == 1 and answer end
  -- SET: so that a repeat is told the same.
  redis.call('SET', key, cmsgpack.pack({s.now, all, held}), 'PX', jobs.ANSWER_MS)
end

local function enqueue_batch(s, emits)
  local enqueued, refused = jobs.emit_all(s, emits)
  if refused then return {0, refused[1], refused[2]} end
  local told = {1}
  for _, one in ipairs(enqueued) do
    told[#told + 1] = one[1]
    told[#told + 1] = one[2]
  end
  return told
end

-- enqueue(now, token, chances, request, all, batches): `request` is a digest or '', `all` how many batches the call has
-- of which these are a part, a batch what `jobs.emit` takes.
-- Answers of each {1, id, 1 if it is new, id, ...} or {0, code, message}.
local function enqueue(keys, args)
  local s = jobs.begin(keys, args)
  local all, batches = tonumber(args[5]), cmsgpack.unpack(args[6])
  jobs.sweep(s)
  for _, batch in ipairs(batches) do jobs.tend_emits(s, batch) end
  if s.jobs.more then return jobs.more(s) end
  local key = args[4] ~= '' and s.p .. ':jr:' .. args[4]
  local before, refused = requested(s, key, all, #batches)
  if refused then return jobs.refuse(s, refused) end
  local told = {}
  for i, batch in ipairs(batches) do told[i] = before and before[i] or enqueue_batch(s, batch) end
  if key then hold_request(s, key, all, told) end
  return store.finish(s, told)
end

-- store_all(now, token, chances, emits): append and enqueue in one transaction. Answers what became of each.
local function store_all(keys, args)
  local s = jobs.begin(keys, args)
  local emits = cmsgpack.unpack(args[4])
  if not jobs.tend_emits(s, emits) then return jobs.more(s) end
  local emitted, refused = jobs.emit_all(s, emits)
  if refused then return jobs.refuse(s, refused) end
  return store.finish(s, emitted)
end

define('enqueue', enqueue)
define('store_all', store_all)
