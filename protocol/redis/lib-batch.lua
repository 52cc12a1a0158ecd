--[[ A batch of new entries: what Redis is told of them waits in tables and is written in a few long
  commands by `flush`. Until then nothing else may read lanes, heads, finish tags, ids or these entries.
  One entry alone is written at once: the tables that serve many would cost it a quarter more. ]]

-- Values for one command: below the 8 000 that Lua can hand over at once.
local commandValues = 2000

-- Runs a command on a key with a list of any length, in as few calls as possible.
local function callMany(command, key, values)
  for from = 1, #values, commandValues do
    call(command, key, unpack(values, from, math.min(from + commandValues - 1, #values)))
  end
end

-- A table that keeps the order in which its fields came: `of` by name, and the names.
local function newIndex()
  return { of = {}, names = {} }
end

local function fieldOf(index, name, value)
  index.of[name], index.names[#index.names + 1] = value, name
  return value
end

local function newBatch(count)
  if count == 1 then return { isMany = false } end
  return { isMany = true, heads = newIndex(), lanes = newIndex(), tags = newIndex(), ids = {}, texts = {} }
end

-- What is known of the heads of a group and of one of its lanes.
local function headsOf(s, b, gen, groupName, laneName)
  local key = s.p .. ':head:' .. gen
  local at = b.heads.of[key] or fieldOf(b.heads, key, { gen = gen, groups = newIndex(), lanes = newIndex() })
  local group, lane = at.groups.of[groupName], at.lanes.of[laneName]
  if lane then return group, lane end
  local known = call('HMGET', key, groupName, laneName)
  if not group then
    group = fieldOf(at.groups, groupName, { score = math.huge, waiting = 0 })
    if known[1] then group.score, group.pool, group.id, group.waiting, group.best = readGroup(known[1]) end
  end
  lane = fieldOf(at.lanes, laneName, {})
  if known[2] then lane.score, lane.pool, lane.id = unpackBytes('>dss', known[2]) end
  return group, lane
end

local function pushInto(s, b, e, gen)
  local laneName = e.group .. '/' .. e.affinity
  local group, lane = headsOf(s, b, gen, e.group, laneName)
  local key = s.p .. ':lane:' .. gen .. ':' .. laneName
  local members = b.lanes.of[key] or fieldOf(b.lanes, key, {})
  members[#members + 1] = e.score
  members[#members + 1] = e.id .. ' ' .. e.pool
  s.waiting = s.waiting + 1
  group.waiting = group.waiting + 1
  local score = tonumber(e.score)
  if lane.score and (score > lane.score or score == lane.score and not isBefore(e.id, lane.id)) then return end
  lane.score, lane.pool, lane.id, lane.isNew = score, e.pool, e.id, e.score
  lane.group, lane.affinity = e.group, e.affinity
  if score > group.score and group.best ~= e.affinity then return end
  if score == group.score and group.best ~= e.affinity and not isBefore(e.affinity, group.best) then return end
  group.score, group.pool, group.id, group.best, group.isNew = score, e.pool, e.id, e.affinity, e.score
end

-- The hash first, as in `pushLane`.
local function flushHeads(s, key, at)
  local fields = {}
  for _, name in ipairs(at.groups.names) do
    local group = at.groups.of[name]
    fields[#fields + 1] = name
    fields[#fields + 1] = groupText(packBytes('>dss', group.score, group.pool, group.id), group.waiting, group.best)
  end
  for _, name in ipairs(at.lanes.names) do
    local lane = at.lanes.of[name]
    if lane.isNew then
      fields[#fields + 1] = name
      fields[#fields + 1] = packBytes('>dss', lane.score, lane.pool, lane.id)
    end
  end
  callMany('HSET', key, fields)
  for _, name in ipairs(at.groups.names) do
    local group = at.groups.of[name]
    if group.isNew then call('ZADD', s.p .. ':heads:' .. at.gen, 'LT', group.isNew, name) end
  end
  for _, name in ipairs(at.lanes.names) do
    local lane = at.lanes.of[name]
    if lane.isNew then call('ZADD', s.p .. ':lanes:' .. at.gen .. ':' .. lane.group, lane.isNew, lane.affinity) end
  end
end

local function flushTags(key, tags)
  local values = {}
  for _, customer in ipairs(tags.names) do
    values[#values + 1] = tags.of[customer]
    values[#values + 1] = customer
  end
  callMany('ZADD', key, values)
end

-- Writes all that waits.
local function flush(s, b)
  if not b.isMany then return end
  for _, key in ipairs(b.heads.names) do flushHeads(s, key, b.heads.of[key]) end
  for _, key in ipairs(b.lanes.names) do callMany('ZADD', key, b.lanes.of[key]) end
  for _, key in ipairs(b.tags.names) do flushTags(key, b.tags.of[key]) end
  callMany('ZADD', s.p .. ':ids', b.ids)
  for from = 1, #b.texts, commandValues do
    call('MSET', unpack(b.texts, from, math.min(from + commandValues - 1, #b.texts)))
  end
  b.heads, b.lanes, b.tags, b.ids, b.texts = newIndex(), newIndex(), newIndex(), {}, {}
end

local function putText(b, key, text)
  if b.isMany then b.texts[#b.texts + 1], b.texts[#b.texts + 2] = key, text else call('SET', key, text) end
end

local function putId(s, b, id)
  if b.isMany then b.ids[#b.ids + 1], b.ids[#b.ids + 2] = '0', id else call('ZADD', s.p .. ':ids', '0', id) end
end

-- Start tag of a job that enters its pool now; charges its customer, and forgets some tags of the pool
-- that its clock has passed: they order nothing more.
local function startTag(s, b, pool, customer, cost)
  local key, virtual = s.p .. ':finish:' .. pool, readClocks(s)[pool] or 0
  local tags = b.isMany and b.tags.of[key]
  if not tags then
    for _, past in ipairs(call('ZRANGEBYSCORE', key, '-inf', int(virtual), 'LIMIT', '0', '8')) do
      call('ZREM', key, past)
    end
    tags = b.isMany and fieldOf(b.tags, key, newIndex())
  end
  local start = math.max(virtual, tonumber(tags and tags.of[customer] or call('ZSCORE', key, customer) or '0'))
  local tag = int(start + cost)
  if not tags then call('ZADD', key, tag, customer)
  elseif tags.of[customer] then tags.of[customer] = tag
  else fieldOf(tags, customer, tag) end
  return start
end

-- Puts a new entry, which is nowhere, into its lane, or among the delayed until its time.
local function placeNew(s, b, e, gen)
  local isDue = not (e.notBefore and e.notBefore > s.now)
  if not b.isMany or not isDue then return place(s, e, gen) end
  e.gen, e.state = gen, 'w'
  pushInto(s, b, e, gen)
end
