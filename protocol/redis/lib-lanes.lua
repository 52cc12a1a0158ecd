--[[ Lines of claimable work of one generation. Members of a lane are `id pool` by score: a blank sorts
  before all that a name may hold, so ids keep their order. The hash head:<gen> has the head of each lane
  (field `group/affinity`: score, pool, id) and of each group (field `group`: the head of its best lane,
  how many of the group wait, that lane's affinity), so that a claim reads all its heads in one command.
  They are packed, because a claim reads 48 of them and patterns cost four times as much. Heads are
  exact: every change of a lane updates them. The set heads:<gen> orders the groups for the walk out of
  quarantine only: by a score that their head has or had, never a later one. ]]

-- Texts of a head: `d` score, `s` pool, `s` id; of a group then `I4` waiting and `s` affinity.
-- A value over 64 bytes makes Redis keep the hash as a table: in a list every look-up would walk.
local tableBytes = 65
local function groupText(laneText, waiting, affinity)
  local text = laneText .. packBytes('>I4s', waiting, affinity)
  return #text < tableBytes and text .. string.rep('\0', tableBytes - #text) or text
end

-- Score and pool of a head's text. Of the 48 that a claim reads all but one are as in the claim before:
-- what was read of a text is kept, in this process, for some of them.
local keptTexts = 1000
local kept, scoreOf, poolOf = 0, {}, {}
local function readHead(text)
  local score = scoreOf[text]
  if score then return score, poolOf[text] end
  if kept == keptTexts then kept, scoreOf, poolOf = 0, {}, {} end
  local pool
  score, pool = unpackBytes('>ds', text)
  kept, scoreOf[text], poolOf[text] = kept + 1, score, pool
  return score, pool
end

-- Score, pool, id, waiting and affinity of a group's text; of a lane's the first three (`>dss`).
local function readGroup(text)
  return unpackBytes('>dssI4s', text)
end

local function affinityOf(text)
  local _, _, _, _, affinity = readGroup(text)
  return affinity
end

-- The first of a lane has left it: writes the heads that follow; answers the group's new text or false.
local function refreshHeads(s, gen, group, affinity, waiting)
  local heads, lane = s.p .. ':head:' .. gen, group .. '/' .. affinity
  local lanes = s.p .. ':lanes:' .. gen .. ':' .. group
  local first = call('ZRANGE', s.p .. ':lane:' .. gen .. ':' .. lane, '0', '0', 'WITHSCORES')
  local member, score, laneText = first[1], first[2], nil
  if member then
    local blank = find(member, ' ', 1, true)
    laneText = packBytes('>dss', score, sub(member, blank + 1), sub(member, 1, blank - 1))
    call('ZADD', lanes, score, affinity)
  else
    call('ZREM', lanes, affinity)
    call('HDEL', heads, lane)
  end
  if waiting == 0 then
    call('HDEL', heads, group)
    call('ZREM', s.p .. ':heads:' .. gen, group)
    return false
  end
  local best = call('ZRANGE', lanes, '0', '0')[1]
  local bestText = best == affinity and laneText or call('HGET', heads, group .. '/' .. best)
  local text = groupText(bestText, waiting, best)
  if laneText then call('HSET', heads, group, text, lane, laneText)
  else call('HSET', heads, group, text) end
  return text
end

-- The hash of heads is written first: a reconcile finds by it what half of a step has left.
local function pushLane(s, e, gen)
  local heads, lane = s.p .. ':head:' .. gen, e.group .. '/' .. e.affinity
  local key, member = s.p .. ':lane:' .. gen .. ':' .. lane, e.id .. ' ' .. e.pool
  local known, score = call('HMGET', heads, e.group, lane), tonumber(e.score)
  s.waiting = s.waiting + 1
  local laneScore, _, first
  if known[2] then laneScore, _, first = unpackBytes('>dss', known[2]) end
  local bestScore, pool, id, waiting, best = math.huge, nil, nil, 0, nil
  if known[1] then bestScore, pool, id, waiting, best = readGroup(known[1]) end
  if laneScore and (score > laneScore or score == laneScore and isBefore(first, e.id)) then
    call('HSET', heads, e.group, groupText(packBytes('>dss', bestScore, pool, id), waiting + 1, best))
    call('ZADD', key, e.score, member)
    return
  end
  local laneText = packBytes('>dss', score, e.pool, e.id)
  local leads = score < bestScore or best == e.affinity or score == bestScore and isBefore(e.affinity, best)
  local bestText = leads and laneText or packBytes('>dss', bestScore, pool, id)
  call('HSET', heads, e.group, groupText(bestText, waiting + 1, leads and e.affinity or best), lane, laneText)
  call('ZADD', key, e.score, member)
  call('ZADD', s.p .. ':lanes:' .. gen .. ':' .. e.group, e.score, e.affinity)
  if leads then call('ZADD', s.p .. ':heads:' .. gen, 'LT', e.score, e.group) end
end

-- Takes the head of a lane that is not empty, as its text names it; answers the group's new text or false.
local function popLane(s, gen, group, affinity, pool, id, waiting)
  call('ZREM', s.p .. ':lane:' .. gen .. ':' .. group .. '/' .. affinity, id .. ' ' .. pool)
  s.waiting = s.waiting - 1
  return refreshHeads(s, gen, group, affinity, waiting - 1)
end

local function removeLane(s, e, gen)
  local heads, lane = s.p .. ':head:' .. gen, e.group .. '/' .. e.affinity
  local known = call('HMGET', heads, e.group, lane)
  local score, pool, id, waiting, best = readGroup(known[1])
  local _, _, first = unpackBytes('>dss', known[2])
  if first == e.id then
    popLane(s, gen, e.group, e.affinity, e.pool, e.id, waiting)
    return
  end
  call('ZREM', s.p .. ':lane:' .. gen .. ':' .. lane, e.id .. ' ' .. e.pool)
  s.waiting = s.waiting - 1
  call('HSET', heads, e.group, groupText(packBytes('>dss', score, pool, id), waiting - 1, best))
end

-- Puts an entry that is nowhere into its lane, or among the delayed until its time.
local function place(s, e, gen)
  e.gen = gen
  if e.notBefore and e.notBefore > s.now then
    e.state = 'd'
    call('ZADD', s.p .. ':delayed:' .. gen, e.notBefore, e.id)
  else
    e.state = 'w'
    pushLane(s, e, gen)
  end
end

-- True while closed and for one TTL after the opening: machines may still speak up for running work.
local function isSettling(s)
  return #s.quarantines > 0 and (not s.untilMs or s.untilMs > s.now)
end

-- Where an entry waits: what was here at a loss stays out of reach until its machines have had one TTL.
local function restingGen(s, isFromLoss)
  local mustWait = not s.open or (isFromLoss and isSettling(s))
  return mustWait and s.quarantines[#s.quarantines] or s.gen
end

-- True if a claim may take this entry, placed in this step, at once.
local function isClaimable(s, e)
  return s.open and e.state == 'w' and e.gen == s.gen
end
