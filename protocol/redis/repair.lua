--[[ repair: after reconcile-start, puts entries back into the indexes, in order of their ids, some in each call; forgets
  ids that have no entry. Does nothing on an open Broker.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] nonce  [5] id after which to go on ('' = from the first)  [6] limit, at most 1 000
  Answers {now, 'ok', last id looked at, or '' if there is none behind it: then the nonce counts}
  Touches alive body:<id> delayed:<gen> head:<gen> heads:<gen> held:<incarnation> ids incarnations job:<id>
    lane:<gen>:<lane> lanes:<gen>:<group> machines meta nonce
  Keeps: every entry in exactly one place; a lease whose holder is not known ends after one TTL. ]]
local s = begin(KEYS, ARGV)
if s.open then return answer(s, 'ok', '') end
local from = ARGV[5] == '' and '-' or '(' .. ARGV[5]
local ids, keys = call('ZRANGEBYLEX', s.p .. ':ids', from, '+', 'LIMIT', '0', ARGV[6]), {}
for at, id in ipairs(ids) do keys[at] = s.p .. ':job:' .. id end
local texts, batch, isKnown = ids[1] and call('MGET', unpack(keys)), newBatch(#ids + 2), {}

local function holdAgain(e)
  call('ZADD', s.p .. ':held:' .. e.holder, e.request, e.id)
  if isKnown[e.holder] then return end
  if not endsOf(s, e.holder) then keepAlive(s, e.holder, s.now + s.ttl) end
  isKnown[e.holder] = true
end

local function placeAgain(e)
  if not isLeftBehind(s, e) then return end
  e.gen = s.quarantines[1]
  if e.state == 'd' then call('ZADD', s.p .. ':delayed:' .. e.gen, e.notBefore, e.id)
  else pushInto(s, batch, e, e.gen) end
end

for at, id in ipairs(ids) do
  if texts[at] then
    local e = readEntry(s, id, texts[at])
    if e.state == 'l' then
      holdAgain(e)
      -- Written as it is: a text read from half a step is the text from here on, whatever is played later.
      putText(batch, keys[at], texts[at])
    else
      placeAgain(e)
      putText(batch, keys[at], entryText(s, e))
    end
  else
    call('ZREM', s.p .. ':ids', id)
    call('DEL', s.p .. ':body:' .. id)
  end
end
-- What incarnations hold by their sets and not by the entries. Only at the end: until then a machine that leaves is
-- told of what it holds by the sets alone.
local function cleanHeld()
  for _, key in ipairs(call('ZRANGE', s.p .. ':alive', '0', '-1')) do
    for _, id in ipairs(heldBy(s, key)) do
      local e = load(s, id)
      if not e or e.state ~= 'l' or e.holder ~= key then call('ZREM', s.p .. ':held:' .. key, id) end
    end
  end
end

flush(s, batch)
if #ids == tonumber(ARGV[6]) then return answer(s, 'ok', ids[#ids]) end
cleanHeld()
if call('GET', s.p .. ':nonce') == repairing .. ARGV[4] then call('SET', s.p .. ':nonce', ARGV[4]) end
return answer(s, 'ok', '')
