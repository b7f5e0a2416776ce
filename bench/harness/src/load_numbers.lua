-- Asks for another number each time. Arguments: method, the path up to the number, the largest number.
local requests = {}

function init(args)
  for number = 1, tonumber(args[3]) do
    requests[number] = wrk.format(args[1], args[2] .. number)
  end
end

function request()
  return requests[math.random(#requests)]
end
