--[[ trim-events: forgets events up to and including an id, at most 1 000 a call: the caller repeats while more is 1.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] identity  [5] event id
  Answers {now, 'ok', more 0 or 1}
  Touches alive delayed:<gen> events heads:<gen> incarnations meta nonce progress ]]
local s = begin(KEYS, ARGV)
if ARGV[4] ~= s.identity then return answer(s, 'ok', 0) end
local old = call('XRANGE', s.p .. ':events', '-', ARGV[5] .. '-0', 'COUNT', 1000)
for _, event in ipairs(old) do
  local id, job = event[1], match(event[2][2], '^progress (%S+)')
  local known = job and call('HGET', s.p .. ':progress', job)
  if known and known .. '-0' == id then call('HDEL', s.p .. ':progress', job) end
end
-- All up to the last that was read: by their ids one by one would cost a fifth of what made them.
if old[1] then call('XTRIM', s.p .. ':events', 'MINID', '=', match(old[#old][1], '^%d+') .. '-1') end
return answer(s, 'ok', #old == 1000 and 1 or 0)
