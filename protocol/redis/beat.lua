--[[ beat: keeps every lease of an incarnation, compares what it runs with what it holds, says whether there is work.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key  [5] highest request id sent  [6] the one still open or ''
  ARGV[7] number of runs, at most 256  [8] number of groups, at most 32; 0 = no free slot
  ARGV then 2 for each run: job id, token; then the groups
  Answers {now, 'superseded'} | {now, 'lapsed'} | {now, 'ok', drop ids, cancel ids, unnamed {{id, token} …},
    work 0 or 1, closed 0 or 1, earliest expiry ms or ''}
  Touches adoptions alive delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle
    idlegroup:<group> idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanehead:<gen>
    lanes:<gen>:<group> meta newest nonce progress waiting
  Keeps: a closed Broker drops nothing; only settled leases left out by two beats are unnamed. ]]
local s = begin(KEYS, ARGV)
local key = ARGV[4]
if isSuperseded(s, key) then return answer(s, 'superseded') end
if isLapsed(s, key) then return answer(s, 'lapsed') end
keepAlive(s, key, s.now + s.ttl)

-- The entry that this incarnation holds with this token, adopted now if it must be; nil if it holds none.
local function nameRunning(id, token)
  local e = load(s, id)
  if not e then
    -- Of two machines that say they run it, the newer claim counts, whoever speaks last.
    local known = not s.open and redis.call('HGET', s.p .. ':adoptions', id)
    if not s.open and redis.call('HLEN', s.p .. ':adoptions') < 100000
      and (not known or tonumber(token) > tonumber(string.match(known, '^%d+'))) then
      redis.call('HSET', s.p .. ':adoptions', id, token .. ' ' .. key)
    end
    return nil
  end
  if e.state == 'l' and e.holder == key and e.token == token then
    if e.missed > 0 or e.awaited or e.rebuilt then
      if e.awaited then addEvent(s, 'adopted', e) end
      e.missed, e.awaited, e.rebuilt = 0, false, false
      saveLease(s, e)
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
local function countUnnamed(named)
  local unnamed = {}
  for _, id in ipairs(heldBy(s, key)) do
    local e = not named[id] and load(s, id)
    -- Which request a rebuilt lease came from is not known: it may be one that is open since before the
    -- loss. Its time alone would never end it, because the beats that leave it out extend it.
    local mayBeOpen = e and e.awaited and ARGV[6] ~= '' and isSettling(s)
    if e and not mayBeOpen and tonumber(e.request) <= tonumber(ARGV[5]) and e.request ~= ARGV[6] then
      e.missed = e.missed + 1
      saveLease(s, e)
      if e.missed >= 2 then unnamed[#unnamed + 1] = { id, e.token } end
    end
  end
  return unnamed
end

-- True if something claimable fits a free slot; else the machine (re)enters the idle index.
local function offersWork(groups)
  if #groups == 0 then
    leaveIdle(s, key)
    return false
  end
  for _, head in ipairs(redis.call('HMGET', s.p .. ':head:' .. s.gen, unpack(groups))) do
    if head then return true end
  end
  enterIdle(s, key, groups, nil)
  return false
end

local drop, cancel, named, groups = {}, {}, {}, {}
local firstGroup = 8 + 2 * tonumber(ARGV[7])
for at = 9, firstGroup, 2 do
  local e = nameRunning(ARGV[at], ARGV[at + 1])
  if e then
    named[e.id] = true
    if e.cancel then cancel[#cancel + 1] = e.id end
  elseif s.open then
    drop[#drop + 1] = ARGV[at]
  end
end
for index = 1, tonumber(ARGV[8]) do groups[index] = ARGV[firstGroup + index] end
local unnamed = s.open and countUnnamed(named) or {}
local work = s.open and offersWork(groups)
return answer(s, 'ok', drop, cancel, unnamed, work and 1 or 0, s.open and 0 or 1, earliestExpiry(s))
