--[[ cancel: after cancelRequestedAt is committed. Ends what waits, flags what runs, buries what is not known.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] job id  [5] fence floor
  Answers {now, 'removed'} | {now, 'requested', holder key, token} | {now, 'unknown'}
  Touches alive body:<id> delayed:<gen> head:<gen> heads:<gen> held:<incarnation> ids incarnations
    job:<id> lane:<gen>:<lane> lanes:<gen>:<group> meta nonce tombends tombstones ]]
local s = begin(KEYS, ARGV)
local id, floor = ARGV[4], ARGV[5]
local e = load(s, id)
if e and tonumber(e.floor) > tonumber(floor) then return answer(s, 'unknown') end
s.operations = s.operations + 1
if not e then
  bury(s, id, '0', floor)
  return answer(s, 'unknown')
end
if e.state ~= 'l' then
  bringToEnd(s, e, floor)
  return answer(s, 'removed')
end
-- The flag is of the life that this floor begins; an exit tells by it whether it still counts.
e.floor, e.cancel = maxToken(e.floor, floor), true
save(s, e)
return answer(s, 'requested', e.holder, e.token)
