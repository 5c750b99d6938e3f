-- Jobs, as they are kept.
--
--   P:j   hash: all that rules a job (RECORD), by its number
--   P:jb  hash: what it says (headers, message id, payload), by its number: opaque here
--   P:jn  hash: MessagePack {reason, details, result or false}, of those that failed or are done
--
-- A job's number is the store's seq when it was enqueued; so is its `place`, by which it is ordered among those that
-- fell due in the same millisecond, until it is redriven and gets a new one. Where jobs stand in an order their
-- *member* is the place, of fixed width, and after a colon the number if that is another.

-- Seven times; size, attempt, strikes; priority, state, where it stands, whether it is to be alone, and is noted;
-- then texts, each after its size: queue, its id, epoch, key, unique name, worker, fence.
local RECORD = '>I8I8I8I8I8I8I8I4I4I4BBBBBI2c0I2c0I2c0I2c0I2c0I2c0I2c0'

-- States, by the sorted set in which a job's number is, and where those stand that wait: kept as numbers.
local STATES = {[0] = 'waiting', 'leased', 'dead', 'done'}
local STATE_CODES = {waiting = 0, leased = 1, dead = 2, done = 3, gone = 4}
local STANDS = {[0] = 'held', 'ready', 'turn'}
local STAND_CODES = {held = 0, ready = 1, turn = 2}

function jobs.state_code(state)
  return STATE_CODES[state]
end

-- Return a number of fixed width, so that the order of texts is that of numbers.
function jobs.pad(number)
  return string.format('%016.0f', number)
end

local function member_of(number, place)
  return number == place and jobs.pad(place) or jobs.pad(place) .. ':' .. jobs.text(number)
end

-- Return the number of the job that a member stands for.
function jobs.number_in(member)
  return tonumber(#member > 16 and string.sub(member, 18) or member)
end

-- Return the id of a job.
function jobs.id(job)
  return jobs.text(job.number) .. '-' .. job.epoch
end

-- Let a job have another place than it had.
function jobs.put(job, place)
  job.place = place
  job.member = member_of(job.number, place)
end

local function unpacked(number, kept)
  local j = {number = number}
  local state, stands, alone, is_noted, key, unique
  j.expires_ms, j.enqueued, j.due, j.first, j.place, j.expires_at, j.ended, j.size, j.attempt, j.strikes, j.priority,
    state, stands, alone, is_noted, j.queue, j.queue_id, j.epoch, key, unique, j.worker, j.fence =
    struct.unpack(RECORD, kept)
  j.state, j.stands, j.alone, j.is_noted = STATES[state], STANDS[stands], alone == 1, is_noted == 1
  j.key = key ~= '' and string.sub(key, 2)
  j.unique = unique ~= '' and unique
  j.member = member_of(number, j.place)
  return j
end

local function packed(j)
  local key, unique = j.key and '=' .. j.key or '', j.unique or ''
  return struct.pack(RECORD, j.expires_ms, j.enqueued, j.due, j.first, j.place, j.expires_at, j.ended, j.size,
    j.attempt, j.strikes, j.priority, STATE_CODES[j.state], STAND_CODES[j.stands], j.alone and 1 or 0, j.is_noted and 1 or 0,
    #j.queue, j.queue, #j.queue_id, j.queue_id, #j.epoch, j.epoch, #key, key, #unique, unique, #j.worker, j.worker,
    #j.fence, j.fence)
end

local function read(s, number, kept)
  s.jobs.records[number] = kept and unpacked(number, kept) or false
  return s.jobs.records[number]
end

-- Read jobs by their numbers, all at once.
function jobs.fetch(s, numbers)
  local records, wanted = jobs.of(s).records, {}
  for _, number in ipairs(numbers) do
    if records[number] == nil then wanted[#wanted + 1] = number end
  end
  if #wanted == 0 then return end
  -- HMGET: what rules them; there are JOBS_MAX at most.
  local kept = redis.call('HMGET', s.p .. ':j', unpack(wanted))
  for i, number in ipairs(wanted) do read(s, number, kept[i]) end
end

-- Return a job and its queue; nil if there is none. With `epoch`, it is the one that was enqueued then.
function jobs.find(s, number, epoch)
  local job = jobs.of(s).records[number]
  if job == nil then
    -- HGET: what rules the job.
    job = read(s, number, redis.call('HGET', s.p .. ':j', number))
  end
  if not job or (epoch and job.epoch ~= epoch) then return nil end
  local q = jobs.queue(s, job.queue)
  if not q or q.id ~= job.queue_id then return nil end
  return job, q
end

-- Note that a job has changed.
function jobs.save_job(s, job)
  s.jobs.changed[job.number] = job
end

-- Keep a job that is new, with what it says.
function jobs.add_job(s, job, body)
  s.jobs.records[job.number] = job
  s.jobs.bodies[job.number] = body
  s.jobs.changed[job.number] = job
end

-- Note that nothing is kept any more under a number.
function jobs.erase(s, number)
  s.jobs.erased[number] = true
  s.jobs.changed[number], s.jobs.bodies[number], s.jobs.records[number] = nil, nil, false
end

-- Write all that has changed.
function jobs.save_records(s)
  local erased, records, bodies = {}, {}, {}
  for number in pairs(s.jobs.erased) do erased[#erased + 1] = number end
  for number, job in pairs(s.jobs.changed) do
    records[#records + 1] = number
    records[#records + 1] = packed(job)
  end
  for number, body in pairs(s.jobs.bodies) do
    bodies[#bodies + 1] = number
    bodies[#bodies + 1] = body
  end
  -- HDEL: there are no such jobs any more.
  store.call('HDEL', s.p .. ':j', erased)
  store.call('HDEL', s.p .. ':jb', erased)
  -- HSET: what rules jobs, and what they say.
  store.call('HSET', s.p .. ':j', records)
  store.call('HSET', s.p .. ':jb', bodies)
  s.jobs.erased, s.jobs.changed, s.jobs.bodies = {}, {}, {}
end

-- Return what each of some jobs says.
function jobs.bodies_of(s, found)
  if #found == 0 then return {} end
  local numbers = {}
  for i, job in ipairs(found) do numbers[i] = job.number end
  -- HMGET: headers, message id and payload of each; there are JOBS_MAX at most.
  return redis.call('HMGET', s.p .. ':jb', unpack(numbers))
end

-- Replace the payload of a job: it is the end of what it says, after 8 bytes with the sizes of what is before it.
function jobs.edit(s, job, data)
  local body = jobs.bodies_of(s, {job})[1]
  local headers, message_id = struct.unpack('>I4I4', body)
  job.size = headers + #data
  s.jobs.bodies[job.number] = string.sub(body, 1, 8 + headers + message_id) .. data
end

-- Return the reason and details of a job's last failure, and its result or false.
function jobs.note_of(s, job)
  -- HGET: there is one if it failed or is done.
  local note = job.is_noted and redis.call('HGET', s.p .. ':jn', job.number)
  if not note then return '', '', false end
  return unpack(cmsgpack.unpack(note))
end

-- Keep what was told of a job.
function jobs.note(s, job, reason, details, result)
  job.is_noted = true
  -- HSET: what was told.
  redis.call('HSET', s.p .. ':jn', job.number, cmsgpack.pack({reason, details, result}))
end

-- Forget what was told of a job.
function jobs.forget_note(s, job)
  -- HDEL: if anything was.
  if job.is_noted then redis.call('HDEL', s.p .. ':jn', job.number) end
  job.is_noted = false
end

-- Names under which there is one job --------------------------------------------------------

-- Return the number of the job that holds a name, and until when; nil if none does any more.
function jobs.holder(s, q, name)
  -- HGET: who holds it.
  local held = redis.call('HGET', q.key.unique, name)
  if not held then return nil end
  local number, until_ms = unpack(cmsgpack.unpack(held))
  if until_ms > 0 and until_ms <= s.now then return nil end
  return number, until_ms
end

-- Let a job hold its name.
function jobs.hold_name(q, job, until_ms)
  -- HSET: it holds it from now on.
  redis.call('HSET', q.key.unique, job.unique, cmsgpack.pack({job.number, until_ms}))
end

-- Let go of a job's name, if it has it still; answers until when it had it.
function jobs.free_name(q, job)
  -- HGET: who holds it, if only as long as nobody asks for it.
  local held = job.unique and redis.call('HGET', q.key.unique, job.unique)
  if not held then return nil end
  local number, until_ms = unpack(cmsgpack.unpack(held))
  if number ~= job.number then return nil end
  -- HDEL: another may have it.
  redis.call('HDEL', q.key.unique, job.unique)
  return until_ms
end
