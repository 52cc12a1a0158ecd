--[[ enrol: registers an incarnation with one TTL; a newer one makes the leases of the older lapse at once.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key
  Answers {now, 'ok'} | {now, 'superseded'}
  Touches alive delayed:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group> idlelane:<lane>
    incarnations machines meta nonce ]]
local s = begin(KEYS, ARGV)
local key = ARGV[4]
local older, incarnation = newestOf(s, key), incarnationOf(key)
if older > incarnation then return answer(s, 'superseded') end
if older > 0 and older < incarnation then
  local olderKey = machineOf(key) .. '/' .. int(older)
  leaveIdle(s, olderKey)
  if hasLeases(s, olderKey) then setEnds(s, olderKey, 0)
  else forgetIncarnation(s, olderKey) end
end
-- An incarnation that lapsed and still holds jobs stays lapsed until the sweeper has emptied it.
if not endsOf(s, key) or not hasLeases(s, key) then keepAlive(s, key, s.now + s.ttl) end
s.operations = s.operations + 1
return answer(s, 'ok')
