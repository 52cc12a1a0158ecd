--[[ stats: counts, and alarms.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] lanes of one group, and [5] of all, that are named at most
  Answers {now, 'ok', identity, open 0 or 1, waiting, delayed, entries, incarnations, tombstones,
    operations, clock steps, {group, waiting …}, {group, affinity,
    waiting …}}
  Touches alive delayed:<gen> head:<gen> heads:<gen> ids incarnations lane:<gen>:<lane>
    lanes:<gen>:<group> meta nonce tombstones ]]
local s = begin(KEYS, ARGV)
local delayed = call('ZCARD', s.p .. ':delayed:' .. s.gen)
for _, gen in ipairs(s.quarantines) do delayed = delayed + call('ZCARD', s.p .. ':delayed:' .. gen) end

-- A group that waits in several generations is named once for each.
local function waitingByGroup()
  local found = {}
  for at = 0, #s.quarantines do
    local gen = s.quarantines[at] or s.gen
    for _, group in ipairs(call('ZRANGE', s.p .. ':heads:' .. gen, 0, -1)) do
      local _, _, _, waiting = readGroup(call('HGET', s.p .. ':head:' .. gen, group))
      found[#found + 1], found[#found + 2] = group, waiting
    end
  end
  return found
end

-- Of each group the lanes whose heads go first; a former hub asks for none.
local function lanesWithWork()
  local found, left = {}, tonumber(ARGV[5] or '0')
  for _, group in ipairs(call('ZRANGE', s.p .. ':heads:' .. s.gen, 0, math.max(0, left - 1))) do
    if left == 0 then break end
    local limit = math.min(tonumber(ARGV[4]), left)
    for _, affinity in ipairs(call('ZRANGE', s.p .. ':lanes:' .. s.gen .. ':' .. group, 0, limit - 1)) do
      local waiting = call('ZCARD', s.p .. ':lane:' .. s.gen .. ':' .. group .. '/' .. affinity)
      found[#found + 1], found[#found + 2], found[#found + 3] = group, affinity, waiting
      left = left - 1
    end
  end
  return found
end

return answer(s, 'ok', s.identity, s.open and 1 or 0, int(s.waiting), delayed, call('ZCARD', s.p .. ':ids'),
  call('ZCARD', s.p .. ':alive'), call('HLEN', s.p .. ':tombstones'), int(s.operations),
  call('HGET', s.p .. ':meta', 'clockSteps') or '0',
  waitingByGroup(), lanesWithWork())
