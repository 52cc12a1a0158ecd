--[[ Begin and end of every step: one time, the identity of this server, whether the Broker is open.
  A step table `s` has: p prefix, now ms, ttl ms, identity, open, gen (generation of the claimable
  lines), quarantines (generations that were here at a loss, oldest first), untilMs (their end, nil =
  not before the opening), closings, and the counters lastEvent, operations, waiting. ]]

-- Whole numbers as text: tostring() and `..` keep 14 digits, tokens have 16.
local function int(value)
  return string.format('%.0f', value)
end

-- Every incarnation gets one TTL, in one native command; so does quarantined work, where it waits longer.
local function giveOneTtl(s)
  local ends = s.now + s.ttl
  redis.call('ZINTERSTORE', s.p .. ':alive', 2, s.p .. ':alive', s.p .. ':incarnations', 'WEIGHTS', 0, int(ends))
  if s.untilMs and s.untilMs > ends then
    s.untilMs = ends
    redis.call('HSET', s.p .. ':meta', 'untilMs', int(ends))
  end
end

-- A clock that another program moved must not end leases: a step of more than this is an alarm.
local clockStepMs = 5000

-- `given` is virtual time; '' reads TIME. `latest` is the caller's bound for an undisturbed clock, or ''.
local function readClock(s, given, latest, last)
  if given ~= '' then
    s.now = math.max(last, tonumber(given))
    return
  end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local isAhead = latest ~= '' and now > tonumber(latest) + clockStepMs
  if isAhead or now < last - clockStepMs then
    s.now = now
    giveOneTtl(s)
    redis.call('HINCRBY', s.p .. ':meta', 'clockSteps', 1)
  else
    s.now = math.max(last, now)
  end
end

-- Of the process that runs this: as a function it is asked once, as a script in every step. The history
-- changes only when the process was demoted and promoted in between, which takes far longer than 50 ms
-- without a step: asked again after that.
local runId, history, askedMs
local historyMs = 50

local function infoField(section, field)
  local text = redis.call('INFO', section)
  local _, last = string.find(text, field, 1, true)
  if not last then error('EMPIDENTITY the server tells no ' .. field) end
  return string.sub(text, last + 1, last + 16)
end

-- Run id: this process. Replication id: its history. Birth: the data, so that a flush is a loss too.
local function identify(s, birth, isVirtual)
  runId = runId or infoField('server', 'run_id:')
  if isVirtual or not askedMs or s.now < askedMs or s.now > askedMs + historyMs then
    history, askedMs = infoField('replication', 'master_replid:'), s.now
  end
  return runId .. '.' .. history .. '.' .. birth
end

local function isEmptyGen(s, gen)
  return redis.call('EXISTS', s.p .. ':heads:' .. gen, s.p .. ':delayed:' .. gen) == 0
end

-- All that is here was here at the loss: the claimable lines become a quarantine, and leases that were
-- granted before this closing await their machines, whatever they say of themselves (see `load`).
local function close(s)
  redis.call('DEL', s.p .. ':nonce')
  -- A second loss before the first one's work has moved finds nothing new to keep apart.
  if #s.quarantines == 0 or not isEmptyGen(s, s.gen) then
    s.quarantines[#s.quarantines + 1] = s.gen
    s.gen = s.gen + 1
  end
  s.untilMs, s.closings = nil, s.closings + 1
  redis.call('HSET', s.p .. ':meta', 'closedFor', s.identity, 'openedOn', '', 'gen', s.gen, 'untilMs', '',
    'quarantines', table.concat(s.quarantines, ','), 'closings', s.closings)
end

local function begin(keys, argv)
  local p = keys[1]
  local meta = redis.call('HMGET', p .. ':meta', 'schema', 'birth', 'openedOn', 'closedFor', 'lastNow',
    'gen', 'quarantines', 'untilMs', 'closings', 'lastEvent', 'operations', 'waiting')
  if meta[1] and meta[1] ~= '1' then error('EMPSCHEMA the keys are of schema ' .. meta[1] .. ', this program knows 1') end
  local s = {
    p = p,
    ttl = tonumber(argv[3]),
    gen = tonumber(meta[6] or '1'),
    quarantines = {},
    untilMs = tonumber(meta[8] or ''),
    closings = tonumber(meta[9] or '0'),
    lastEvent = tonumber(meta[10] or '0'),
    operations = tonumber(meta[11] or '0'),
    waiting = tonumber(meta[12] or '0'),
  }
  if meta[7] and meta[7] ~= '' then
    for gen in string.gmatch(meta[7], '%d+') do s.quarantines[#s.quarantines + 1] = tonumber(gen) end
  end
  readClock(s, argv[1], argv[2], tonumber(meta[5] or '0'))
  local birth = meta[2]
  if not birth then
    local time = redis.call('TIME')
    birth = int(tonumber(time[1]) * 1000000 + tonumber(time[2]))
    redis.call('HSET', p .. ':meta', 'schema', '1', 'birth', birth)
  end
  s.identity = identify(s, birth, argv[1] ~= '')
  s.open = meta[3] == s.identity
  if not s.open and meta[4] ~= s.identity then close(s) end
  return s
end

-- Ends the step: its counters are written once. The answer begins with the time of the step.
local function answer(s, tag, ...)
  -- Numbers as arguments are written with 17 digits: exact for all that we count and time.
  redis.call('HSET', s.p .. ':meta', 'lastNow', s.now, 'lastEvent', s.lastEvent, 'operations', s.operations,
    'waiting', s.waiting)
  return { int(s.now), tag, ... }
end

-- Byte order, as Redis keeps equal scores and as JavaScript compares names; Lua's `<` follows the locale.
local function isBefore(a, b)
  for at = 1, math.min(#a, #b) do
    local x, y = string.byte(a, at), string.byte(b, at)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function maxToken(a, b)
  return tonumber(a) >= tonumber(b) and a or b
end
