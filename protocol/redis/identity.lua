--[[ identity: which server this is, and whether it is the one that was opened.
  KEYS[1] shard prefix
  ARGV[1] now ('' = TIME)  [2] latest now expected ('' = not known)  [3] lease TTL ms; the same in every step
  Answers {now, 'ok', identity, open 0 or 1}
  Touches alive delayed:<gen> heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
return answer(s, 'ok', s.identity, s.open and 1 or 0)
