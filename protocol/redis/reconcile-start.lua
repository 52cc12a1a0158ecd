--[[ reconcile-start: announces a full reconcile; an earlier one can no longer open the Broker.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] nonce
  Answers {now, 'ok', identity}
  Touches alive delayed:<gen> heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
if not s.open then call('SET', s.p .. ':nonce', ARGV[4]) end
return answer(s, 'ok', s.identity)
