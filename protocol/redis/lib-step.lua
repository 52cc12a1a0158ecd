--[[ Begin and end of every step: one time, the identity of this server, whether the Broker is open.
  A step table `s` has: p prefix, now ms, ttl ms, identity, open, openedOn, closedFor, gen (generation of
  the claimable lines, text), quarantines (generations that were here at a loss, oldest first; never
  changed in place), untilMs (their end, nil = not before the opening), closings and givings of a TTL (counts, text), clocks, and the
  counters lastEvent, operations, waiting, idle.
  Hash meta: schema, birth, owner (name of the records that the jobs stand in), standing (text, changes at a loss and an opening), counters (five doubles,
  written by every step: lastNow lastEvent operations waiting idle),
  clocks (text: the virtual clock of each pool, few as they are), clockSteps, trimmed (newest event that is). ]]

-- Kept here because each use of a global is a look-up through two tables, and at the time a library is
-- loaded they are not there yet.
local call, format, match, find, sub, bytesOf, packBytes, unpackBytes

local function bindGlobals()
  call, packBytes, unpackBytes = redis.call, struct.pack, struct.unpack
  format, match, find, sub, bytesOf = string.format, string.match, string.find, string.sub, string.byte
end

-- Whole numbers as text: tostring() and `..` keep 14 digits, tokens have 16. Numbers are given to
-- redis.call as text wherever it is hot: Redis itself would write them with %.17g, three times as slow.
local function int(value)
  return format('%d', value)
end

-- Of the newest text of `standing` that this process has read: it stays the same for days.
local standingText, standing
local noStanding = '- - 1 - 0 0 '

local function readStanding(text)
  if text ~= standingText then
    local openedOn, closedFor, gen, untilMs, closings, givings, list = match(text,
      '^(%S+) (%S+) (%d+) (%S+) (%d+) (%d+) ?(.*)$')
    local quarantines = {}
    for each in string.gmatch(list, '%d+') do quarantines[#quarantines + 1] = each end
    standingText, standing = text, { openedOn = openedOn, closedFor = closedFor, gen = gen,
      untilMs = tonumber(untilMs), closings = closings, givings = givings, quarantines = quarantines }
  end
  return standing
end

local function writeStanding(s)
  call('HSET', s.p .. ':meta', 'standing', s.openedOn .. ' ' .. s.closedFor .. ' ' .. s.gen .. ' '
    .. (s.untilMs and int(s.untilMs) or '-') .. ' ' .. s.closings .. ' ' .. s.givings .. ' '
    .. table.concat(s.quarantines, ' '))
end

-- Virtual clocks of the newest text that this process has read or written; pools in the order of the text.
local clocksText, pools, clockOf = '', {}, {}

local function readClocks(s)
  if s.clocks ~= clocksText then
    pools, clockOf = {}, {}
    for pool, clock in string.gmatch(s.clocks, '(%S+) (%S+)') do
      pools[#pools + 1], clockOf[pool] = pool, tonumber(clock)
    end
    clocksText = s.clocks
  end
  return clockOf
end

-- Sets the clock of a pool; `answer` writes it.
local function setClock(s, pool, clock)
  local of, words = readClocks(s), {}
  if not of[pool] then pools[#pools + 1] = pool end
  of[pool] = clock
  for at, name in ipairs(pools) do words[at] = name .. ' ' .. int(of[name]) end
  s.clocks, s.hasNewClocks = table.concat(words, ' '), true
  clocksText = s.clocks
end

-- Every incarnation gets one TTL, in one native command; so does quarantined work, where it waits longer.
-- What the machines' records say of the end holds no more, which the count of givings tells.
local function giveOneTtl(s)
  local ends = s.now + s.ttl
  call('ZINTERSTORE', s.p .. ':alive', 2, s.p .. ':alive', s.p .. ':incarnations', 'WEIGHTS', 0, int(ends))
  if s.untilMs and s.untilMs > ends then s.untilMs = ends end
  s.givings = int(s.givings + 1)
  writeStanding(s)
end

-- A clock that another program moved must not end leases: a step of more than this is an alarm.
local clockStepMs = 5000

-- `given` is virtual time; '' reads TIME. `latest` is the caller's bound for an undisturbed clock, or ''.
local function readClock(s, given, latest, last)
  if given ~= '' then
    s.now = math.max(last, tonumber(given))
    return
  end
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local isAhead = latest ~= '' and now > tonumber(latest) + clockStepMs
  if isAhead or now < last - clockStepMs then
    s.now = now
    giveOneTtl(s)
    call('HINCRBY', s.p .. ':meta', 'clockSteps', 1)
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
  local text = call('INFO', section)
  local _, last = find(text, field, 1, true)
  if not last then error('EMPIDENTITY the server tells no ' .. field) end
  return sub(text, last + 1, last + 16)
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
  return call('EXISTS', s.p .. ':heads:' .. gen, s.p .. ':delayed:' .. gen) == 0
end

-- All that is here was here at the loss: the claimable lines become a quarantine, and leases that were
-- granted before this closing await their machines, whatever they say of themselves (see `load`).
local function close(s)
  call('DEL', s.p .. ':nonce')
  -- A second loss before the first one's work has moved finds nothing new to keep apart.
  if #s.quarantines == 0 or not isEmptyGen(s, s.gen) then
    s.quarantines = { unpack(s.quarantines) }
    s.quarantines[#s.quarantines + 1] = s.gen
    s.gen = int(s.gen + 1)
  end
  s.openedOn, s.closedFor, s.untilMs, s.closings = '-', s.identity, nil, int(s.closings + 1)
  writeStanding(s)
end

local function begin(keys, argv)
  if not call then bindGlobals() end
  local p = keys[1]
  local meta = call('HMGET', p .. ':meta', 'schema', 'birth', 'standing', 'counters', 'clocks')
  if meta[1] and meta[1] ~= '2' then error('EMPSCHEMA the keys are of schema ' .. meta[1] .. ', this program knows 2') end
  local known = readStanding(meta[3] or noStanding)
  local s = {
    p = p,
    ttl = tonumber(argv[3]),
    openedOn = known.openedOn,
    closedFor = known.closedFor,
    gen = known.gen,
    quarantines = known.quarantines,
    untilMs = known.untilMs,
    closings = known.closings,
    givings = known.givings,
    clocks = meta[5] or '',
    lastEvent = 0, operations = 0, waiting = 0, idle = 0,
    -- Set below; named here so that the table is made in its full size.
    now = 0, identity = '', open = false, hasNewClocks = false,
  }
  local last = 0
  if meta[4] then last, s.lastEvent, s.operations, s.waiting, s.idle = unpackBytes('>ddddd', meta[4]) end
  readClock(s, argv[1], argv[2], last)
  local birth = meta[2]
  if not birth then
    local time = call('TIME')
    birth = int(time[1] * 1000000 + time[2])
    call('HSET', p .. ':meta', 'schema', '2', 'birth', birth)
  end
  s.identity = identify(s, birth, argv[1] ~= '')
  s.open = s.openedOn == s.identity
  if not s.open and s.closedFor ~= s.identity then close(s) end
  return s
end

-- A Broker belongs to the records of its jobs: a reconcile by hubs of others would end all that it holds. Kept here
-- and not by a command of the connection, because a flush takes it away and a reconcile follows each flush. Hubs of
-- older revisions tell none.
local function own(s, owner)
  if not owner or owner == '' then return end
  local known = call('HGET', s.p .. ':meta', 'owner')
  if not known then call('HSET', s.p .. ':meta', 'owner', owner)
  elseif known ~= owner then error('EMPOWNER these keys belong to the records ' .. known) end
end

-- Ends the step: its counters are written once. The answer begins with the time of the step.
local function answer(s, tag, ...)
  local counters = packBytes('>ddddd', s.now, s.lastEvent, s.operations, s.waiting, s.idle)
  if s.hasNewClocks then call('HSET', s.p .. ':meta', 'counters', counters, 'clocks', s.clocks)
  else call('HSET', s.p .. ':meta', 'counters', counters) end
  return { s.now, tag, ... }
end

-- Byte order, as Redis keeps equal scores and as JavaScript compares names; Lua's `<` follows the locale.
local function isBefore(a, b)
  for at = 1, math.min(#a, #b) do
    local x, y = bytesOf(a, at), bytesOf(b, at)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function maxToken(a, b)
  return tonumber(a) >= tonumber(b) and a or b
end
