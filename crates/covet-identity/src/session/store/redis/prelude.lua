-- KEYS[1]: a hash with the sessions of one owner. Each session has the fields
--   <id>:k  SHA-256 of its secret        <id>:a  what stays, JSON
--   <id>:u  last used, ms since 1970     <id>:e  when it ends, ms since 1970
--   <id>:v  version of its data          <id>:d  its data, JSON
-- KEYS[2]: a sorted set with the users' sessions of the owner's group, by when they end. In the same slot.

-- Removes a session.
local function drop(id)
  redis.call('HDEL', KEYS[1], id .. ':k', id .. ':a', id .. ':u', id .. ':e', id .. ':v', id .. ':d')
  redis.call('ZREM', KEYS[2], id)
end

-- The owner's sessions that have not ended: a list of {id, last used}. Those that have are removed.
local function open_sessions(now)
  local open = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local id = string.match(field, '^(.*):k$')
    if id then
      local times = redis.call('HMGET', KEYS[1], id .. ':u', id .. ':e')
      if tonumber(times[2] or '0') <= tonumber(now) then
        drop(id)
      else
        open[#open + 1] = { id, tonumber(times[1] or '0') }
      end
    end
  end
  return open
end

-- Keeps a key for at least so long.
local function keep(key, milliseconds)
  if redis.call('PTTL', key) < tonumber(milliseconds) then
    redis.call('PEXPIRE', key, milliseconds)
  end
end

-- Counts a user's session until it ends, and forgets those that have ended.
local function count(id, now, expires, milliseconds)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  redis.call('ZADD', KEYS[2], expires, id)
  keep(KEYS[2], milliseconds)
end
