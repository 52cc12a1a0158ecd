--[[ A job as the Broker holds it, in exactly one place: a lane (state w), the delayed (d), or its
  holder's leases (l). Hash job:<id>: g group, a affinity, p pool, s start tag, sc score, st state,
  ix generation, t token, f fence floor, at attempts, r runs, nb not before, cx cancel flag,
  rb rebuilt, l lease: `holder request missed-beats awaited fraction closings-at-the-grant`. ]]

local function leaseText(s, e)
  return e.holder .. ' ' .. e.request .. ' ' .. e.missed .. ' ' .. (e.awaited and 1 or 0) .. ' ' .. e.fraction
    .. ' ' .. s.closings
end

-- Adds to an entry what its lease says. One granted before the last closing was here at a loss: nobody
-- had to walk over all of them then.
local function readLease(s, e, text)
  local holder, request, missed, awaited, fraction, closings = string.match(text, '^(%S+) (%d+) (%d+) ([01]) (%S+) (%d+)$')
  local wasHere = tonumber(closings) < s.closings
  e.holder, e.request, e.fraction = holder, request, fraction
  e.missed = wasHere and 0 or tonumber(missed)
  e.awaited = wasHere or awaited == '1'
  e.rebuilt = wasHere or e.rebuilt
end

-- The entry, or nil if the id is not known.
local function load(s, id)
  local f = redis.call('HMGET', s.p .. ':job:' .. id, 'st', 'g', 'a', 'p', 'sc', 'ix', 't', 'f', 'at', 'r', 'nb', 'cx',
    'rb', 'l')
  if not f[1] then return nil end
  local e = {
    id = id, state = f[1], group = f[2], affinity = f[3], pool = f[4], score = f[5], gen = tonumber(f[6]),
    token = f[7], floor = f[8], attempts = f[9], runs = tonumber(f[10]), notBefore = tonumber(f[11]),
    cancel = f[12] == '1', rebuilt = f[13] == '1', holder = '', awaited = false,
  }
  if e.state == 'l' then readLease(s, e, f[14]) end
  return e
end

-- Writes what a beat or progress changes in a lease.
local function saveLease(s, e)
  redis.call('HSET', s.p .. ':job:' .. e.id, 'l', leaseText(s, e), 'rb', e.rebuilt and '1' or '0')
end

-- Writes what changes when an entry gets a new place or holder.
local function save(s, e)
  redis.call('HSET', s.p .. ':job:' .. e.id, 'st', e.state, 'ix', e.gen, 't', e.token, 'f', e.floor,
    'at', e.attempts, 'r', e.runs, 'nb', e.notBefore or '', 'cx', e.cancel and '1' or '0',
    'rb', e.rebuilt and '1' or '0', 'l', e.state == 'l' and leaseText(s, e) or '')
end

-- Takes an entry out of its lane, its delayed set or its holder's leases; it is nowhere then.
local function unplace(s, e)
  if e.state == 'w' then
    removeLane(s, e, e.gen)
  elseif e.state == 'd' then
    redis.call('ZREM', s.p .. ':delayed:' .. e.gen, e.id)
  else
    redis.call('ZREM', s.p .. ':held:' .. e.holder, e.id)
    e.holder, e.awaited = '', false
  end
end

-- Gives an entry that is nowhere to an incarnation. Says nothing about how long: only beats do.
local function grant(s, e, key, request, token)
  e.state, e.token, e.holder, e.request, e.missed, e.awaited, e.fraction = 'l', token, key, request, 0, false, '0'
  redis.call('ZADD', s.p .. ':held:' .. key, request, e.id)
end

-- Refuses submits of this id up to the higher of token and floor for 15 minutes; forgets 8 that have passed.
local tombstoneMs = 900000
local function bury(s, id, token, floor)
  local known = redis.call('HGET', s.p .. ':tombstones', id)
  if known then
    local knownToken, knownFloor = string.match(known, '^(%d+) (%d+)$')
    token, floor = maxToken(knownToken, token), maxToken(knownFloor, floor)
  end
  redis.call('HSET', s.p .. ':tombstones', id, token .. ' ' .. floor)
  redis.call('ZADD', s.p .. ':tombends', int(s.now + tombstoneMs), id)
  local past = redis.call('ZRANGEBYSCORE', s.p .. ':tombends', '-inf', int(s.now), 'LIMIT', 0, 8)
  for _, old in ipairs(past) do
    redis.call('ZREM', s.p .. ':tombends', old)
    redis.call('HDEL', s.p .. ':tombstones', old)
  end
end

-- Floor at or below which a submit of this id adds nothing; nil if it has no tombstone.
local function buriedFloor(s, id)
  local ends = redis.call('ZSCORE', s.p .. ':tombends', id)
  if not ends or tonumber(ends) <= s.now then return nil end
  return maxToken(string.match(redis.call('HGET', s.p .. ':tombstones', id), '^(%d+) (%d+)$'))
end

-- Removes an entry without a trace.
local function forget(s, e)
  unplace(s, e)
  redis.call('DEL', s.p .. ':job:' .. e.id, s.p .. ':body:' .. e.id)
  redis.call('ZREM', s.p .. ':ids', e.id)
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
    local older = redis.call('HGET', s.p .. ':progress', e.id)
    if older then redis.call('XDEL', s.p .. ':events', older .. '-0') end
    redis.call('HSET', s.p .. ':progress', e.id, id)
  end
  -- One field of words: no name has a blank in it.
  local holder = e.holder and e.holder ~= '' and e.holder or '-'
  redis.call('XADD', s.p .. ':events', id .. '-0', 'e', kind .. ' ' .. e.id .. ' ' .. e.token .. ' ' .. holder
    .. ' ' .. e.runs .. ' ' .. (fraction or '-') .. ' ' .. int(s.now))
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
