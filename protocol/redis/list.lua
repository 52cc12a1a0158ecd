--[[ list: ids in order with what the Broker believes of them.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] id after which to read ('' = from the first)  [5] limit
  Answers {now, 'ok', {{id, state w d or l, token, floor} …}}
  Touches alive delayed:<gen> heads:<gen> ids incarnations job:<id> meta nonce ]]
local s = begin(KEYS, ARGV)
local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', s.p .. ':ids', from, '+', 'LIMIT', 0, ARGV[5])) do
  local f = redis.call('HMGET', s.p .. ':job:' .. id, 'st', 't', 'f')
  found[#found + 1] = { id, f[1], f[2], f[3] }
end
return answer(s, 'ok', found)
