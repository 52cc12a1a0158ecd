--[[ claim: leases the best job that this machine may run; a repeat is answered as before while its lease stands.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] machine id  [5] incarnation  [6] request id
  ARGV[7] number of groups n, at most 32  [8] number of warm lanes m, at most 16
  ARGV then n groups, n penalties ms, m lanes `group/affinity`, m places of the lane's group among the
    groups (0 = not served now), m bonuses ms
  Answers {now, 'closed'} | {now, 'superseded'} | {now, 'lapsed'} | {now, 'empty'} | {now, 'leased', id, token,
    group, affinity, run, attempts, floor, body or '', rebuilt 0 or 1, expires ms, more 0 or 1, wake or ''}
  Touches alive body:<id> delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle
    idlegroup:<group> idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanehead:<gen>
    lanes:<gen>:<group> meta newest nonce progress virtual waiting
  Keeps: a job has at most one holder; its token never falls; two score lookups, one pop, no scan. ]]
local s = begin(KEYS, ARGV)
if not s.open then return answer(s, 'closed') end
local key, incarnation = ARGV[4] .. '/' .. ARGV[5], tonumber(ARGV[5])
local newest, ends = tonumber(redis.call('HGET', s.p .. ':newest', ARGV[4]) or '0'), endsOf(s, key)
if newest > incarnation then return answer(s, 'superseded') end
if newest < incarnation or not ends or ends <= s.now then return answer(s, 'lapsed') end

local n, m = tonumber(ARGV[7]), tonumber(ARGV[8])
local heads = n > 0 and redis.call('HMGET', s.p .. ':head:' .. s.gen, unpack(ARGV, 9, 8 + n)) or {}

-- Virtual clocks of the pools that heads name, read once each.
local virtual = {}
local function virtualOf(pool)
  local clock = virtual[pool]
  if not clock then
    clock = tonumber(redis.call('HGET', s.p .. ':virtual', pool) or '0')
    virtual[pool] = clock
  end
  return clock
end

-- Smallest rank over the groups' heads and the warm lanes; equal ranks by group, then by lane.
local bestAt, bestText, bestRank
local function consider(at, text, bonus)
  local score, pool = readHead(text)
  local rank = score - virtualOf(pool) + tonumber(ARGV[8 + n + at]) - bonus
  if bestRank and rank >= bestRank then
    if rank > bestRank then return end
    local group, best = ARGV[8 + at], ARGV[8 + bestAt]
    if group == best and not isBefore(affinityOf(text), affinityOf(bestText)) then return end
    if group ~= best and not isBefore(group, best) then return end
  end
  bestAt, bestText, bestRank = at, text, rank
end

local id = redis.call('ZRANGEBYSCORE', s.p .. ':held:' .. key, ARGV[6], ARGV[6], 'LIMIT', 0, 1)[1]
local isReplay = id ~= nil
if not isReplay then
  local firstLane = 8 + 2 * n
  for at = 1, n do
    if heads[at] then consider(at, heads[at], 0) end
  end
  local warm = m > 0 and redis.call('HMGET', s.p .. ':lanehead:' .. s.gen, unpack(ARGV, firstLane + 1, firstLane + m))
  for index = 1, m do
    local at = tonumber(ARGV[firstLane + m + index])
    if warm[index] and at > 0 then consider(at, warm[index], tonumber(ARGV[firstLane + 2 * m + index])) end
  end
  if not bestAt then
    enterIdle(s, key, { unpack(ARGV, 9, 8 + n) }, { unpack(ARGV, firstLane + 1, firstLane + m) })
    return answer(s, 'empty')
  end
  local group, text = ARGV[8 + bestAt], nil
  id, text = popLane(s, s.gen, group, affinityOf(bestText))
  for at = 1, n do
    if ARGV[8 + at] == group then heads[at] = text end
  end
end

local e
if isReplay then
  e = load(s, id)
else
  local f = redis.call('HMGET', s.p .. ':job:' .. id, 't', 'f', 's', 'r', 'at', 'rb')
  local _, pool = readHead(bestText)
  e = { id = id, group = ARGV[8 + bestAt], affinity = affinityOf(bestText), floor = f[2], runs = tonumber(f[4]) + 1,
    attempts = f[5], rebuilt = f[6] == '1' }
  if tonumber(f[3]) > virtualOf(pool) then redis.call('HSET', s.p .. ':virtual', pool, f[3]) end
  grant(s, e, key, ARGV[6], int(math.max(s.now * 1000, tonumber(f[1]) + 1, tonumber(f[2]))))
  redis.call('HSET', s.p .. ':job:' .. id, 'st', 'l', 't', e.token, 'r', e.runs, 'nb', '', 'l', leaseText(s, e))
  addEvent(s, 'leased', e)
  s.operations = s.operations + 1
end

-- Whether this machine could claim again, and an idle machine for what it leaves behind.
local isAnyIdle = redis.call('EXISTS', s.p .. ':idle') == 1
if isAnyIdle then leaveIdle(s, key) end
local more, wake = 0, ''
for at = 1, n do
  if heads[at] then
    more = 1
    if not isAnyIdle then break end
    wake = wakeFor(s, ARGV[8 + at], affinityOf(heads[at]))
    if wake ~= '' then break end
  end
end
return answer(s, 'leased', id, e.token, e.group, e.affinity, e.runs, e.attempts, e.floor,
  redis.call('GET', s.p .. ':body:' .. id) or '', e.rebuilt and 1 or 0, int(ends), more, wake)
