--[[ complete: after the commit of a completion the id goes, whatever its state or token, unless its floor is higher.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] job id  [5] token  [6] fence floor
  Answers {now, 'removed'} | {now, 'unchanged'}
  Touches alive body:<id> delayed:<gen> head:<gen> heads:<gen> held:<incarnation> ids incarnations
    job:<id> lane:<gen>:<lane> lanes:<gen>:<group> meta nonce tombends tombstones
  Keeps: also on a closed Broker, a tombstone shuts out a re-drive that was read before the commit. ]]
local s = begin(KEYS, ARGV)
local e = load(s, ARGV[4])
if e and tonumber(e.floor) > tonumber(ARGV[6]) then return answer(s, 'unchanged') end
s.operations = s.operations + 1
if not e then
  bury(s, ARGV[4], ARGV[5], ARGV[6])
  return answer(s, 'unchanged')
end
e.token = maxToken(e.token, ARGV[5])
bringToEnd(s, e, ARGV[6])
return answer(s, 'removed')
