-- Stores a new session.
local id, secret, about, version, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, expires, left, most, is_users = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), ARGV[10]

local open = open_sessions(now)
if #open >= most then
  table.sort(open, function(a, b) return a[2] < b[2] end)
  for index = 1, #open - most + 1 do
    drop(open[index][1])
  end
end
redis.call('HSET', KEYS[1], id .. ':k', secret, id .. ':a', about, id .. ':u', now, id .. ':e', expires,
  id .. ':v', version, id .. ':d', data)
keep(KEYS[1], left)
if is_users == '1' then
  count(id, now, expires, left)
end
return 1
