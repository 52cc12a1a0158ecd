--[[ pass-wake: a woken machine that does not take the work names another.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key  [5] number of groups; then the groups
  Answers {now, 'ok', wake or ''}
  Touches alive delayed:<gen> head:<gen> heads:<gen> idle idlegroup:<group> idlelane:<lane> incarnations
    machines meta nonce ]]
local s = begin(KEYS, ARGV)
leaveIdle(s, ARGV[4])
for at = 6, 5 + tonumber(ARGV[5]) do
  local head = call('HGET', s.p .. ':head:' .. s.gen, ARGV[at])
  if head then
    local wake = wakeFor(s, ARGV[at], affinityOf(head))
    if wake ~= '' then return answer(s, 'ok', wake) end
  end
end
return answer(s, 'ok', '')
