--[[ promote: moves what has become due to its lane: out of quarantine first, then delayed entries.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] limit
  Answers {now, 'ok', promoted ids, wakes, ms until the next is due or ''}
  Touches alive delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group>
    idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group> machines meta nonce
    progress
  Keeps: quarantined work keeps its order, and Records are read before it is handed out. ]]
local s = begin(KEYS, ARGV)
local promoted, wakes, moved, limit = {}, {}, {}, tonumber(ARGV[4])
if not s.open then return answer(s, 'ok', promoted, wakes, '') end

-- First of all that waits in this generation; nil if no lane has work.
local function firstOfAll(gen)
  local heads = s.p .. ':heads:' .. gen
  for _ = 0, call('ZCARD', heads) do
    local first = call('ZRANGE', heads, '0', '0', 'WITHSCORES')
    if not first[1] then return nil end
    local score, _, id = readGroup(call('HGET', s.p .. ':head:' .. gen, first[1]))
    if score == tonumber(first[2]) then return id end
    -- Its head has risen since: it may not be the first of all any more.
    call('ZADD', heads, score, first[1])
  end
end

local function drain(gen)
  for _ = #moved + 1, limit do
    local id = firstOfAll(gen) or call('ZRANGE', s.p .. ':delayed:' .. gen, 0, 0)[1]
    if not id then return end
    local e = load(s, id)
    unplace(s, e)
    e.rebuilt = true
    place(s, e, s.gen)
    save(s, e)
    moved[#moved + 1] = e
  end
end

if not isSettling(s) and #s.quarantines > 0 then
  local left = {}
  for _, gen in ipairs(s.quarantines) do
    drain(gen)
    if not isEmptyGen(s, gen) then left[#left + 1] = gen end
  end
  s.quarantines = left
  writeStanding(s)
end
if #moved < limit then
  local due = call('ZRANGEBYSCORE', s.p .. ':delayed:' .. s.gen, '-inf', int(s.now), 'LIMIT', 0, limit - #moved)
  for _, id in ipairs(due) do
    local e = load(s, id)
    unplace(s, e)
    place(s, e, s.gen)
    save(s, e)
    moved[#moved + 1], promoted[#promoted + 1] = e, id
    addEvent(s, 'promoted', { id = id, token = e.token, runs = e.runs })
  end
end
s.operations = s.operations + #moved
for _, e in ipairs(moved) do
  local wake = e.state == 'w' and wakeFor(s, e.group, e.affinity) or ''
  if wake ~= '' then wakes[#wakes + 1] = wake end
end
local nextMs = tonumber(call('ZRANGE', s.p .. ':delayed:' .. s.gen, 0, 0, 'WITHSCORES')[2] or '')
for _, gen in ipairs(s.quarantines) do
  if not isEmptyGen(s, gen) and (not nextMs or s.untilMs < nextMs) then nextMs = s.untilMs end
end
return answer(s, 'ok', promoted, wakes, nextMs and int(math.max(0, nextMs - s.now)) or '')
