-- Moves the times of a session. Returns 0 when there is none.
local id, now, used, expires, left, is_users = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

if redis.call('HEXISTS', KEYS[1], id .. ':k') == 0 then
  return 0
end
redis.call('HSET', KEYS[1], id .. ':u', used, id .. ':e', expires)
keep(KEYS[1], left)
if is_users == '1' then
  count(id, now, expires, left)
end
return 1
