--[[ shorten: leaves an incarnation whose link closed at most this long; never lengthens, nothing while closed.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key  [5] rest ms
  Answers {now, 'ok', earliest expiry ms or ''}
  Touches alive delayed:<gen> heads:<gen> idle idlegroup:<group> idlelane:<lane> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
local key = ARGV[4]
local ends = endsOf(s, key)
leaveIdle(s, key)
if s.open and ends then call('ZADD', s.p .. ':alive', math.min(ends, s.now + tonumber(ARGV[5])), key) end
return answer(s, 'ok', earliestExpiry(s))
