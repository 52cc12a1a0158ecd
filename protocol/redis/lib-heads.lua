--[[ The heads of the claimable generation for the claims of one step: read once, kept in tables, written once by
  `flushHeads`. Claims only take from lanes; nothing else may change or read one meanwhile.
  A lane: name `group/affinity`, affinity, score (nil = empty), pool, id of its head (id nil = not read yet), taken =
  how many have left it, and of one that some have left key, group, scoreText, ahead = members and scores that
  follow, at = place of the next. A group: name, waiting, lead = its best lane or nil, order = its lanes as they were,
  moved and emptied = what `lanes:` has to be told. A list: groups and penalties in the order of requests. ]]

-- Members read at once of a lane that more than one head is taken from, and lanes of a group that may be its next best.
local aheadCount, orderCount = 3, 4

local function laneOf(t, name)
  local lane = t.lanes[name]
  if not lane then
    lane = { name = name, taken = 0 }
    t.lanes[name] = lane
  end
  return lane
end

-- Tables of the groups and lanes named, in this order; `fields` has them in the same places.
local function readHeads(s, names, groupCount)
  local t = { head = s.p .. ':head:' .. s.gen, lanes = {}, fields = {}, taken = {}, groups = {} }
  local texts = names[1] and call('HMGET', t.head, unpack(names))
  for at, name in ipairs(names) do
    local text = texts[at]
    if at > groupCount then
      local lane = laneOf(t, name)
      if text and not lane.score then lane.score, lane.pool, lane.id = unpackBytes('>dss', text) end
      t.fields[at] = lane
    else
      local group = { name = name, waiting = 0 }
      if text then
        local score, pool, id, waiting, affinity = readGroup(text)
        local lane = laneOf(t, name .. '/' .. affinity)
        lane.score, lane.pool, lane.id, lane.affinity = score, pool, id, affinity
        group.waiting, group.lead = waiting, lane
      end
      t.fields[at] = group
    end
  end
  return t
end

-- The lane at a place in the order that a group's lanes had before this step, or nil.
local function laneInOrder(s, t, group, at)
  local order = group.order or {}
  group.order = order
  if order[at] or order.isWhole then return order[at] end
  local more = call('ZRANGE', s.p .. ':lanes:' .. s.gen .. ':' .. group.name, int(at - 1), int(at + orderCount - 2),
    'WITHSCORES')
  for each = 1, #more, 2 do
    local lane = laneOf(t, group.name .. '/' .. more[each])
    lane.affinity = more[each]
    if not lane.score and lane.taken == 0 then lane.score = tonumber(more[each + 1]) end
    order[#order + 1] = lane
  end
  order.isWhole = #more < 2 * orderCount
  return order[at]
end

-- The best lane of a group whose best has moved. One that nothing has left is where it was, and all behind it are
-- behind it: of those before it there are no more than this step has taken from.
local function findLead(s, t, group)
  local best
  for at = 1, #t.taken + 1 do
    local lane = laneInOrder(s, t, group, at)
    if not lane then break end
    local isAhead = lane.score and (not best or lane.score < best.score
      or lane.score == best.score and isBefore(lane.affinity, best.affinity))
    if isAhead then best = lane end
    if lane.taken == 0 then break end
  end
  if best and not best.id then
    best.score, best.pool, best.id = unpackBytes('>dss', call('HGET', t.head, best.name))
  end
  group.lead = best
end

-- Takes the head of a lane that is not empty; answers its id and pool.
local function takeHead(s, t, group, lane)
  local id, pool, taken = lane.id, lane.pool, lane.taken + 1
  if taken == 1 then
    t.taken[#t.taken + 1] = lane
    lane.key, lane.group, lane.ahead, lane.at = s.p .. ':lane:' .. s.gen .. ':' .. lane.name, group, {}, 1
    lane.affinity = lane.affinity or sub(lane.name, #group.name + 2)
    if not group.moved then
      t.groups[#t.groups + 1] = group
      group.moved, group.emptied = {}, {}
    end
  end
  lane.taken = taken
  s.waiting, group.waiting = s.waiting - 1, group.waiting - 1
  if not lane.ahead[lane.at] then
    local last = taken == 1 and taken or taken + aheadCount
    lane.ahead, lane.at = call('ZRANGE', lane.key, int(taken), int(last), 'WITHSCORES'), 1
  end
  local member = lane.ahead[lane.at]
  if member then
    local blank = find(member, ' ', 1, true)
    lane.scoreText = lane.ahead[lane.at + 1]
    lane.score, lane.at = tonumber(lane.scoreText), lane.at + 2
    lane.id, lane.pool = sub(member, 1, blank - 1), sub(member, blank + 1)
  else
    lane.score = nil
  end
  if lane == group.lead then findLead(s, t, group) end
  return id, pool
end

-- Writes lanes and heads that have moved.
local function flushHeads(s, t)
  local fields, gone = {}, {}
  for _, lane in ipairs(t.taken) do
    call('ZREMRANGEBYRANK', lane.key, '0', int(lane.taken - 1))
    if lane.score then
      append(fields, lane.name, packBytes('>dss', lane.score, lane.pool, lane.id))
      append(lane.group.moved, lane.scoreText, lane.affinity)
    else
      append(gone, lane.name)
      append(lane.group.emptied, lane.affinity)
    end
  end
  for _, group in ipairs(t.groups) do
    local key, lead = s.p .. ':lanes:' .. s.gen .. ':' .. group.name, group.lead
    if group.moved[1] then call('ZADD', key, unpack(group.moved)) end
    if group.emptied[1] then call('ZREM', key, unpack(group.emptied)) end
    if lead then
      append(fields, group.name, groupText(packBytes('>dss', lead.score, lead.pool, lead.id), group.waiting,
        lead.affinity))
    else
      append(gone, group.name)
      call('ZREM', s.p .. ':heads:' .. s.gen, group.name)
    end
  end
  if fields[1] then call('HSET', t.head, unpack(fields)) end
  if gone[1] then call('HDEL', t.head, unpack(gone)) end
end

-- Of the groups of a list and of warm lanes (flat: lane, place of its group in the list or 0, bonus) the group and
-- the lane with the smallest rank, its bonus and its penalty. As `findBest` in claim.lua.
local function findBestOf(s, list, warm)
  local clocks, groups, penalties = readClocks(s), list.groups, list.penalties
  local stands, bestAt, bestLane, bestRank, bestBonus = {}, nil, nil, nil, 0
  local onePool, oneStand, isMixed
  for at = 1, #groups do
    local lane = groups[at].lead
    if lane then
      local pool, score = lane.pool, lane.score
      if not onePool then onePool, oneStand = pool, score
      elseif pool == onePool then if score < oneStand then oneStand = score end
      else
        isMixed = true
        local known = stands[pool]
        if not known or score < known then stands[pool] = score end
      end
    end
  end
  if onePool then
    local clock = clocks[onePool] or 0
    if clock > oneStand then oneStand = clock end
  end
  for at = 1, #groups do
    local lane = groups[at].lead
    if lane then
      local stand = oneStand
      if isMixed and lane.pool ~= onePool then
        local clock = clocks[lane.pool] or 0
        stand = stands[lane.pool]
        if clock > stand then stand = clock end
      end
      local rank = lane.score - stand + penalties[at]
      if not bestRank or rank < bestRank then bestAt, bestLane, bestRank = at, lane, rank end
    end
  end
  for each = 1, #warm, 3 do
    local lane, at, bonus = warm[each], warm[each + 1], warm[each + 2]
    if lane.score and at > 0 then
      local stand = oneStand
      if lane.pool ~= onePool then
        local clock, first = clocks[lane.pool] or 0, stands[lane.pool]
        stand = first and first > clock and first or clock
      end
      local rank = lane.score - stand + penalties[at] - bonus
      if not bestRank or rank < bestRank then bestAt, bestLane, bestRank, bestBonus = at, lane, rank, bonus end
    end
  end
  if bestAt then return groups[bestAt], bestLane, bestBonus, penalties[bestAt] end
end

-- The list behind a text of doubles: for each group its place among the fields and its penalty.
local function readList(t, text)
  local numbers, list = { unpackBytes('>' .. string.rep('d', #text / 8), text) }, { groups = {}, penalties = {} }
  for at = 1, (#numbers - 1) / 2 do
    list.groups[at], list.penalties[at] = t.fields[numbers[2 * at - 1]], numbers[2 * at]
  end
  return list
end

-- The warm lanes behind a text of doubles: for each its place among the lanes, its group's in the list, its bonus.
local function readWarm(t, text, groupCount)
  if text == '' then return {} end
  local warm = { unpackBytes('>' .. string.rep('d', #text / 8), text) }
  warm[#warm] = nil
  for at = 1, #warm, 3 do warm[at] = t.fields[groupCount + warm[at]] end
  return warm
end

-- An idle machine is known by names.
local function enterIdleFor(s, key, list, warm)
  local groups, lanes = {}, {}
  for at, group in ipairs(list.groups) do groups[at] = group.name end
  for at = 1, #warm, 3 do lanes[#lanes + 1] = warm[at].name end
  enterIdle(s, key, groups, lanes)
end

-- Whether a machine could claim again (0 or 1), and an idle machine for what is left.
local function leftover(s, list)
  local more = 0
  for _, group in ipairs(list.groups) do
    if group.lead then
      more = 1
      if s.idle == 0 then break end
      local wake = wakeFor(s, group.name, group.lead.affinity)
      if wake ~= '' then return 1, wake end
    end
  end
  return more, ''
end
