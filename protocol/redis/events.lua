--[[ events: what happened after a cursor, in order. An entry of the stream tells of as many events as it has fields,
  of which the last has the entry's id: a step of many writes one entry.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] event id after which to read  [5] limit
  Answers {now, 'ok', identity, {event id, 'kind job token holder run fraction ms bonus penalty' …}}
  Touches alive delayed:<gen> events heads:<gen> incarnations meta nonce ]]
local s = begin(KEYS, ARGV)
local limit, found, count = tonumber(ARGV[5]), {}, 0
-- Trimmed events may still be in an entry that tells of later ones too.
local after = math.max(tonumber(ARGV[4]), tonumber(call('HGET', s.p .. ':meta', 'trimmed') or '0'))
local from, perEntry = '(' .. int(after) .. '-0', 16

for _ = 1, limit do
  local page = call('XRANGE', s.p .. ':events', from, '+', 'COUNT', int(math.ceil((limit - count) / perEntry)))
  local told = 0
  for _, entry in ipairs(page) do
    local texts = entry[2]
    local before = match(entry[1], '^%d+') - #texts / 2
    for at = 1, #texts / 2 do
      if before + at > after and count < limit then
        count = count + 1
        found[2 * count - 1], found[2 * count] = before + at, texts[2 * at]
      end
    end
    from, told = '(' .. entry[1], told + #texts / 2
  end
  if not page[1] or count == limit then break end
  perEntry = told / #page
end
return answer(s, 'ok', s.identity, found)
