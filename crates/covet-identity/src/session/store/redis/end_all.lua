-- Ends the owner's sessions but one, and returns how many.
local but, now = ARGV[1], ARGV[2]

local ended = 0
for _, session in ipairs(open_sessions(now)) do
  if session[1] ~= but then
    drop(session[1])
    ended = ended + 1
  end
end
return ended
