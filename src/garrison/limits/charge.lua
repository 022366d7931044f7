-- Looks at every window of one request and charges all of them or none, or as much as the first can bear.
-- KEYS: one for each window. ARGV: "all" or "most", then for each window its kind, limit, seconds and cost.
-- Returns {charged?, microseconds since the epoch, then for each window two numbers as they were before}:
-- of an exact window the requests in it and the moment of the oldest; of a counted one the previous and the current.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = time[1] + time[2] / 1000000
local all = ARGV[1] == 'all'
local fits = true
local seen = {0, micros}
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
    local at = 4 * number - 2
    local window = {exact = ARGV[at] == 'exact', limit = tonumber(ARGV[at + 1]), seconds = tonumber(ARGV[at + 2])}
    local first, second = (window.exact and look_exact or look_counted)(key, window)
    window.cost = tonumber(ARGV[at + 3])
    if not all then window.cost = math.min(window.cost, window.left) end
    fits = fits and window.cost <= window.left and window.cost > 0
    windows[number] = window
    table.insert(seen, first)
    table.insert(seen, second)
end

if not fits then return seen end
seen[1] = 1
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
return seen
