--[[ reconcile-start: announces a full reconcile; an earlier one can no longer open the Broker. Empties the lanes,
  heads and delayed sets, which `repair` then fills again from the entries alone: a server that was killed may have come back with the
  first half of a step (Redis keeps a torn transaction at the end of its file, and plays it at the start after next).
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] nonce  [5] owner, as in identity
  Answers {now, 'ok', identity, open 0 or 1}
  Touches alive delayed:<gen> head:<gen> heads:<gen> idle idlegroup:<group> idlelane:<lane>
    incarnations lane:<gen>:<lane> lanes:<gen>:<group> meta nonce
  Keeps: what each entry says of itself, and that all of it waits in quarantine. The nonce counts when `repair` has come
    to the end: a hub of an older revision, which does not call it, cannot open what it has emptied. ]]
local s = begin(KEYS, ARGV)
own(s, ARGV[5])
if s.open then return answer(s, 'ok', s.identity, 1) end

local function unlinkAll(keys)
  for from = 1, #keys, commandValues do
    call('UNLINK', unpack(keys, from, math.min(from + commandValues - 1, #keys)))
  end
end

local function dropGen(gen)
  local head = s.p .. ':head:' .. gen
  local keys = { head, s.p .. ':heads:' .. gen, s.p .. ':delayed:' .. gen }
  for _, name in ipairs(call('HKEYS', head)) do
    local isLane = find(name, '/', 1, true)
    keys[#keys + 1] = isLane and s.p .. ':lane:' .. gen .. ':' .. name or s.p .. ':lanes:' .. gen .. ':' .. name
  end
  unlinkAll(keys)
end

local function countIdle()
  local idle = call('HGETALL', s.p .. ':idle')
  for at = 1, #idle, 2 do listIdle(s, idle[at], cmsgpack.unpack(idle[at + 1])) end
  s.idle = #idle / 2
end

for _, gen in ipairs(s.quarantines) do dropGen(gen) end
dropGen(s.gen)
s.quarantines, s.gen, s.waiting = { int(s.gen + 1) }, int(s.gen + 2), 0
writeStanding(s)
call('UNLINK', s.p .. ':incarnations')
callMany('SADD', s.p .. ':incarnations', call('ZRANGE', s.p .. ':alive', '0', '-1'))
countIdle()
call('SET', s.p .. ':nonce', repairing .. ARGV[4])
return answer(s, 'ok', s.identity, 0)
