-- KEYS: the set. ARGV: now, the most that it may hold, then pairs of when it is over and which login.
for at = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[at], ARGV[at + 1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(tonumber(ARGV[2]) + 1))
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then
  redis.call('EXPIRE', KEYS[1], math.max(1, tonumber(last) - tonumber(ARGV[1])))
end
return redis.call('ZCARD', KEYS[1])
