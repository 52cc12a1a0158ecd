--[[ claim: leases the best job that this machine may run; a repeat is answered as before while its lease stands.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] machine id  [5] incarnation  [6] request id
  ARGV[7] number of groups n, at most 32  [8] number of warm lanes m, at most 16
  ARGV then n groups, m lanes `group/affinity`, and packed as doubles: n penalties ms, m places of the lane's
    group among the groups (0 = not served now), m bonuses ms
  Answers {now, 'closed'} | {now, 'superseded'} | {now, 'lapsed'} | {now, 'empty'} | {now, 'leased', id, token,
    group, affinity, run, attempts, floor, body or '', rebuilt 0 or 1, expires ms, more 0 or 1, wake or ''}
  Touches alive body:<id> delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle
    idlegroup:<group> idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group>
    machines meta nonce
  Keeps: a job has at most one holder; its token never falls; two score lookups, one pop, no scan. ]]
local s = begin(KEYS, ARGV)
if not s.open then return answer(s, 'closed') end
local key, incarnation = ARGV[4] .. '/' .. ARGV[5], tonumber(ARGV[5])
local newest, ends, givings = recordOf(s, ARGV[4])
if newest > incarnation then return answer(s, 'superseded') end
if givings ~= s.givings then ends = endsOf(s, key) end
if newest < incarnation or not ends or ends <= s.now then return answer(s, 'lapsed') end

local n, m = tonumber(ARGV[7]), tonumber(ARGV[8])
-- Heads of the groups, then of the warm lanes.
local heads = n > 0 and call('HMGET', s.p .. ':head:' .. s.gen, unpack(ARGV, 9, 8 + n + m)) or {}

-- Affinity of the lane behind a head.
local function affinityAt(field)
  if field <= n then return affinityOf(heads[field]) end
  return match(ARGV[8 + field], '/(.*)$')
end

-- Place of the group and of the head with the smallest rank, its bonus and its penalty. The groups' heads come
-- first, then the warm lanes, each in the order of the request: of equal ranks the first wins. A pool stands at its
-- clock, or where all that waits of it in these groups is ahead of that, at the first of it: a customer alone with
-- long jobs is as far ahead as one of them is long, and is not behind for it. `stands` is asked where there is more
-- than the pool of the first head.
local function findBest()
  local numbers = { unpackBytes('>' .. string.rep('d', n + 2 * m), ARGV[9 + n + m]) }
  local clocks, stands, onePool, oneStand = readClocks(s), {}, nil, nil
  local bestAt, bestField, bestRank
  for field = 1, n do
    if heads[field] then
      local score, pool = readHead(heads[field])
      local known = stands[pool]
      if not known or score < known then stands[pool] = score end
      if pool == onePool or not onePool then onePool, oneStand = pool, stands[pool] end
    end
  end
  if onePool then oneStand = math.max(clocks[onePool] or 0, oneStand) end
  for field = 1, n + m do
    local at = field <= n and field or numbers[field]
    if heads[field] and at > 0 then
      local score, pool = readHead(heads[field])
      local stand = oneStand
      if pool ~= onePool then
        local clock = clocks[pool] or 0
        stand = stands[pool] or clock
        if clock > stand then stand = clock end
      end
      local rank = score - stand + numbers[at]
      if field > n then rank = rank - numbers[m + field] end
      if not bestRank or rank < bestRank then bestAt, bestField, bestRank = at, field, rank end
    end
  end
  if not bestAt then return end
  return bestAt, bestField, bestField > n and numbers[m + bestField] or 0, numbers[bestAt]
end

local id = call('ZRANGEBYSCORE', s.p .. ':held:' .. key, ARGV[6], ARGV[6])[1]
local token, group, affinity, runs, attempts, floor, rebuilt, hasBody
if id then
  local e = load(s, id)
  token, group, affinity, runs, attempts, floor = e.token, e.group, e.affinity, e.runs, e.attempts, e.floor
  rebuilt, hasBody = e.rebuilt and '1' or '0', e.hasBody and '1'
else
  local bestAt, bestField, bonus, penalty = findBest()
  if not bestAt then
    enterIdle(s, key, { unpack(ARGV, 9, 8 + n) }, { unpack(ARGV, 9 + n, 8 + n + m) })
    return answer(s, 'empty')
  end
  group, affinity = ARGV[8 + bestAt], affinityAt(bestField)
  local _, pool, head = unpackBytes('>dss', heads[bestField])
  local _, _, _, waiting = readGroup(heads[bestAt])
  local groupsHead = popLane(s, s.gen, group, affinity, pool, head, waiting)
  id = head
  for at = 1, n do
    if ARGV[8 + at] == group then heads[at] = groupsHead end
  end
  local at, text, event = s.p .. ':job:' .. id, nil, nil
  token, floor, attempts, runs, rebuilt, hasBody, text, event =
    leaseWaiting(s, at, id, pool, key, ARGV[6], bonus, penalty)
  call('SET', at, text)
  call('XADD', s.p .. ':events', int(s.lastEvent) .. '-0', 'e', event)
end

-- Whether this machine could claim again, and an idle machine for what it leaves behind.
leaveIdle(s, key)
local more, wake = 0, ''
for at = 1, n do
  if heads[at] then
    more = 1
    if s.idle == 0 then break end
    wake = wakeFor(s, ARGV[8 + at], affinityOf(heads[at]))
    if wake ~= '' then break end
  end
end
return answer(s, 'leased', id, token, group, affinity, runs, attempts, floor,
  hasBody == '1' and call('GET', s.p .. ':body:' .. id) or '', rebuilt, ends, more, wake)
