-- One request against every limit that applies to it: it is let in by all of them, or taken from none.
--
-- KEYS: the client's cell for each limit, in one slot. ARGV: of each limit its interval in microseconds, its burst, and what
-- the request costs. A cell is two times of this server's clock, so that the clocks of instances do not matter: when the
-- client's window began, and from when on it is as good as unknown. The arithmetic is that of quota.rs.
--
-- Answers 1 or 0 (let in or not), the time, and of each cell its two times.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local let_in = 1
local cells = {}

for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[3 * i - 2])
  local burst = tonumber(ARGV[3 * i - 1])
  local cost = math.min(tonumber(ARGV[3 * i]), burst)
  local window, tail = interval * burst, interval * (burst - 1)

  local start, fresh_at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  start, fresh_at = tonumber(start or 0), tonumber(fresh_at or 0)

  local paid_at = now
  if fresh_at <= now then
    start = now
  else
    start = math.min(start, now)
    paid_at = math.min(fresh_at - tail, now + window)
  end

  local after = paid_at + cost * interval
  if after > math.max(now + interval, start + window) then
    let_in = 0
  end
  cells[i] = { start, paid_at + tail, after + tail }
end

local answer = { let_in, now }
for i, key in ipairs(KEYS) do
  local start, fresh_at = cells[i][1], cells[i][2]
  if let_in == 1 then
    fresh_at = cells[i][3]
    local text = string.format('%.0f %.0f', start, fresh_at)
    redis.call('SET', key, text, 'PX', string.format('%.0f', math.max(1, math.ceil((fresh_at - now) / 1000))))
  end
  answer[#answer + 1] = start
  answer[#answer + 1] = fresh_at
end
return answer
