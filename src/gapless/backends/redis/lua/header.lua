-- What the other files share. NAME, which stands before this, is different for every text of the library, so
-- that two versions of gapless can use one Redis.
local store, streams, jobs, groups, presence = {}, {}, {}, {}, {}

-- Make a function callable from outside, as NAME_name.
local function define(name, callback, flags)
  redis.register_function{function_name = NAME .. '_' .. name, callback = callback, flags = flags}
end

local MEMO_MAX = 4096

-- Return a function that takes texts apart, and knows those that it has seen: what it returns is never changed.
local function remembering(take)
  local memo, count = {}, 0
  return function(text)
    local value = memo[text]
    if not value then
      if count == MEMO_MAX then memo, count = {}, 0 end
      value = take(text)
      memo[text], count = value, count + 1
    end
    return value
  end
end
