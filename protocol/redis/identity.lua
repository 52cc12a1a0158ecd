--[[ identity: which server this is, and whether it is the one that was opened; refused to hubs of other records.
  KEYS[1] shard prefix
  ARGV[1] now ('' = TIME)  [2] latest now expected ('' = not known)  [3] lease TTL ms; the same in every step
  ARGV[4] owner: name of the records that the jobs stand in, '' = not told
  Answers {now, 'ok', identity, open 0 or 1}
  Touches alive delayed:<gen> heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
own(s, ARGV[4])
return answer(s, 'ok', s.identity, s.open and 1 or 0)
