--[[ beat: of one incarnation or several: keeps all its leases, compares what it runs with what it holds, says
  whether there is work. One beat after the other, as if each came alone.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] number of beats, at most 200; then for each beat: incarnation key, highest
    request id sent, the one still open or '', number of runs (1 000 in all), number of groups (at most 32;
    0 = no free slot), for each run job id and token, the groups
  Answers {now, 'ok', {for each beat {'superseded'} or {'lapsed'} or {'ok', drop ids, cancel ids,
    unnamed {{id, token} …}, work 0 or 1}}, identity, open 0 or 1, entries, newest event id,
    earliest expiry ms or ''}
  Touches adoptions alive delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle
    idlegroup:<group> idlelane:<lane> ids incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group>
    machines meta nonce progress
  Keeps: a closed Broker drops nothing; only settled leases left out by two beats are unnamed. ]]
local s = begin(KEYS, ARGV)

-- The entry that this incarnation holds with this token, adopted now if it must be; nil if it holds none.
local function nameRunning(key, id, token)
  local e = load(s, id)
  if not e then
    -- Of two machines that say they run it, the newer claim counts, whoever speaks last.
    local known = not s.open and call('HGET', s.p .. ':adoptions', id)
    if not s.open and call('HLEN', s.p .. ':adoptions') < 100000
      and (not known or tonumber(token) > tonumber(match(known, '^%d+'))) then
      call('HSET', s.p .. ':adoptions', id, token .. ' ' .. key)
    end
    return nil
  end
  if e.state == 'l' and e.holder == key and e.token == token then
    if e.missed > 0 or e.awaited or e.rebuilt then
      if e.awaited then addEvent(s, 'adopted', e) end
      e.missed, e.awaited, e.rebuilt = 0, false, false
      save(s, e)
    end
    return e
  end
  if not isAdoptable(s, e, token) then return nil end
  unplace(s, e)
  e.runs, e.rebuilt = e.runs + 1, false
  grant(s, e, key, '0', token)
  save(s, e)
  addEvent(s, 'adopted', e)
  s.operations = s.operations + 1
  return e
end

-- Settled leases that beats keep leaving out: the machine never got them, or lost them.
local function countUnnamed(key, highest, open, named)
  local unnamed = {}
  for _, id in ipairs(heldBy(s, key)) do
    local e = not named[id] and load(s, id)
    -- Which request a rebuilt lease came from is not known: it may be one that is open since before the
    -- loss. Its time alone would never end it, because the beats that leave it out extend it.
    local mayBeOpen = e and e.awaited and open ~= '' and isSettling(s)
    if e and not mayBeOpen and tonumber(e.request) <= tonumber(highest) and e.request ~= open then
      e.missed = e.missed + 1
      save(s, e)
      if e.missed >= 2 then unnamed[#unnamed + 1] = { id, e.token } end
    end
  end
  return unnamed
end

-- True if something claimable fits a free slot; else the machine (re)enters the idle index.
local function offersWork(key, groups)
  if #groups == 0 then
    leaveIdle(s, key)
    return false
  end
  for _, head in ipairs(call('HMGET', s.p .. ':head:' .. s.gen, unpack(groups))) do
    if head then return true end
  end
  enterIdle(s, key, groups, nil)
  return false
end

-- `at` is the place of the first run's job id.
local function beat(key, highest, open, at, runs, groups)
  if isSuperseded(s, key) then return { 'superseded' } end
  if isLapsed(s, key) then return { 'lapsed' } end
  keepAlive(s, key, s.now + s.ttl)
  local drop, cancel, named = {}, {}, {}
  for each = at, at + 2 * runs - 1, 2 do
    local e = nameRunning(key, ARGV[each], ARGV[each + 1])
    if e then
      named[e.id] = true
      if e.cancel then cancel[#cancel + 1] = e.id end
    elseif s.open then
      drop[#drop + 1] = ARGV[each]
    end
  end
  local unnamed = s.open and countUnnamed(key, highest, open, named) or {}
  local work = s.open and offersWork(key, groups)
  return { 'ok', drop, cancel, unnamed, work and 1 or 0 }
end

local answers, at = {}, 5
for index = 1, tonumber(ARGV[4]) do
  local runs, groupCount = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local firstGroup, groups = at + 5 + 2 * runs, {}
  for group = 1, groupCount do groups[group] = ARGV[firstGroup + group - 1] end
  answers[index] = beat(ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 5, runs, groups)
  at = firstGroup + groupCount
end
return answer(s, 'ok', answers, s.identity, s.open and 1 or 0, call('ZCARD', s.p .. ':ids'),
  int(s.lastEvent), earliestExpiry(s))
