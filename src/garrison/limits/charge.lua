-- Looks at every window of one request and charges all of them or none, or as much as the first can bear.
-- KEYS: one for each window. ARGV[1]: "all" or "most", then for each window its kind, limit, seconds and cost.
-- Returns charged? 1 or 0, microseconds since the epoch, then for each window two numbers as they were before: of an
-- exact window the requests in it and the moment of the oldest; of a counted one what the previous and the current hold.
-- All of it is one string each way: clients spend most of their time on the pieces of a longer message.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = time[1] + time[2] / 1000000
local words = string.gmatch(ARGV[1], '%S+')
local all = words() == 'all'
local fits = true
local seen = {string.format('%.0f', micros)}
local windows = {}

-- The position of the first moment that still counts.
local function first_since(key, count, since)
    local low, high = 0, count
    while low < high do
        local middle = math.floor((low + high) / 2)
        if tonumber(redis.call('LINDEX', key, middle)) < since then low = middle + 1 else high = middle end
    end
    return low
end

local function look_exact(key, window)
    local used = redis.call('LLEN', key)
    local oldest = redis.call('LINDEX', key, 0)
    local since = micros - window.seconds * 1000000
    if oldest and tonumber(oldest) < since then
        local gone = first_since(key, used, since)
        redis.call('LTRIM', key, gone, -1)
        used = used - gone
        oldest = redis.call('LINDEX', key, 0)
    end
    window.left = window.limit - used
    return used, oldest and tonumber(oldest) or micros
end

local function look_counted(key, window)
    local stored = redis.call('HMGET', key, 'index', 'previous', 'current')
    local index, previous, current = tonumber(stored[1]) or 0, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
    local due = math.floor(now / window.seconds)
    if due == index + 1 then
        index, previous, current = due, current, 0
    elseif due ~= index and due ~= index - 1 then -- a clock that steps back over a window's end gives no new budget
        index, previous, current = due, 0, 0
    end
    window.index, window.previous, window.current = index, previous, current
    local rest = (1 - ((now - window.seconds) / window.seconds) % 1) * window.seconds
    window.left = window.limit - math.floor(previous * rest / window.seconds) - current
    return previous, current
end

for number, key in ipairs(KEYS) do
    local window = {exact = words() == 'exact', limit = tonumber(words()), seconds = tonumber(words())}
    local first, second = (window.exact and look_exact or look_counted)(key, window)
    window.cost = tonumber(words())
    if not all then window.cost = math.min(window.cost, window.left) end
    fits = fits and window.cost <= window.left and window.cost > 0
    windows[number] = window
    table.insert(seen, string.format('%.0f %.0f', first, second))
end

local answer = table.concat(seen, ' ')
if not fits then return '0 ' .. answer end
for number, key in ipairs(KEYS) do
    local window = windows[number]
    if window.exact then
        redis.call('RPUSH', key, string.format('%.0f', micros))
        redis.call('EXPIRE', key, window.seconds + 1)
    else
        redis.call('HSET', key, 'index', window.index, 'previous', window.previous,
            'current', window.current + window.cost)
        redis.call('EXPIRE', key, 2 * window.seconds)
    end
end
return '1 ' .. answer
