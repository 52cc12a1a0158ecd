--[[ trim-events: forgets events up to and including an id, at most 1 000 a call: the caller repeats while more is 1.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] identity  [5] event id
  Answers {now, 'ok', more 0 or 1}
  Touches alive delayed:<gen> events heads:<gen> incarnations meta nonce progress ]]
local s = begin(KEYS, ARGV)
if ARGV[4] ~= s.identity then return answer(s, 'ok', 0) end
local events = s.p .. ':events'
-- Hides the earlier events of an entry that tells of later ones too.
local trimmed = math.min(tonumber(ARGV[5]), s.lastEvent)
if trimmed > tonumber(call('HGET', s.p .. ':meta', 'trimmed') or '0') then
  call('HSET', s.p .. ':meta', 'trimmed', int(trimmed))
end
local first = call('XRANGE', events, '-', ARGV[5] .. '-0', 'COUNT', 1)[1]
if not first then return answer(s, 'ok', 0) end
local upTo = math.min(tonumber(ARGV[5]), match(first[1], '^%d+') + 999)
-- Read only where a job's newest progress may be among them: reading costs more than forgetting.
if call('EXISTS', s.p .. ':progress') == 1 then
  for _, event in ipairs(call('XRANGE', events, '-', int(upTo) .. '-0')) do
    local id, job = event[1], match(event[2][2], '^progress (%S+)')
    local known = job and call('HGET', s.p .. ':progress', job)
    if known and known .. '-0' == id then call('HDEL', s.p .. ':progress', job) end
  end
end
call('XTRIM', events, 'MINID', '=', int(upTo) .. '-1')
return answer(s, 'ok', upTo < tonumber(ARGV[5]) and 1 or 0)
