--[[ Completions of one step that ends many: their entries and tombstones are read once and written once. An id that
  comes twice is gone at its second time, as if each came alone. ]]

-- Of an entry that is leased: token, floor, whether it has a body, holder.
local leasedForm = '^l %S+ (%S+) (%S+) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ ([01]) (%S+) '

local function append(list, first, second)
  local count = #list
  list[count + 1], list[count + 2] = first, second
end

local function laterOf(a, b)
  return a == b and a or maxToken(a, b)
end

-- What ends: tombstones by id as they are now (`tombs`), `isBuried` here, those whose time is over (`past`, the next of
-- them at `at`), and what is to be written.
local function readEnds(s, ids)
  local tombs, known = {}, call('HMGET', s.p .. ':tombstones', unpack(ids))
  for at, id in ipairs(ids) do tombs[id] = known[at] end
  -- Each burial forgets eight, and of those that are past it may bury one itself.
  local past = call('ZRANGEBYSCORE', s.p .. ':tombends', '-inf', int(s.now), 'LIMIT', '0', int(9 * #ids))
  return { tombs = tombs, isBuried = {}, past = past, at = 1, buried = {}, forgotten = {}, gone = {}, ids = {}, keys = {} }
end

local function forgetNext(b)
  local count = 0
  for at = b.at, #b.past do
    if count == 8 then break end
    local id = b.past[at]
    b.at = at + 1
    if not b.isBuried[id] then
      count = count + 1
      b.forgotten[#b.forgotten + 1], b.tombs[id] = id, false
    end
  end
end

-- As `bury`, written by `flushEnds`.
local function buryLater(b, id, token, floor)
  local known = b.tombs[id]
  if known then
    local knownToken, knownFloor = match(known, '^(%d+) (%d+)$')
    token, floor = laterOf(knownToken, token), laterOf(knownFloor, floor)
  end
  if not b.isBuried[id] then b.buried[#b.buried + 1] = id end
  b.tombs[id], b.isBuried[id] = token .. ' ' .. floor, true
  if b.past[b.at] then forgetNext(b) end
end

local function flushEnds(s, b)
  local tombs, ends, endMs = {}, {}, int(s.now + tombstoneMs)
  for _, id in ipairs(b.buried) do
    append(tombs, id, b.tombs[id])
    append(ends, endMs, id)
  end
  callMany('ZREM', s.p .. ':tombends', b.forgotten)
  callMany('HDEL', s.p .. ':tombstones', b.forgotten)
  callMany('HSET', s.p .. ':tombstones', tombs)
  callMany('ZADD', s.p .. ':tombends', ends)
  callMany('ZREM', s.p .. ':ids', b.ids)
  if b.keys[1] then call('DEL', unpack(b.keys)) end
end

-- As the step complete, of the entry with this key and text (false = not known): 1 if it is removed, else 0.
local function endOne(s, b, key, text, id, token, floor)
  local isKnown = text and not b.gone[id]
  local heldToken, heldFloor, hasBody, holder, e
  if isKnown then heldToken, heldFloor, hasBody, holder = match(text, leasedForm) end
  if isKnown and not holder then
    e = readEntry(s, id, text)
    heldToken, heldFloor, hasBody = e.token, e.floor, e.hasBody and '1'
  end
  if isKnown and heldFloor ~= floor and tonumber(heldFloor) > tonumber(floor) then return 0 end
  s.operations = s.operations + 1
  if not isKnown then
    buryLater(b, id, token, floor)
    return 0
  end
  b.gone[id] = true
  if e then unplace(s, e) else call('ZREM', s.p .. ':held:' .. holder, id) end
  append(b.keys, key, hasBody == '1' and s.p .. ':body:' .. id or nil)
  append(b.ids, id)
  buryLater(b, id, laterOf(heldToken, token), laterOf(heldFloor, floor))
  return 1
end

-- Of each three values from `first` on: job id, token, floor.
local function endAll(s, argv, first, count)
  if count == 0 then return {} end
  local answers, ids, keys = {}, {}, {}
  for index = 1, count do
    ids[index] = argv[first + 3 * (index - 1)]
    keys[index] = s.p .. ':job:' .. ids[index]
  end
  local texts, b = call('MGET', unpack(keys)), readEnds(s, ids)
  for index, id in ipairs(ids) do
    local at = first + 3 * (index - 1)
    answers[index] = endOne(s, b, keys[index], texts[index], id, argv[at + 1], argv[at + 2])
  end
  flushEnds(s, b)
  return answers
end
