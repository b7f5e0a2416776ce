-- Stores other data in place of that of a version. Returns 2; 1 with version and data when there are newer ones; 0 when
-- there is no such session.
local id, before, version, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local stored = redis.call('HMGET', KEYS[1], id .. ':k', id .. ':v', id .. ':d')
if not stored[1] then
  return { 0, false, false }
end
if stored[2] ~= before then
  return { 1, stored[2], stored[3] }
end
redis.call('HSET', KEYS[1], id .. ':v', version, id .. ':d', data)
return { 2, false, false }
