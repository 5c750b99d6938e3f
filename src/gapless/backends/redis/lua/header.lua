-- What the other files share. NAME, which stands before this, is different for every text of the library, so
-- that two versions of gapless can use one Redis.
local store, streams, jobs, groups, presence = {}, {}, {}, {}, {}

-- Make a function callable from outside, as NAME_name.
local function define(name, callback, flags)
  redis.register_function{function_name = NAME .. '_' .. name, callback = callback, flags = flags}
end
