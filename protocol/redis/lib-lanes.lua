--[[ Lines of claimable work of one generation. Members of a lane are `id pool` by score: a blank sorts
  before all that a name may hold, so ids keep their order. The head of each lane and of each group's
  best lane is text, so that a claim reads all its heads in one command: 17 columns of score, the pool,
  a blank, the affinity. Heads are exact: every change of a lane updates them. ]]

local function headText(score, pool, affinity)
  return string.format('%17s', score) .. pool .. ' ' .. affinity
end

-- Score and pool of a head's text; a claim reads 48 of them.
local function readHead(text)
  return tonumber(text:sub(1, 17)), text:sub(18, text:find(' ', 18, true) - 1)
end

local function affinityOf(text)
  return text:sub(text:find(' ', 18, true) + 1)
end

-- Job id of a member of a lane.
local function idOf(member)
  return member:sub(1, member:find(' ', 1, true) - 1)
end

-- Writes the heads that follow from the lane's present first; answers the group's new head text or false.
local function refreshHead(s, gen, group, affinity)
  local lane = group .. '/' .. affinity
  local lanes = s.p .. ':lanes:' .. gen .. ':' .. group
  local first = redis.call('ZRANGE', s.p .. ':lane:' .. gen .. ':' .. lane, 0, 0, 'WITHSCORES')
  local text
  if first[1] then
    text = headText(first[2], first[1]:sub(first[1]:find(' ', 1, true) + 1), affinity)
    redis.call('HSET', s.p .. ':lanehead:' .. gen, lane, text)
    redis.call('ZADD', lanes, first[2], affinity)
  else
    redis.call('HDEL', s.p .. ':lanehead:' .. gen, lane)
    redis.call('ZREM', lanes, affinity)
  end
  local best = redis.call('ZRANGE', lanes, 0, 0)[1]
  if not best then
    redis.call('HDEL', s.p .. ':head:' .. gen, group)
    redis.call('ZREM', s.p .. ':heads:' .. gen, group)
    return false
  end
  if best ~= affinity then text = redis.call('HGET', s.p .. ':lanehead:' .. gen, group .. '/' .. best) end
  redis.call('HSET', s.p .. ':head:' .. gen, group, text)
  redis.call('ZADD', s.p .. ':heads:' .. gen, tonumber(text:sub(1, 17)), group)
  return text
end

local function countWaiting(s, group, change)
  s.waiting = s.waiting + change
  if redis.call('HINCRBY', s.p .. ':waiting', group, change) == 0 then
    redis.call('HDEL', s.p .. ':waiting', group)
  end
end

local function pushLane(s, e, gen)
  local lane = s.p .. ':lane:' .. gen .. ':' .. e.group .. '/' .. e.affinity
  local member = e.id .. ' ' .. e.pool
  redis.call('ZADD', lane, e.score, member)
  countWaiting(s, e.group, 1)
  if redis.call('ZRANGE', lane, 0, 0)[1] == member then refreshHead(s, gen, e.group, e.affinity) end
end

local function removeLane(s, e, gen)
  local lane = s.p .. ':lane:' .. gen .. ':' .. e.group .. '/' .. e.affinity
  local member = e.id .. ' ' .. e.pool
  local wasFirst = redis.call('ZRANGE', lane, 0, 0)[1] == member
  redis.call('ZREM', lane, member)
  countWaiting(s, e.group, -1)
  if wasFirst then refreshHead(s, gen, e.group, e.affinity) end
end

-- Takes the first of a lane that is not empty; answers its id and the group's new head text or false.
local function popLane(s, gen, group, affinity)
  local member = redis.call('ZPOPMIN', s.p .. ':lane:' .. gen .. ':' .. group .. '/' .. affinity)[1]
  countWaiting(s, group, -1)
  return idOf(member), refreshHead(s, gen, group, affinity)
end

-- Puts an entry that is nowhere into its lane, or among the delayed until its time.
local function place(s, e, gen)
  e.gen = gen
  if e.notBefore and e.notBefore > s.now then
    e.state = 'd'
    redis.call('ZADD', s.p .. ':delayed:' .. gen, e.notBefore, e.id)
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
