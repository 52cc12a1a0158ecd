--[[ events: what happened after a cursor, in order.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] event id after which to read  [5] limit
  Answers {now, 'ok', identity, {{stream id, {'e', 'kind job token holder run fraction ms bonus penalty'}} …}}
  Touches alive delayed:<gen> events heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
local found = call('XRANGE', s.p .. ':events', '(' .. ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])
return answer(s, 'ok', s.identity, found)
