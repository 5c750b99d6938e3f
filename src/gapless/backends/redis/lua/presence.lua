-- Who is in which channel, by the lease of the node through which they came (core/roster.py is the model). A lease
-- has a number. One that a node has given up, or got back too late, is over: what was entered under it is seen no
-- more, and removed by and by. With a generation all leases are new, since something may have got lost.
--   P:lease     hash: <epoch>:<number> of each node's lease
--   P:leases    sorted set: <number>:<node>, until when (ms) it lasts
--   P:over      set: numbers of leases under which something may still be kept
--   P:last      the last number of a lease
--   P:p:C       hash: <number>:<info> of each client in the channel C
--   P:e:N       set: <bytes of the channel's name>:<channel><client> of what was entered under the lease N

local SWEEP_MAX = 200

local function entered_key(s, number) return s.p .. ':e:' .. number end
local function channel_key(s, channel) return s.p .. ':p:' .. channel end
local function joined(channel, client) return #channel .. ':' .. channel .. client end

local function split(entered)
  local bytes, both = string.match(entered, '^(%d+):(.*)$')
  return string.sub(both, 1, tonumber(bytes)), string.sub(both, tonumber(bytes) + 1)
end

-- Return the number of a node's lease, if it has one of this generation, and until when it lasts.
local function lease_of(s, node)
  -- HGET: the lease that it got last.
  local told = redis.call('HGET', s.p .. ':lease', node)
  local epoch, number = string.match(told or '', '^(.*):(%d+)$')
  if not number then return nil, 0 end
  -- ZSCORE: until when it lasts.
  local until_ms = redis.call('ZSCORE', s.p .. ':leases', number .. ':' .. node)
  return number, epoch == s.epoch and tonumber(until_ms or 0) or 0
end

-- Return who is in a channel: under which lease, and what is told of it.
local function find(s, channel, client)
  -- HGET: what is kept of it.
  local told = redis.call('HGET', channel_key(s, channel), client)
  if told then return string.match(told, '^(%d+):(.*)$') end
end

local function give_up(s, node, number)
  -- HDEL, ZREM: the node has no lease.
  redis.call('HDEL', s.p .. ':lease', node)
  redis.call('ZREM', s.p .. ':leases', number .. ':' .. node)
  -- SADD: what it entered is to be removed.
  redis.call('SADD', s.p .. ':over', number)
end

-- Take out up to `limit` of what was entered under a lease; hand each to `removed`. Tell how many were looked at.
local function take(s, number, limit, removed)
  -- SPOP: any of them.
  local entered = redis.call('SPOP', entered_key(s, number), limit)
  for _, one in ipairs(entered) do
    local channel, client = split(one)
    local under, info = find(s, channel, client)
    if under == number then
      -- HDEL: gone.
      redis.call('HDEL', channel_key(s, channel), client)
      removed(channel, client, info)
    end
  end
  return #entered
end

local function nobody() end

-- Remove some of what is seen no more.
local function sweep(s)
  -- SRANDMEMBER: any lease that is over.
  local number = redis.call('SRANDMEMBER', s.p .. ':over')
  if number and take(s, number, SWEEP_MAX, nobody) < SWEEP_MAX then
    -- SREM: nothing is left.
    redis.call('SREM', s.p .. ':over', number)
  end
end

-- presence_beat(now, token, node, ttl_ms): answers whether it was alive.
local function beat(keys, args)
  local s = store.begin(keys, args)
  local node = args[3]
  sweep(s)
  local number, until_ms = lease_of(s, node)
  local was_alive = until_ms > s.now
  if not was_alive then
    if number then give_up(s, node, number) end
    -- INCR: no number is given twice.
    number = redis.call('INCR', s.p .. ':last')
    -- HSET: it has a lease of this generation.
    redis.call('HSET', s.p .. ':lease', node, s.epoch .. ':' .. number)
  end
  -- ZADD: it lasts from now on.
  redis.call('ZADD', s.p .. ':leases', s.now + tonumber(args[4]), number .. ':' .. node)
  return store.finish(s, was_alive and 1 or 0)
end

-- presence_enter(now, token, node, channel, client, info, channel, ...)
local function enter(keys, args)
  local s = store.begin(keys, args)
  local number, until_ms = lease_of(s, args[3])
  if until_ms <= s.now then return store.finish(s) end
  for i = 4, #args, 3 do
    local channel, client = args[i], args[i + 1]
    local before = find(s, channel, client)
    -- SREM: who comes through another node is not this one's to bury.
    if before and before ~= number then redis.call('SREM', entered_key(s, before), joined(channel, client)) end
    -- HSET, SADD: there, through this node.
    redis.call('HSET', channel_key(s, channel), client, number .. ':' .. args[i + 2])
    redis.call('SADD', entered_key(s, number), joined(channel, client))
  end
  return store.finish(s)
end

-- presence_depart(now, token, node, channel, client, channel, ...)
local function depart(keys, args)
  local s = store.begin(keys, args)
  local number = lease_of(s, args[3])
  for i = 4, number and #args or 0, 2 do
    local channel, client = args[i], args[i + 1]
    if find(s, channel, client) == number then
      -- HDEL, SREM: there no more.
      redis.call('HDEL', channel_key(s, channel), client)
      redis.call('SREM', entered_key(s, number), joined(channel, client))
    end
  end
  return store.finish(s)
end

-- presence_present(now, token, channel): the leases that last, and what the channel's hash says.
local function present(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  -- ZRANGEBYSCORE: a lease for each node that lives.
  local alive = redis.call('ZRANGEBYSCORE', s.p .. ':leases', '(' .. string.format('%.0f', s.now), '+inf')
  -- HGETALL: who asks wants all of it.
  return store.told(s, alive, redis.call('HGETALL', channel_key(s, args[3])))
end

-- presence_bury(now, token, limit): channel, client, info, channel, ...
local function bury(keys, args)
  local s = store.begin(keys, args)
  local left, told = tonumber(args[3]), {}
  local function tell(channel, client, info)
    for _, part in ipairs({channel, client, info}) do told[#told + 1] = part end
  end
  sweep(s)
  -- ZRANGEBYSCORE: leases that have run out.
  local dead = redis.call('ZRANGEBYSCORE', s.p .. ':leases', '-inf', string.format('%.0f', s.now), 'LIMIT', 0, left)
  for _, lease in ipairs(dead) do
    if left == 0 then break end
    local number, node = string.match(lease, '^(%d+):(.*)$')
    local looked_at = take(s, number, left, tell)
    if looked_at < left then give_up(s, node, number) end
    left = left - looked_at
  end
  return store.finish(s, told)
end

-- presence_end(now, token, node)
local function over(keys, args)
  local s = store.begin(keys, args)
  local number = lease_of(s, args[3])
  if number then give_up(s, args[3], number) end
  sweep(s)
  return store.finish(s)
end

define('presence_beat', beat, {'allow-oom'})
define('presence_enter', enter)
define('presence_depart', depart, {'allow-oom'})
define('presence_present', present, {'no-writes'})
define('presence_bury', bury, {'allow-oom'})
define('presence_end', over, {'allow-oom'})
