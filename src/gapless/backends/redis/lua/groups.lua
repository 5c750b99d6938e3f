-- Declared streams, and the groups that read streams together. Who holds what is decided by core/membership.py in
-- the process that calls; it is kept here if nothing has changed since that process looked.
--   P:declared    hash: the JSON of its options by a stream's name
--   P:groups      set: every group's name G, which is <bytes of the source's name>:<source><group>
--   P:revision    how many revisions of groups there ever were
--   P:g:G         hash: one group
--                 revision    epoch:number, another one at each change of who holds what; none comes twice
--                 partitions  how many
--                 members     MessagePack: their names, as they joined
--                 h<n>        MessagePack: {holder, is_leaving, fence} of partition n
--                 p<n>        MessagePack: {epoch, offset as text} where the group stands in it
--   P:gs:G        sorted set: its members, until when (ms) the session of each lasts

local function keys_of(s, name)
  return s.p .. ':g:' .. name, s.p .. ':gs:' .. name
end

-- declare_stream(now, token, name, partitions, options, most)
local function declare_stream(keys, args)
  local s = store.begin(keys, args)
  local declared = s.p .. ':declared'
  -- HGET: what it was declared with.
  local before = redis.call('HGET', declared, args[3])
  -- HLEN: how many there are.
  if not before and redis.call('HLEN', declared) >= tonumber(args[6]) then
    return redis.error_reply('GAPLESS limit_exceeded there are ' .. args[6] .. ' streams')
  end
  local partitions = before and cjson.decode(before).partitions
  if before and partitions ~= tonumber(args[4]) then
    return redis.error_reply('GAPLESS bad_request the stream has ' .. partitions
      .. ' partitions, which never changes')
  end
  -- HSET: how it is declared from now on.
  redis.call('HSET', declared, args[3], args[5])
  return store.finish(s, before and 0 or 1)
end

-- declared_streams(now, token): name, options, name, options, ...
local function declared_streams(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  -- HGETALL: there are DECLARED_STREAMS_MAX at most.
  return store.told(s, redis.call('HGETALL', s.p .. ':declared'))
end

local function forget(s, name)
  -- SREM: it is listed no more.
  store.write(s, 'SREM', s.p .. ':groups', name)
  -- DEL: what is kept of it.
  store.write(s, 'DEL', keys_of(s, name))
end

-- drop_stream(now, token, name, source): `source` is what the names of its groups begin with.
local function drop_stream(keys, args)
  local s = store.begin(keys, args)
  -- HDEL: the declaration, if there is one.
  if redis.call('HDEL', s.p .. ':declared', args[3]) == 0 then
    return redis.error_reply('GAPLESS unknown_stream there is no such stream')
  end
  -- SMEMBERS: there are GROUPS_MAX at most.
  for _, name in ipairs(redis.call('SMEMBERS', s.p .. ':groups')) do
    if string.sub(name, 1, #args[4]) == args[4] then forget(s, name) end
  end
  return store.finish(s)
end

-- group_names(now, token): of all groups.
local function group_names(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  -- SMEMBERS: there are GROUPS_MAX at most.
  return store.told(s, redis.call('SMEMBERS', s.p .. ':groups'))
end

-- group_look(now, token, G...): the time, then of each its hash and its sessions.
local function group_look(keys, args)
  local s = store.look(keys, args)
  if not s then return store.AGAIN end
  local told = {s.now}
  for i = 3, #args do
    local group, sessions = keys_of(s, args[i])
    -- HGETALL, ZRANGE: a group has PARTITIONS_MAX partitions and about MEMBERS_MAX members at most.
    told[i - 1] = {redis.call('HGETALL', group), redis.call('ZRANGE', sessions, 0, -1, 'WITHSCORES')}
  end
  return store.told(s, unpack(told))
end

-- group_renew(now, token, G, revision, member, session_ms, partition...): lengthen a session in a group that is as
-- it was, and in which everybody's session lasts. Answers 1, until when it does, and the positions; else 0.
local function group_renew(keys, args)
  local s = store.begin(keys, args)
  local group, sessions = keys_of(s, args[3])
  -- HGET: whether anything has changed.
  if redis.call('HGET', group, 'revision') ~= args[4] then return store.finish(s, 0) end
  -- ZRANGE: whose session ends first.
  if tonumber(redis.call('ZRANGE', sessions, 0, 0, 'WITHSCORES')[2] or 0) <= s.now then
    return store.finish(s, 0)
  end
  local until_ms = s.now + tonumber(args[6])
  -- ZADD: the session goes on.
  store.write(s, 'ZADD', sessions, until_ms, args[5])
  local positions = {}
  for i = 7, #args do positions[i - 6] = 'p' .. args[i] end
  -- HMGET: where the group stands in what the member holds.
  if #positions > 0 then positions = redis.call('HMGET', group, unpack(positions)) end
  return store.finish(s, 1, until_ms, positions)
end

local function write_holds(s, group, holds)
  for _, hold in ipairs(holds) do
    local fence = hold[4] or s.epoch .. ':' .. string.format('%.0f', store.next_fence(s))
    -- HSET: who holds a partition now, under which fence.
    store.write(s, 'HSET', group, 'h' .. hold[1], cmsgpack.pack({hold[2], hold[3], fence}))
  end
end

local function write_position(s, group, partition, position)
  if position then
    -- HSET: where the group stands now.
    store.write(s, 'HSET', group, 'p' .. partition, cmsgpack.pack(position))
  else
    -- HDEL: it stands nowhere.
    store.write(s, 'HDEL', group, 'p' .. partition)
  end
end

local function write_sessions(s, sessions, gone, member, until_ms)
  for _, one in ipairs(gone) do
    -- ZREM: its session has ended, or it left.
    store.write(s, 'ZREM', sessions, one)
  end
  -- ZADD: it is there from now on.
  if member then store.write(s, 'ZADD', sessions, until_ms, member) end
end

-- Append what records a deed; nil, or what to answer in place of the deed.
local function record(s, audit)
  if audit == '' then return nil end
  local stored, refused = streams.admit(s, cmsgpack.unpack(audit))
  if not stored then return redis.error_reply('GAPLESS ' .. refused[1] .. ' ' .. refused[2]) end
end

-- group_change(now, token, G, change, audit, most): keep what was decided of a group that is as it was. `change` is
-- {revision or '', partitions, members, gone, {{partition, holder, is_leaving, fence or false}...},
-- {{partition, position or false}...}, member or false, session_ms}.
-- Answers 1, until when the member's session lasts, the epoch, and the last fence that was given; else 0.
local function group_change(keys, args)
  local s = store.begin(keys, args)
  local group, sessions = keys_of(s, args[3])
  local revision, partitions, members, gone, holds, positions, member, session_ms = unpack(cmsgpack.unpack(args[4]))
  -- HGET: whether anything has changed.
  local before = redis.call('HGET', group, 'revision')
  if (before or '') ~= revision then return store.finish(s, 0) end
  -- SCARD: how many groups there are.
  if not before and redis.call('SCARD', s.p .. ':groups') >= tonumber(args[6]) then
    return redis.error_reply('GAPLESS limit_exceeded there are ' .. args[6] .. ' groups')
  end
  local refused = record(s, args[5])
  if refused then return refused end
  -- SADD: it is listed.
  if not before then store.write(s, 'SADD', s.p .. ':groups', args[3]) end
  -- INCR: numbers of revisions are given once in a generation.
  local number = redis.call('INCR', s.p .. ':revision')
  -- HSET: what is there of the group as a whole.
  store.write(s, 'HSET', group, 'revision', s.epoch .. ':' .. number, 'partitions', partitions,
    'members', cmsgpack.pack(members))
  write_holds(s, group, holds)
  for _, sought in ipairs(positions) do write_position(s, group, sought[1], sought[2]) end
  write_sessions(s, sessions, gone, member, s.now + session_ms)
  return store.finish(s, 1, s.now + session_ms, s.epoch, s.fence)
end

-- group_drop(now, token, G, audit): answers whether there was one.
local function group_drop(keys, args)
  local s = store.begin(keys, args)
  -- SISMEMBER: whether there is such a group.
  if redis.call('SISMEMBER', s.p .. ':groups', args[3]) == 0 then return store.finish(s, 0) end
  local refused = record(s, args[4])
  if refused then return refused end
  forget(s, args[3])
  return store.finish(s, 1)
end

-- Return a partition as it stands: its holder and fence, and where the group is in it.
local function partition_of(s, name, n)
  local group = keys_of(s, name)
  s.partitions = s.partitions or {}
  local found = s.partitions[n]
  if not found then
    -- HMGET: all that a commit is held against.
    local kept = redis.call('HMGET', group, 'h' .. n, 'p' .. n)
    local hold = kept[1] and cmsgpack.unpack(kept[1]) or {'', 0, ''}
    found = {holder = hold[1], fence = hold[3], position = kept[2] and cmsgpack.unpack(kept[2])}
    s.partitions[n] = found
  end
  return found
end

-- Return whether a stream is past a position of its own timeline; nil: that is not settled yet.
local function is_past(s, stream, position)
  local head = streams.head(s, stream)
  return store.holds(s, position[1], tonumber(position[2]), 0, head.last, streams.lineage(s, head))
end

local UNSETTLED = {'unavailable', 'what this generation of the store has is not settled yet; ask again'}

-- Return whether a commit of a position moves the group on that stands at `stands`, or what refuses it
-- (core/membership.py, leads_on).
local function leads_on(s, stream, stands, position)
  if stands and stands[1] == position[1] and stands[2] == position[2] then return false end
  local past = is_past(s, stream, position)
  if past == nil then return nil, UNSETTLED end
  if not past then
    return nil, {'position_conflict', position[1] .. ':' .. position[2] .. ' is no place of the stream'}
  end
  local before, after = stands and tonumber(stands[2]), tonumber(position[2])
  if not stands or after > before then return true end
  if after < before then
    return nil, {'position_conflict', 'the group stands further on, at ' .. stands[1] .. ':' .. stands[2]}
  end
  past = is_past(s, stream, stands)
  if past == nil then return nil, UNSETTLED end
  return not past
end

-- Return what was emitted, or nil and what refuses the commit; then nothing of it has happened.
local function move_on(s, name, one, stands)
  local moves, refused = leads_on(s, one[3], stands.position, one[4])
  if refused then return nil, refused end
  if not moves then return {} end
  local emitted
  emitted, refused = jobs.emit_all(s, one[6])
  if refused then return nil, refused end
  stands.position = one[4]
  write_position(s, keys_of(s, name), one[1], one[4])
  return emitted
end

-- group_commit(now, token, G, member, streams, commits): `streams` is how many the source has, each commit
-- {partition, fence, stream, {epoch, offset as text}, refused or false, emits}.
-- Answers for each {1, what was emitted...} or {0, code, message}.
local function group_commit(keys, args)
  local s = store.begin(keys, args)
  local group, sessions = keys_of(s, args[3])
  -- ZSCORE: whether the member's session lasts.
  local is_in = tonumber(redis.call('ZSCORE', sessions, args[4]) or 0) > s.now
  -- HGET: how many partitions the group was begun with.
  local partitions = tonumber(redis.call('HGET', group, 'partitions') or 0)
  local told = {}
  for i, one in ipairs(cmsgpack.unpack(args[6])) do
    local stands = is_in and partition_of(s, args[3], one[1])
    local emitted, refused
    if not is_in or stands.holder ~= args[4] or stands.fence ~= one[2] then
      refused = {'lease_lost', 'the member does not hold partition ' .. one[1] .. ' under that fence'}
    elseif one[5] then
      refused = one[5]
    elseif partitions ~= tonumber(args[5]) then
      refused = {'bad_request', 'the group was begun with ' .. partitions .. ' partitions'}
    else
      emitted, refused = move_on(s, args[3], one, stands)
    end
    told[i] = refused and {0, refused[1], refused[2]} or {1, unpack(emitted)}
  end
  return store.finish(s, told)
end

define('declare_stream', declare_stream)
define('declared_streams', declared_streams, {'no-writes'})
define('drop_stream', drop_stream, {'allow-oom'})
define('group_names', group_names, {'no-writes'})
define('group_look', group_look, {'no-writes'})
define('group_renew', group_renew, {'allow-oom'})
define('group_change', group_change)
define('group_drop', group_drop)
define('group_commit', group_commit)
