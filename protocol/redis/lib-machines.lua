--[[ Incarnations (`machine/incarnation`, called key here), their leases' end, and the idle index:
  machines that found nothing to do, by what they could do, longest idle first, holders of the lane's
  model before others. A machine that is woken leaves the index until it asks again. ]]

local function machineOf(key)
  return match(key, '^(.*)/%d+$')
end

local function incarnationOf(key)
  return tonumber(match(key, '(%d+)$'))
end

-- Newest incarnation of a machine or 0, the end of its leases (0 = it is not known), and how many givings of
-- a TTL there had been: after one more the end in `alive` counts. One read tells a claim all it needs.
local function recordOf(s, machine)
  local record = call('HGET', s.p .. ':machines', machine)
  if not record then return 0, 0, s.givings end
  return unpackBytes('>dds', record)
end

local function newestOf(s, key)
  return (recordOf(s, machineOf(key)))
end

local function isSuperseded(s, key)
  return newestOf(s, key) > incarnationOf(key)
end

local function endsOf(s, key)
  return tonumber(call('ZSCORE', s.p .. ':alive', key) or '')
end

-- Sets the end of an incarnation's leases in the set and, if it is its machine's newest, in the record;
-- `ends` nil = forget it, which makes none the newest. Answers 1 if the incarnation is new.
local function setEnds(s, key, ends)
  local incarnation, newest = incarnationOf(key), newestOf(s, key)
  if newest == incarnation or newest < incarnation and ends then
    call('HSET', s.p .. ':machines', machineOf(key), packBytes('>dds', incarnation, ends or 0, s.givings))
  end
  if ends then return call('ZADD', s.p .. ':alive', format('%.17g', ends), key) end
  return call('ZREM', s.p .. ':alive', key)
end

local function hasLeases(s, key)
  return call('EXISTS', s.p .. ':held:' .. key) == 1
end

-- True if this incarnation's lease has ended and it still holds jobs: the sweeper must empty it first.
local function isLapsed(s, key)
  local ends = endsOf(s, key)
  return s.open and (not ends or ends <= s.now) and hasLeases(s, key)
end

-- End of the leases of an incarnation that may be served: the newest of its machine, not ended; else nil.
local function servedUntil(s, key)
  local ends = endsOf(s, key)
  if ends and ends > s.now and newestOf(s, key) == incarnationOf(key) then return ends end
end

local function keepAlive(s, key, ends)
  if setEnds(s, key, ends) == 1 then call('SADD', s.p .. ':incarnations', key) end
end

-- Answers text for the caller: '' = none.
local function earliestExpiry(s)
  return call('ZRANGE', s.p .. ':alive', 0, 0, 'WITHSCORES')[2] or ''
end

-- Of lanes `group/affinity` those with a free slot: a resident model alone does not make a machine fit.
local function offered(lanes, groups)
  local names, isFree = {}, {}
  for _, group in ipairs(groups) do isFree[group] = true end
  for _, lane in ipairs(lanes) do
    if isFree[match(lane, '^[^/]+')] then names[#names + 1] = lane end
  end
  return names
end

-- Answers whether it was there.
local function leaveIdle(s, key)
  local known = s.idle > 0 and call('HGET', s.p .. ':idle', key)
  if not known then return false end
  call('HDEL', s.p .. ':idle', key)
  s.idle = s.idle - 1
  local wants = cmsgpack.unpack(known)
  for _, group in ipairs(wants[1]) do call('ZREM', s.p .. ':idlegroup:' .. group, key) end
  for _, lane in ipairs(offered(wants[2], wants[1])) do call('ZREM', s.p .. ':idlelane:' .. lane, key) end
  return true
end

-- `wants`: groups, lanes, idle since ms.
local function listIdle(s, key, wants)
  for _, group in ipairs(wants[1]) do call('ZADD', s.p .. ':idlegroup:' .. group, wants[3], key) end
  for _, lane in ipairs(offered(wants[2], wants[1])) do call('ZADD', s.p .. ':idlelane:' .. lane, wants[3], key) end
end

-- A beat says which groups, not which lanes: with `lanes` nil the lanes of the last claim stay.
local function enterIdle(s, key, groups, lanes)
  local known = call('HGET', s.p .. ':idle', key)
  local older = known and cmsgpack.unpack(known) or { {}, {}, int(s.now) }
  local wanted = lanes or older[2]
  -- It has been idle for as long as before, whatever it can do by now.
  local wants = { groups, wanted, older[3] }
  local entered = cmsgpack.pack(wants)
  if known == entered then return end
  leaveIdle(s, key)
  if #groups == 0 then return end
  call('HSET', s.p .. ':idle', key, entered)
  s.idle = s.idle + 1
  listIdle(s, key, wants)
end

-- One idle fit machine, taken out of the index, or ''. Skips at most 1 000 that can no longer serve, and 8 that are not
-- idle at all.
local function wakeFor(s, group, affinity)
  if s.idle == 0 then return '' end
  for _ = 1, math.min(s.idle, 1000) + 8 do
    local lane, inGroup = s.p .. ':idlelane:' .. group .. '/' .. affinity, s.p .. ':idlegroup:' .. group
    local key = call('ZRANGE', lane, 0, 0)[1] or call('ZRANGE', inGroup, 0, 0)[1]
    if not key then return '' end
    if not leaveIdle(s, key) then
      -- Left from half a step (see reconcile-start).
      call('ZREM', lane, key)
      call('ZREM', inGroup, key)
    elseif servedUntil(s, key) then
      return key
    end
  end
  return ''
end

-- Forgets an incarnation that holds nothing.
local function forgetIncarnation(s, key)
  setEnds(s, key, nil)
  call('SREM', s.p .. ':incarnations', key)
  leaveIdle(s, key)
end

-- Job ids that an incarnation holds, in order of the ids.
local function heldBy(s, key)
  local ids = call('ZRANGE', s.p .. ':held:' .. key, 0, -1)
  table.sort(ids, isBefore)
  return ids
end
