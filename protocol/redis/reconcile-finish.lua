--[[ reconcile-finish: opens, if nothing was lost since the start. Every lease gets one TTL, and everything that was
  here at the loss, or was re-driven since, becomes claimable one TTL from now.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] ticket identity  [5] ticket nonce
  Answers {now, 'open'} | {now, 'changed'}
  Touches adoptions alive delayed:<gen> heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
if ARGV[4] ~= s.identity then return answer(s, 'changed') end
if s.open then return answer(s, 'open') end
if call('GET', s.p .. ':nonce') ~= ARGV[5] then return answer(s, 'changed') end
giveOneTtl(s)
s.untilMs = s.now + s.ttl
s.openedOn = s.identity
writeStanding(s)
call('UNLINK', s.p .. ':nonce', s.p .. ':adoptions')
s.operations = s.operations + 1
return answer(s, 'open')
