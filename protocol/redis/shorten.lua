--[[ shorten: leaves an incarnation whose link closed at most this long; never lengthens, nothing while closed.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key  [5] rest ms
  Answers {now, 'ok', earliest expiry ms or ''}
  Touches alive delayed:<gen> heads:<gen> idle idlegroup:<group> idlelane:<lane> incarnations machines
    meta nonce ]]
local s = begin(KEYS, ARGV)
local key = ARGV[4]
local ends = endsOf(s, key)
leaveIdle(s, key)
if s.open and ends then setEnds(s, key, math.min(ends, s.now + ARGV[5])) end
return answer(s, 'ok', earliestExpiry(s))
