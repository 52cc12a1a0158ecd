--[[ claim: leases the best job that this machine may run; a repeat is answered as before while its lease stands.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key  [5] request id
  ARGV[6] number of groups, at most 32  [7] number of warm lanes, at most 16
  ARGV then 2 for each group: group, penalty ms; then 3 for each lane: group, affinity, bonus ms
  Answers {now, 'closed'} | {now, 'superseded'} | {now, 'lapsed'} | {now, 'empty'} | {now, 'leased', id, token,
    group, affinity, run, attempts, floor, body or '', rebuilt 0 or 1, expires ms, more 0 or 1, wake or ''}
  Touches alive body:<id> events head:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group>
    idlelane:<lane> incarnations job:<id> lane:<gen>:<lane> lanehead:<gen> lanes:<gen>:<group> meta
    newest nonce progress virtual waiting
  Keeps: a job has at most one holder; its token never falls; two score lookups, one pop, no scan. ]]
local s = begin(KEYS, ARGV)
local key, request = ARGV[4], tonumber(ARGV[5])
if not s.open then return answer(s, 'closed') end
if isSuperseded(s, key) then return answer(s, 'superseded') end
local ends = servedUntil(s, key)
if not ends then return answer(s, 'lapsed') end

local groups, penalties, lanes, bonuses = {}, {}, {}, {}
for index = 1, tonumber(ARGV[6]) do
  local group = ARGV[6 + 2 * index]
  groups[index], penalties[group] = group, tonumber(ARGV[7 + 2 * index])
end
local firstLane = 5 + 2 * #groups
for index = 1, tonumber(ARGV[7]) do
  local at = firstLane + 3 * index
  lanes[index], bonuses[index] = { ARGV[at], ARGV[at + 1] }, tonumber(ARGV[at + 2])
end
local heads = #groups > 0 and redis.call('HMGET', s.p .. ':head:' .. s.gen, unpack(groups)) or {}

local virtual = {}
local function virtualOf(pool)
  if not virtual[pool] then virtual[pool] = tonumber(redis.call('HGET', s.p .. ':virtual', pool) or '0') end
  return virtual[pool]
end

-- Smallest rank over the groups' heads and the warm lanes; equal ranks by group, then by lane.
local best
local function consider(group, text, bonus)
  if not text or not penalties[group] then return end
  local score, pool, affinity = readHead(text)
  local rank = score - virtualOf(pool) + penalties[group] - bonus
  if best and (rank > best.rank or (rank == best.rank and not (isBefore(group, best.group)
    or (group == best.group and isBefore(affinity, best.affinity))))) then return end
  best = { group = group, affinity = affinity, rank = rank }
end

local id = redis.call('ZRANGEBYSCORE', s.p .. ':held:' .. key, ARGV[5], ARGV[5], 'LIMIT', 0, 1)[1]
local isReplay = id ~= nil
if not isReplay then
  for index, group in ipairs(groups) do consider(group, heads[index], 0) end
  if #lanes > 0 then
    local names = {}
    for index, lane in ipairs(lanes) do names[index] = lane[1] .. '/' .. lane[2] end
    local warm = redis.call('HMGET', s.p .. ':lanehead:' .. s.gen, unpack(names))
    for index, lane in ipairs(lanes) do consider(lane[1], warm[index], bonuses[index]) end
  end
  if not best then
    enterIdle(s, key, groups, lanes)
    return answer(s, 'empty')
  end
end

if not isReplay then
  local text
  id, text = popLane(s, s.gen, best.group, best.affinity)
  for index, group in ipairs(groups) do
    if group == best.group then heads[index] = text end
  end
end
local f = redis.call('HMGET', s.p .. ':job:' .. id, 't', 'f', 's', 'p', 'r', 'at', 'rb', 'lg', 'g', 'a')
local e = { id = id, token = f[1], floor = f[2], runs = tonumber(f[5]), group = f[9], affinity = f[10] }
local rebuilt = f[7] == '1' or (isReplay and isFromLoss(s, f[8]))
if not isReplay then
  if tonumber(f[3]) > virtualOf(f[4]) then redis.call('HSET', s.p .. ':virtual', f[4], f[3]) end
  e.runs = e.runs + 1
  grant(s, e, key, request, int(math.max(s.now * 1000, tonumber(e.token) + 1, tonumber(e.floor))))
  redis.call('HSET', s.p .. ':job:' .. id, 'st', 'l', 't', e.token, 'r', e.runs, 'nb', '', 'm', key, 'q', ARGV[5],
    'mb', 0, 'aw', '0', 'fr', '0', 'lg', s.closings)
  addEvent(s, 'leased', e)
  s.operations = s.operations + 1
end
leaveIdle(s, key)

-- Whether this machine could claim again, and an idle machine for what it leaves behind.
local function leftover()
  local names, more = {}, 0
  for index, group in ipairs(groups) do
    if heads[index] then
      local _, _, affinity = readHead(heads[index])
      names[#names + 1] = { group, affinity }
      more = 1
    end
  end
  if more == 0 or redis.call('EXISTS', s.p .. ':idle') == 0 then return more, '' end
  for _, name in ipairs(names) do
    local wake = wakeFor(s, name[1], name[2])
    if wake ~= '' then return more, wake end
  end
  return more, ''
end
local more, wake = leftover()
return answer(s, 'leased', id, e.token, e.group, e.affinity, e.runs, f[6], e.floor,
  redis.call('GET', s.p .. ':body:' .. id) or '', rebuilt and 1 or 0, int(ends), more, wake)
