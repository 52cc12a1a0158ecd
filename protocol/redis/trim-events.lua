--[[ trim-events: forgets events up to and including an id, at most 1 000 a call: the caller repeats while more is 1.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] identity  [5] event id
  Answers {now, 'ok', more 0 or 1}
  Touches alive events incarnations meta nonce progress ]]
local s = begin(KEYS, ARGV)
if ARGV[4] ~= s.identity then return answer(s, 'ok', 0) end
local old = redis.call('XRANGE', s.p .. ':events', '-', ARGV[5] .. '-0', 'COUNT', 1000)
for _, event in ipairs(old) do
  local id, fields = event[1], event[2]
  local known = fields[2] == 'progress' and redis.call('HGET', s.p .. ':progress', fields[4])
  if known and known .. '-0' == id then redis.call('HDEL', s.p .. ':progress', fields[4]) end
  redis.call('XDEL', s.p .. ':events', id)
end
return answer(s, 'ok', #old == 1000 and 1 or 0)
