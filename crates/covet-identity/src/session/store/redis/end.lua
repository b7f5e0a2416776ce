-- Ends a session. Returns 0 when there is none.
local id = ARGV[1]

if redis.call('HEXISTS', KEYS[1], id .. ':k') == 0 then
  return 0
end
drop(id)
return 1
