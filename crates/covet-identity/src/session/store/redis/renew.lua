-- Puts another secret in place of the present one. Returns 0 when that is not the one given.
local id, before, after = ARGV[1], ARGV[2], ARGV[3]

if redis.call('HGET', KEYS[1], id .. ':k') ~= before then
  return 0
end
redis.call('HSET', KEYS[1], id .. ':k', after)
return 1
