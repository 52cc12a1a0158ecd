--[[ exit: after the commit of any end of a run but completion. Back to waiting only if leased with exactly this token.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] job id  [5] token  [6] fence floor  [7] state of the row  [8] attempts
  ARGV[9] runs  [10] not before ms or ''  [11] 1 if the row asks for a cancel, else 0
  Answers {now, 'requeued', wake or ''} | {now, 'removed'} | {now, 'cancelled'} | {now, 'unchanged'}
  Touches alive body:<id> delayed:<gen> head:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group>
    idlelane:<lane> ids incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group> machines meta nonce
    tombends tombstones
  Keeps: an end is ignored where the entry's floor is higher; a flagged entry is never claimable again. ]]
local s = begin(KEYS, ARGV)
local id, token, floor, state = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local isTerminal = state == 'succeeded' or state == 'failed' or state == 'cancelled' or state == 'dead'
-- Held back by its customer's window: not here, but an admit brings it back under the same floor.
local isEnd = isTerminal or state == 'held'
local e = load(s, id)
if not e then
  if isTerminal then
    bury(s, id, token, floor)
    s.operations = s.operations + 1
  end
  return answer(s, 'unchanged')
end
if isEnd and tonumber(e.floor) > tonumber(floor) then return answer(s, 'unchanged') end
-- A flag of a former life says nothing about this one: an operator has requeued the job since.
local isFlagged = e.cancel and (ARGV[11] == '1' or tonumber(e.floor) >= tonumber(floor))
if isFlagged or isEnd then
  if isTerminal or isFlagged then bringToEnd(s, e, floor) else forget(s, e) end
  s.operations = s.operations + 1
  return answer(s, isFlagged and not isTerminal and 'cancelled' or 'removed')
end
if e.state ~= 'l' or e.token ~= token then return answer(s, 'unchanged') end
-- Asked before the entry moves: a rebuilt lease that nobody adopted waits like all that was here.
local wasHere = isRebuilt(s, e)
unplace(s, e)
e.floor, e.attempts, e.runs, e.notBefore = maxToken(e.floor, floor), ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
e.cancel = false
place(s, e, restingGen(s, wasHere))
save(s, e)
s.operations = s.operations + 1
return answer(s, 'requeued', isClaimable(s, e) and wakeFor(s, e.group, e.affinity) or '')
