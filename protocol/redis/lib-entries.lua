--[[ A job as the Broker holds it, in exactly one place: a lane (state w), the delayed (d), or its
  holder's leases (l). String job:<id>, 15 words and a lease: state, generation, token, fence floor,
  attempts, runs, not before, cancel flag, rebuilt, group, affinity, pool, start tag, score, whether
  body:<id> is there, then of a leased one holder, request, missed beats, awaited, fraction, closings at
  the grant. One text, because a hash of as many fields costs three times as much to read. ]]

local entryForm = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$'

-- Adds to an entry what its lease says. One granted before the last closing was here at a loss: nobody
-- had to walk over all of them then.
local function readLease(s, e, text)
  local holder, request, missed, awaited, fraction, closings = match(text, '^(%S+) (%d+) (%d+) ([01]) (%S+) (%d+)$')
  local wasHere = closings ~= s.closings
  e.holder, e.request, e.fraction = holder, request, fraction
  e.missed = wasHere and 0 or tonumber(missed)
  e.awaited = wasHere or awaited == '1'
  e.rebuilt = wasHere or e.rebuilt
end

-- The entry that a text tells of.
local function readEntry(s, id, text)
  local state, gen, token, floor, attempts, runs, notBefore, cancel, rebuilt, group, affinity, pool, start, score,
    hasBody, lease = match(text, entryForm)
  local e = {
    id = id, state = state, group = group, affinity = affinity, pool = pool, start = start, score = score, gen = gen,
    token = token, floor = floor, attempts = attempts, runs = tonumber(runs), notBefore = tonumber(notBefore),
    cancel = cancel == '1', rebuilt = rebuilt == '1', hasBody = hasBody == '1', holder = '', awaited = false,
  }
  if state == 'l' then readLease(s, e, lease) end
  return e
end

-- The entry, or nil if the id is not known.
local function load(s, id)
  local text = call('GET', s.p .. ':job:' .. id)
  return text and readEntry(s, id, text) or nil
end

local function entryText(s, e)
  local lease = e.state ~= 'l' and '' or e.holder .. ' ' .. e.request .. ' ' .. int(e.missed)
    .. (e.awaited and ' 1 ' or ' 0 ') .. e.fraction .. ' ' .. s.closings
  return e.state .. ' ' .. e.gen .. ' ' .. e.token .. ' ' .. e.floor .. ' '
    .. e.attempts .. ' ' .. int(e.runs) .. ' ' .. (e.notBefore and format('%.17g', e.notBefore) or '-')
    .. (e.cancel and ' 1' or ' 0') .. (e.rebuilt and ' 1 ' or ' 0 ') .. e.group .. ' ' .. e.affinity .. ' ' .. e.pool
    .. ' ' .. e.start .. ' ' .. e.score .. (e.hasBody and ' 1 ' or ' 0 ') .. lease
end

local function save(s, e)
  call('SET', s.p .. ':job:' .. e.id, entryText(s, e))
end

-- Before the nonce of a reconcile that has not filled the indexes again; no nonce begins so.
local repairing = ' '

-- True for what waits in an index that a reconcile has emptied: it is nowhere until `repair` comes to it.
local function isLeftBehind(s, e)
  if e.state == 'l' or e.gen == s.gen then return false end
  for _, gen in ipairs(s.quarantines) do
    if gen == e.gen then return false end
  end
  return true
end

-- Takes an entry out of its lane, its delayed set or its holder's leases; it is nowhere then.
local function unplace(s, e)
  if isLeftBehind(s, e) then return end
  if e.state == 'w' then
    removeLane(s, e, e.gen)
  elseif e.state == 'd' then
    call('ZREM', s.p .. ':delayed:' .. e.gen, e.id)
  else
    call('ZREM', s.p .. ':held:' .. e.holder, e.id)
    e.holder, e.awaited = '', false
  end
end

-- Gives an entry that is nowhere to an incarnation. Says nothing about how long: only beats do.
local function grant(s, e, key, request, token)
  e.state, e.token, e.holder, e.request, e.missed, e.awaited, e.fraction = 'l', token, key, request, 0, false, '0'
  call('ZADD', s.p .. ':held:' .. key, request, e.id)
end

-- Forgets the oldest tombstones whose time has passed, at most `limit` of them (1 000).
local function forgetTombstones(s, limit)
  local past = call('ZRANGEBYSCORE', s.p .. ':tombends', '-inf', int(s.now), 'LIMIT', '0', limit)
  if not past[1] then return end
  call('ZREM', s.p .. ':tombends', unpack(past))
  call('HDEL', s.p .. ':tombstones', unpack(past))
end

-- Refuses submits of this id up to the higher of token and floor for 15 minutes; forgets 8 that have passed.
local tombstoneMs = 900000
local function bury(s, id, token, floor)
  local known = call('HGET', s.p .. ':tombstones', id)
  if known then
    local knownToken, knownFloor = match(known, '^(%d+) (%d+)$')
    token, floor = maxToken(knownToken, token), maxToken(knownFloor, floor)
  end
  call('HSET', s.p .. ':tombstones', id, token .. ' ' .. floor)
  call('ZADD', s.p .. ':tombends', int(s.now + tombstoneMs), id)
  forgetTombstones(s, '8')
end

-- Floor at or below which a submit of this id adds nothing; nil if it has no tombstone.
local function buriedFloor(s, id)
  local ends = call('ZSCORE', s.p .. ':tombends', id)
  if not ends or tonumber(ends) <= s.now then return nil end
  return maxToken(match(call('HGET', s.p .. ':tombstones', id), '^(%d+) (%d+)$'))
end

-- Removes an entry without a trace.
local function forget(s, e)
  unplace(s, e)
  call('DEL', s.p .. ':job:' .. e.id, s.p .. ':body:' .. e.id)
  call('ZREM', s.p .. ':ids', e.id)
end

-- Removes an ended entry for good and leaves its tombstone.
local function bringToEnd(s, e, floor)
  forget(s, e)
  bury(s, e.id, e.token, maxToken(e.floor, floor))
end

local function addEvent(s, kind, e, fraction)
  s.lastEvent = s.lastEvent + 1
  local id = int(s.lastEvent)
  if kind == 'progress' then
    local older = call('HGET', s.p .. ':progress', e.id)
    if older then call('XDEL', s.p .. ':events', older .. '-0') end
    call('HSET', s.p .. ':progress', e.id, id)
  end
  -- One field of words: no name has a blank in it.
  local holder = e.holder and e.holder ~= '' and e.holder or '-'
  call('XADD', s.p .. ':events', id .. '-0', 'e', kind .. ' ' .. e.id .. ' ' .. e.token .. ' ' .. holder
    .. ' ' .. e.runs .. ' ' .. (fraction or '-') .. ' ' .. int(s.now) .. ' - -')
end

-- Of an entry that waits: token, floor, attempts, runs, what follows its time, of that rebuilt, start tag and whether it
-- has a body. To read the rest and to write it again would cost a claim a twentieth.
local waitingForm = '^w %S+ (%S+) (%S+) (%S+) (%S+) %S+( [01] ([01]) %S+ %S+ %S+ (%S+) %S+ ([01]) )$'

-- A claim's lease of the entry behind this key, which has just left its lane. Answers its token, floor, attempts, runs,
-- rebuilt and whether it has a body ('0' or '1' both), and what is to be written: its text, and its event as `addEvent`
-- writes those of other kinds.
local function leaseWaiting(s, at, id, pool, key, request, bonus, penalty)
  local token, floor, attempts, runs, rest, rebuilt, start, hasBody = match(call('GET', at), waitingForm)
  start, runs = tonumber(start), int(runs + 1)
  if start > (readClocks(s)[pool] or 0) then setClock(s, pool, start) end
  token = int(math.max(s.now * 1000, token + 1, tonumber(floor)))
  call('ZADD', s.p .. ':held:' .. key, request, id)
  s.lastEvent, s.operations, s.nowText = s.lastEvent + 1, s.operations + 1, s.nowText or int(s.now)
  local text = 'l ' .. s.gen .. ' ' .. token .. ' ' .. floor .. ' ' .. attempts .. ' ' .. runs .. ' -' .. rest .. key .. ' '
    .. request .. ' 0 0 0 ' .. s.closings
  local event = 'leased ' .. id .. ' ' .. token .. ' ' .. key .. ' ' .. runs .. ' - ' .. s.nowText .. ' '
    .. (bonus == 0 and '0' or format('%.17g', bonus)) .. ' ' .. (penalty == 0 and '0' or format('%.17g', penalty))
  return token, floor, attempts, runs, rebuilt, hasBody, text, event
end

-- True for what was here at a loss; what still waits in quarantine is not marked before it leaves.
local function isRebuilt(s, e)
  return e.rebuilt or (e.state ~= 'l' and e.gen ~= s.gen)
end

-- True if a lease with this token is newer than all that the entry knows.
local function stands(e, token)
  return tonumber(token) >= tonumber(e.floor) and tonumber(token) > tonumber(e.token)
end

-- True if a beat may make this running work a lease here: on an open Broker only what was here at a
-- loss and nobody has claimed or adopted since.
local function isAdoptable(s, e, token)
  local isFree = e.state == 'l' and e.awaited or e.state ~= 'l' and isRebuilt(s, e)
  return (isFree or not s.open) and stands(e, token)
end
