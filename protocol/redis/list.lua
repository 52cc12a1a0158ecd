--[[ list: ids in order with what the Broker believes of them.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] id after which to read ('' = from the first)  [5] limit
  Answers {now, 'ok', {{id, state w d or l, token, floor} …}}
  Touches alive delayed:<gen> heads:<gen> ids incarnations job:<id> meta nonce ]]
local s = begin(KEYS, ARGV)
local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
local found = {}
for _, id in ipairs(call('ZRANGEBYLEX', s.p .. ':ids', from, '+', 'LIMIT', 0, ARGV[5])) do
  local e = load(s, id)
  found[#found + 1] = { id, e.state, e.token, e.floor }
end
return answer(s, 'ok', found)
