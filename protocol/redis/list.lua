--[[ list: ids in order with what the Broker believes of them; forgets those that have no entry.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] id after which to read ('' = from the first)  [5] limit
  Answers {now, 'ok', {{id, state w d or l, token, floor} …}}
  Touches alive delayed:<gen> heads:<gen> ids incarnations job:<id> meta nonce ]]
local s = begin(KEYS, ARGV)
local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
local ids, keys, found = call('ZRANGEBYLEX', s.p .. ':ids', from, '+', 'LIMIT', '0', ARGV[5]), {}, {}
for at, id in ipairs(ids) do keys[at] = s.p .. ':job:' .. id end
local texts = #keys > 0 and call('MGET', unpack(keys)) or {}
for at, id in ipairs(ids) do
  if texts[at] then
    local state, token, floor = match(texts[at], '^(%S+) %S+ (%S+) (%S+)')
    found[at] = { id, state, token, floor }
  else
    -- An id without its entry: a reconcile that could not read past it would never open the Broker. Told
    -- once more, so that whoever reads judges it by its row, and forgotten.
    call('ZREM', s.p .. ':ids', id)
    found[at] = { id, 'w', '0', '0' }
  end
end
return answer(s, 'ok', found)
