-- The owner's sessions: {id, what stays, last used, when it ends} each.
local now = ARGV[1]

local listed = {}
for _, session in ipairs(open_sessions(now)) do
  local id = session[1]
  local fields = redis.call('HMGET', KEYS[1], id .. ':a', id .. ':u', id .. ':e')
  listed[#listed + 1] = { id, fields[1], fields[2], fields[3] }
end
return listed
