-- What becomes of claimed jobs.
--
--   P:js:<epoch>:<n>  hash: MessagePack {number, epoch, deed, state, due, at_ms, emitted} by the last two digits of a
--                     fence that was settled, of which n is the rest: what was answered, so that a repeat is told the
--                     same. Small hashes take a tenth of the room. It ends by itself, as P:jr:<digest> does

local BLOCK = 100

local function answer_key(s, fence)
  local epoch, number = string.match(fence, '^(%x+):(%d+)$')
  if not epoch then return nil end
  number = tonumber(number)
  return s.p .. ':js:' .. epoch .. ':' .. jobs.text(math.floor(number / BLOCK)), number % BLOCK
end

-- Return what the same settlement was answered before; nil if it was not.
local function settled_before(s, asked)
  local key, field = answer_key(s, asked.fence)
  if not key then return nil end
  local answers = s.jobs.answers[key]
  -- HGET: what was answered, if not by this function.
  local held = answers and answers[field] or redis.call('HGET', key, field)
  if not held then return nil end
  held = cmsgpack.unpack(held)
  if held[1] ~= asked.number or held[2] ~= asked.epoch or held[3] ~= asked.deed
    or held[6] + jobs.SETTLED_MS <= s.now then return nil end
  return {1, held[4], held[5], 1, held[7]}
end

local function hold_answer(s, job, asked, told)
  local key, field = answer_key(s, asked.fence)
  local answers = s.jobs.answers
  if not answers[key] then answers[key] = {} end
  answers[key][field] = cmsgpack.pack({job.number, job.epoch, asked.deed, told[2], told[3], s.now, told[5]})
end

-- Write what was answered, so that a repeat is told the same.
function jobs.save_answers(s)
  for key, answers in pairs(s.jobs.answers) do
    local values = {}
    for field, answer in pairs(answers) do
      values[#values + 1] = field
      values[#values + 1] = answer
    end
    -- HSET, PEXPIRE: it is held for so long.
    store.call('HSET', key, values)
    redis.call('PEXPIRE', key, jobs.ANSWER_MS)
  end
  s.jobs.answers = {}
end

-- What is emitted may have the name that the job lets go of.
local function emit(s, q, job, deed, emits)
  if #emits == 0 then return {} end
  local until_ms = (deed == 'ack' or deed == 'bury') and jobs.free_name(q, job)
  local emitted, refused = jobs.emit_all(s, emits)
  if refused and until_ms then jobs.hold_name(q, job, until_ms) end
  return emitted, refused
end

local DEEDS = {}

function DEEDS.ack(s, q, job, asked)
  jobs.did(q, 'acked')
  if q.options.result_ms == 0 then return jobs.move(s, q, job, 'gone', 0) end
  if asked.result then
    local reason, details = jobs.note_of(s, job)
    jobs.note(s, job, reason, details, asked.result)
  end
  job.ended = s.now
  jobs.move(s, q, job, 'done', 0)
end

function DEEDS.retry(s, q, job, asked)
  job.strikes, job.alone = job.strikes + 1, false
  jobs.fail(s, q, job, s.now, asked.reason, asked.details, asked.chance, asked.delay)
end

function DEEDS.release(s, q, job, asked)
  job.attempt = job.attempt - 1
  if job.attempt == 0 then jobs.let_expire(s, q, job) end
  jobs.move(s, q, job, 'waiting', s.now + (asked.delay or 0))
  if job.expires_at > 0 and job.expires_at <= s.now then jobs.expire(s, q, job) end
end

function DEEDS.bury(s, q, job, asked)
  jobs.did(q, 'failed')
  jobs.die(s, q, job, s.now, asked.reason, asked.details)
end

local ASKED = {'number', 'epoch', 'fence', 'deed', 'delay', 'result', 'reason', 'details', 'chance', 'emits'}

local function settle_one(s, packed)
  local asked = {}
  for i, value in ipairs(packed) do asked[ASKED[i]] = value end
  local job, q = jobs.leased(s, asked.number, asked.epoch, asked.fence)
  if not job then return settled_before(s, asked) or {0, q[1], q[2]} end
  local emitted, refused = emit(s, q, job, asked.deed, asked.emits)
  if refused then return {0, refused[1], refused[2]} end
  s.seq = s.seq + 1
  DEEDS[asked.deed](s, q, job, asked)
  jobs.wake(s, q)
  local due = job.state == 'waiting' and job.due or 0
  local told = {1, jobs.state_code(job.state), due, 0, emitted}
  hold_answer(s, job, asked, told)
  return told
end

-- settle(now, token, chances, settlements): each a list of ASKED, of which `delay` and `result` may be false.
-- Answers of each {1, state, due, 1 if it was answered before, what was emitted} or {0, code, message}.
local function settle(keys, args)
  local s = jobs.begin(keys, args)
  local settlements = cmsgpack.unpack(args[4])
  jobs.tend_of(s, settlements)
  for _, asked in ipairs(settlements) do jobs.tend_emits(s, asked[#ASKED]) end
  if s.jobs.more then return jobs.more(s) end
  local told = {}
  for i, asked in ipairs(settlements) do told[i] = settle_one(s, asked) end
  return store.finish(s, told)
end

define('settle', settle, {'allow-oom'})
define('settle_emitting', settle)
