--[[ progress: notes the share of work done where the token still holds the job; keeps only the newest per job.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] number of items, at most 1 000; then 3 for each: job id, token, fraction
  Answers {now, 'ok'}
  Touches alive delayed:<gen> events heads:<gen> incarnations job:<id> meta nonce progress ]]
local s = begin(KEYS, ARGV)
for at = 5, 4 + 3 * tonumber(ARGV[4]), 3 do
  local id, fraction = ARGV[at], ARGV[at + 2]
  local e = load(s, id)
  if e and e.state == 'l' and e.token == ARGV[at + 1] and tonumber(fraction) > tonumber(e.fraction) then
    e.fraction = fraction
    save(s, e)
    addEvent(s, 'progress', e, fraction)
  end
end
return answer(s, 'ok')
