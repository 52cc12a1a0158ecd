--[[ The heads of the claimable generation for the claims of one step: read once, kept in tables, written once by
  `flushHeads`. Claims only take from lanes; nothing else may change or read one meanwhile.
  A lane: name `group/affinity`, affinity, score (nil = empty), pool, id of its head (id nil = not read yet), taken =
  how many have left it, and of one that some have left key, group, scoreText, ahead = members and scores that
  follow, at = place of the next. A group: name, waiting, lead = its best lane or nil, order = its lanes as they were,
  moved and emptied = what `lanes:` has to be told. A list: groups, penalties and
  ranks of the leads in the order of requests, places = by group where it stands in them. ]]

-- Members read at once of a lane that more than one head is taken from.
local aheadCount = 3

-- All fields are named, so that each table is made in its full size.
local function laneOf(t, name, affinity)
  local lane = t.lanes[name]
  if lane then return lane end
  lane = { name = name, affinity = affinity, score = nil, pool = nil, id = nil, taken = 0, key = nil, group = nil,
    scoreText = nil, ahead = nil, at = 1 }
  t.lanes[name] = lane
  return lane
end

local function groupOf(t, name, text)
  local group = { name = name, waiting = 0, lead = nil, order = nil, moved = nil, emptied = nil }
  if text then
    local score, pool, id, waiting, affinity = readGroup(text)
    local lane = laneOf(t, name .. '/' .. affinity, affinity)
    lane.score, lane.pool, lane.id = score, pool, id
    group.waiting, group.lead = waiting, lane
  end
  return group
end

-- What arguments.ts writes for a place, read as a number of two bytes.
local function codeOf(place)
  return place < 128 and place or place + 128 * math.floor(place / 128)
end

-- Tables of the groups named, then of the lanes, by the codes of their places; `changes` = the groups whose lead is
-- another, or has another head, in the order in which they changed.
local function readHeads(s, names, groupCount)
  local t = { head = s.p .. ':head:' .. s.gen, lanes = {}, groupAt = {}, laneAt = {}, taken = {}, groups = {}, changes = {} }
  local texts = names[1] and call('HMGET', t.head, unpack(names))
  for at, name in ipairs(names) do
    if at > groupCount then
      local lane = laneOf(t, name)
      if texts[at] and not lane.score then lane.score, lane.pool, lane.id = unpackBytes('>dss', texts[at]) end
      t.laneAt[codeOf(at - groupCount)] = lane
    else
      t.groupAt[codeOf(at)] = groupOf(t, name, texts[at])
    end
  end
  return t
end

-- The lane at a place in the order that a group's lanes had before this step, or nil. Two are asked for first: as a
-- rule the one that has moved and the one behind it.
local function laneInOrder(s, t, group, at)
  local order = group.order or {}
  group.order = order
  if order[at] or order.isWhole then return order[at] end
  local last = at == 1 and 2 or at + 7
  local more = call('ZRANGE', s.p .. ':lanes:' .. s.gen .. ':' .. group.name, int(at - 1), int(last - 1))
  for each, affinity in ipairs(more) do
    local lane = laneOf(t, group.name .. '/' .. affinity)
    lane.affinity, order[at + each - 1] = affinity, lane
  end
  order.isWhole = not more[last - at + 1]
  return order[at]
end

-- The best lane of a group whose best has moved. One that nothing has left is where it was, and all behind it are
-- behind it: of those before it there are no more than this step has taken from.
local function findLead(s, t, group)
  local best
  for at = 1, #t.taken + 1 do
    local lane = laneInOrder(s, t, group, at)
    if not lane then break end
    if lane.taken == 0 and not lane.score then
      lane.score, lane.pool, lane.id = unpackBytes('>dss', call('HGET', t.head, lane.name))
    end
    local isAhead = lane.score and (not best or lane.score < best.score
      or lane.score == best.score and isBefore(lane.affinity, best.affinity))
    if isAhead then best = lane end
    if lane.taken == 0 then break end
  end
  group.lead = best
end

-- Takes the head of a lane that is not empty; answers its id and pool.
local function takeHead(s, t, group, lane)
  local id, pool, taken = lane.id, lane.pool, lane.taken + 1
  if taken == 1 then
    t.taken[#t.taken + 1] = lane
    lane.key, lane.group = s.p .. ':lane:' .. s.gen .. ':' .. lane.name, group
    lane.affinity = lane.affinity or sub(lane.name, #group.name + 2)
    if not group.moved then
      t.groups[#t.groups + 1] = group
      group.moved, group.emptied = {}, {}
    end
  end
  lane.taken = taken
  s.waiting, group.waiting = s.waiting - 1, group.waiting - 1
  if not (lane.ahead and lane.ahead[lane.at]) then
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
  if lane == group.lead then
    findLead(s, t, group)
    t.changes[#t.changes + 1] = group
  end
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

-- Of the groups of a list and of warm lanes (flat: lane, place of its group in the list or 0, bonus) the place of the
-- group and the lane with the smallest rank, and its bonus. As `findBest` in claim.lua.
local function bestOfPools(s, list, warm)
  local clocks, groups, penalties = readClocks(s), list.groups, list.penalties
  local first, bestAt, bestLane, bestRank, bestBonus = {}, nil, nil, nil, 0
  for at = 1, #groups do
    local lane = groups[at].lead
    if lane then
      local known = first[lane.pool]
      if not known or lane.score < known then first[lane.pool] = lane.score end
    end
  end
  for at = 1, #groups do
    local lane = groups[at].lead
    if lane then
      local clock, ahead = clocks[lane.pool] or 0, first[lane.pool]
      local rank = lane.score - (ahead > clock and ahead or clock) + penalties[at]
      if not bestRank or rank < bestRank then bestAt, bestLane, bestRank = at, lane, rank end
    end
  end
  for each = 1, #warm, 3 do
    local lane, at, bonus = warm[each], warm[each + 1], warm[each + 2]
    if lane.score and at > 0 then
      local clock, ahead = clocks[lane.pool] or 0, first[lane.pool]
      local rank = lane.score - (ahead and ahead > clock and ahead or clock) + penalties[at] - bonus
      if not bestRank or rank < bestRank then bestAt, bestLane, bestRank, bestBonus = at, lane, rank, bonus end
    end
  end
  return bestAt, bestLane, bestBonus
end

-- Rank of a group's lead among those of one pool, without their clock; infinity where it has none.
local function rankOf(group, penalty)
  return group.lead and group.lead.score + penalty or math.huge
end

-- The place and the rank of the best lead of a list in one pool, 0 if there is none. All of one pool are compared by
-- the same clock, and while only heads are taken every lead moves back: the best stays it until it moves itself.
local function bestLead(t, list)
  local ranks = list.ranks
  for at = list.seen + 1, #t.changes do
    local group = t.changes[at]
    local place = list.places[group]
    if place then ranks[place] = rankOf(group, list.penalties[place]) end
    if place == list.best then list.best = nil end
    if group.lead and group.lead.pool ~= list.pool then list.isOnePool = false end
  end
  list.seen = #t.changes
  if not list.best then
    local best, bestRank = 0, math.huge
    for at = 1, #ranks do
      local rank = ranks[at]
      if rank < bestRank then best, bestRank = at, rank end
    end
    list.best, list.rank = best, bestRank
  end
  return list.best, list.rank
end

-- As `bestOfPools`. Ranks without the clock are exact only as whole numbers.
local function bestOf(s, t, list, warm)
  local bestAt, bestRank = 0, math.huge
  if list.isOnePool then bestAt, bestRank = bestLead(t, list) end
  if not list.isOnePool then return bestOfPools(s, list, warm) end
  if bestAt == 0 then return end
  local bestLane, bestBonus = list.groups[bestAt].lead, 0
  for each = 1, #warm, 3 do
    local lane, at, bonus = warm[each], warm[each + 1], warm[each + 2]
    if lane.score and at > 0 then
      if lane.pool ~= list.pool or bonus % 1 ~= 0 then return bestOfPools(s, list, warm) end
      local rank = lane.score + list.penalties[at] - bonus
      if rank < bestRank then bestAt, bestLane, bestRank, bestBonus = at, lane, rank, bonus end
    end
  end
  return bestAt, bestLane, bestBonus
end

-- Numbers behind a text, each of two characters: codes of places.
local codeForms = {}
local function codesOf(text)
  local count = #text / 2
  local form = codeForms[count]
  if not form then
    form = '>' .. string.rep('I2', count)
    codeForms[count] = form
  end
  local codes = { unpackBytes(form, text) }
  codes[count + 1] = nil
  return codes
end

-- The list behind a text: for each group its place among the groups, and its penalty's among the values. `isOnePool`:
-- all leads are of `pool` and all penalties whole.
local function readList(t, text, values)
  local codes = codesOf(text)
  local groups, penalties, ranks, places = {}, {}, {}, {}
  local list = { groups = groups, penalties = penalties, ranks = ranks, places = places, isOnePool = true, pool = nil,
    seen = #t.changes, best = nil, rank = nil }
  for at = 1, #codes / 2 do
    local group, penalty = t.groupAt[codes[2 * at - 1]], values[codes[2 * at]]
    local pool = group.lead and group.lead.pool
    groups[at], penalties[at] = group, penalty
    -- One that is named twice has one penalty, and of equal ranks the first wins: it stands at its first place.
    ranks[at] = places[group] and math.huge or rankOf(group, penalty)
    places[group] = places[group] or at
    list.pool = list.pool or pool
    if penalty % 1 ~= 0 or pool and pool ~= list.pool then list.isOnePool = false end
  end
  return list
end

-- The warm lanes behind a text: for each its place among the lanes, its group's in the list, its bonus's.
local function readWarm(t, text, values)
  local warm = codesOf(text)
  for at = 1, #warm, 3 do warm[at], warm[at + 2] = t.laneAt[warm[at]], values[warm[at + 2]] end
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
