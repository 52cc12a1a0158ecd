--[[ lapsed: leases whose time has passed, oldest first; forgets ended incarnations that hold nothing,
  and tombstones whose time has passed: where no job ends any more nobody else would.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] limit
  Answers {now, 'closed'} | {now, 'ok', {{incarnation key, job id, token, rebuilt 0 or 1} …}, earliest expiry or ''}
  Touches alive delayed:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group> idlelane:<lane>
    incarnations job:<id> machines meta nonce tombends tombstones
  Looks at 1 000 incarnations at most, forgets 1 000 tombstones. ]]
local s = begin(KEYS, ARGV)
if not s.open then return answer(s, 'closed') end
forgetTombstones(s, '1000')
local limit, leases = tonumber(ARGV[4]), {}
for _, key in ipairs(call('ZRANGEBYSCORE', s.p .. ':alive', '-inf', int(s.now), 'LIMIT', 0, 1000)) do
  if #leases >= limit then break end
  leaveIdle(s, key)
  local ids = heldBy(s, key)
  if #ids == 0 then forgetIncarnation(s, key) end
  for index = 1, math.min(#ids, limit - #leases) do
    local e = load(s, ids[index])
    -- Without its entry it is left from half a step (see reconcile-start).
    if e then leases[#leases + 1] = { key, e.id, e.token, e.awaited and 1 or 0 }
    else call('ZREM', s.p .. ':held:' .. key, ids[index]) end
  end
end
return answer(s, 'ok', leases, earliestExpiry(s))
