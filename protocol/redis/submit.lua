--[[ submit: adds entries in order; a closed Broker takes them only with the ticket of the reconcile under way.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] identity under which the rows were read
  ARGV[5] ticket identity  [6] ticket nonce ('' and '' = none)  [7] number of entries, at most 1 000
  ARGV then 15 for each entry: id, group, affinity, pool, customer, boost ms, cost ms, attempts, runs,
    fence floor, not before ms or '', body or '', lease token or '', lease machine, lease incarnation
  Answers {now, 'identityChanged', identity} | {now, 'closed'} | {now, 'ok', {{'added', wake or ''} |
    {'exists'} | {'tombstoned', floor} …}}
  Touches adoptions alive body:<id> delayed:<gen> events finish:<pool> head:<gen> heads:<gen>
    held:<incarnation> idle idlegroup:<group> idlelane:<lane> ids incarnations job:<id>
    lane:<gen>:<lane> lanes:<gen>:<group> machines meta nonce progress tombends tombstones
  Keeps: an id is here at most once, and never again at a floor at which it ended. ]]
local s = begin(KEYS, ARGV)
if ARGV[4] ~= s.identity then return answer(s, 'identityChanged', s.identity) end
local nonce = call('GET', s.p .. ':nonce')
if not s.open and not (nonce and ARGV[6] == nonce and ARGV[5] == s.identity) then return answer(s, 'closed') end

local count = tonumber(ARGV[7])
local batch, seen = newBatch(count), {}
-- Two look-ups that find nothing for nearly every entry: a batch asks once whether there is anything.
local hasTombstones = count == 1 or call('EXISTS', s.p .. ':tombends') == 1
local hasAdoptions = count == 1 or call('EXISTS', s.p .. ':adoptions') == 1

-- Re-drive of running work: the lease that Records know, or the newer one that a beat named meanwhile.
local function leaseAgain(e, token, machine, incarnation)
  local adoption = hasAdoptions and call('HGET', s.p .. ':adoptions', e.id)
  if adoption then call('HDEL', s.p .. ':adoptions', e.id) end
  local named, holder = match(adoption or '', '^(%d+) (.*)$')
  local isKnown = token ~= '' and stands(e, token)
  local isNewer = named and stands(e, named) and (not isKnown or tonumber(named) >= tonumber(token))
  if not isKnown and not isNewer then return false end
  if isNewer and not (isKnown and named == token) then e.runs = e.runs + 1 end
  local key = isNewer and holder or machine .. '/' .. incarnation
  grant(s, e, key, '0', isNewer and named or token)
  if not endsOf(s, key) then keepAlive(s, key, s.now + s.ttl) end
  e.rebuilt, e.awaited = not isNewer, not isNewer
  if isNewer then addEvent(s, 'adopted', e) end
  return true
end

-- True if the entry that is here stays. One of a lower floor is of a former life; a lease that the new
-- floor does not shut out goes on under it.
local function keepsItsPlace(older, floor)
  if tonumber(floor) <= tonumber(older.floor) then return true end
  if older.state ~= 'l' or tonumber(older.token) < tonumber(floor) then return false end
  older.floor, older.cancel = floor, false
  save(s, older)
  s.operations = s.operations + 1
  return true
end

-- The entry that is here under this id, or nil. `text` was read before the first entry of the batch was
-- written: an id that comes twice is read again.
local function present(id, text)
  if seen[id] then
    flush(s, batch)
    return load(s, id)
  end
  seen[id] = true
  return text and readEntry(s, id, text) or nil
end

local function submitOne(at, text)
  local id, floor = ARGV[at], ARGV[at + 9]
  local older = present(id, text)
  if older and keepsItsPlace(older, floor) then return { 'exists' } end
  local buried = hasTombstones and buriedFloor(s, id)
  if buried and tonumber(floor) <= tonumber(buried) then return { 'tombstoned', buried } end
  local wasHere = older and isRebuilt(s, older)
  if older then
    flush(s, batch)
    forget(s, older)
  end
  local start = startTag(s, batch, ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 6]))
  local e = {
    id = id, group = ARGV[at + 1], affinity = ARGV[at + 2], pool = ARGV[at + 3], start = int(start),
    score = int(start - ARGV[at + 5]), hasBody = ARGV[at + 11] ~= '', attempts = ARGV[at + 7],
    runs = tonumber(ARGV[at + 8]), floor = floor, notBefore = tonumber(ARGV[at + 10]), gen = s.gen, holder = '',
    -- Kept from a former life: tokens rise per job, also where the clock stands still.
    token = older and older.token or '0',
    awaited = false, cancel = false, rebuilt = not s.open or wasHere or ARGV[at + 12] ~= '',
  }
  putId(s, batch, id)
  if e.hasBody then putText(batch, s.p .. ':body:' .. id, ARGV[at + 11]) end
  s.operations = s.operations + 1
  if not leaseAgain(e, ARGV[at + 12], ARGV[at + 13], ARGV[at + 14]) then
    placeNew(s, batch, e, restingGen(s, wasHere))
  end
  putText(batch, s.p .. ':job:' .. id, entryText(s, e))
  return { 'added', isClaimable(s, e) and wakeFor(s, e.group, e.affinity) or '' }
end

local valuesEach = 15
local function at(index)
  return 8 + (index - 1) * valuesEach
end

local answers, keys = {}, {}
for index = 1, count do keys[index] = s.p .. ':job:' .. ARGV[at(index)] end
local known = count > 0 and call('MGET', unpack(keys)) or {}
for index = 1, count do answers[index] = submitOne(at(index), known[index]) end
flush(s, batch)
return answer(s, 'ok', answers)
