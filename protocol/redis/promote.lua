--[[ promote: moves what has become due to its lane: out of quarantine first, then delayed entries.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] limit
  Answers {now, 'ok', promoted ids, wakes, next due ms or ''}
  Touches alive delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group>
    idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanehead:<gen> lanes:<gen>:<group> meta
    newest nonce progress waiting
  Keeps: quarantined work keeps its order, and Records are read before it is handed out. ]]
local s = begin(KEYS, ARGV)
local promoted, wakes, moved, limit = {}, {}, {}, tonumber(ARGV[4])
if not s.open then return answer(s, 'ok', promoted, wakes, '') end

-- First of the best lane of the group that is first of all; nil if no lane of this generation has work.
local function firstOfAll(gen)
  local group = redis.call('ZRANGE', s.p .. ':heads:' .. gen, 0, 0)[1]
  if not group then return nil end
  local affinity = redis.call('ZRANGE', s.p .. ':lanes:' .. gen .. ':' .. group, 0, 0)[1]
  return idOf(redis.call('ZRANGE', s.p .. ':lane:' .. gen .. ':' .. group .. '/' .. affinity, 0, 0)[1])
end

local function drain(gen)
  for _ = #moved + 1, limit do
    local id = firstOfAll(gen) or redis.call('ZRANGE', s.p .. ':delayed:' .. gen, 0, 0)[1]
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
  redis.call('HSET', s.p .. ':meta', 'quarantines', table.concat(left, ','))
end
if #moved < limit then
  local due = redis.call('ZRANGEBYSCORE', s.p .. ':delayed:' .. s.gen, '-inf', int(s.now), 'LIMIT', 0, limit - #moved)
  for _, id in ipairs(due) do
    local e = load(s, id)
    unplace(s, e)
    place(s, e, s.gen)
    redis.call('HSET', s.p .. ':job:' .. id, 'st', e.state)
    moved[#moved + 1], promoted[#promoted + 1] = e, id
    addEvent(s, 'promoted', { id = id, token = e.token, runs = e.runs })
  end
end
s.operations = s.operations + #moved
for _, e in ipairs(moved) do
  local wake = e.state == 'w' and wakeFor(s, e.group, e.affinity) or ''
  if wake ~= '' then wakes[#wakes + 1] = wake end
end
local nextMs = tonumber(redis.call('ZRANGE', s.p .. ':delayed:' .. s.gen, 0, 0, 'WITHSCORES')[2] or '')
for _, gen in ipairs(s.quarantines) do
  if not isEmptyGen(s, gen) and (not nextMs or s.untilMs < nextMs) then nextMs = s.untilMs end
end
return answer(s, 'ok', promoted, wakes, nextMs and string.format('%.17g', nextMs) or '')
