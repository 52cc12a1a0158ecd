--[[ inspect: one entry, for explain and tests.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] job id
  Answers {now, 'none'} | {now, 'ok', state w d or l, token, floor, score, group, affinity, attempts, runs,
    holder key or '', cancel 0 or 1, rebuilt 0 or 1, not before ms or '', entries ahead}
  Touches alive delayed:<gen> heads:<gen> incarnations job:<id> lane:<gen>:<lane> meta nonce ]]
local s = begin(KEYS, ARGV)
local e = load(s, ARGV[4])
if not e then return answer(s, 'none') end
local lane = s.p .. ':lane:' .. e.gen .. ':' .. e.group .. '/' .. e.affinity
local ahead = e.state == 'w' and call('ZRANK', lane, e.id .. ' ' .. e.pool) or 0
return answer(s, 'ok', e.state, e.token, e.floor, e.score, e.group, e.affinity, e.attempts, e.runs, e.holder,
  e.cancel and 1 or 0, isRebuilt(s, e) and 1 or 0, e.notBefore and format('%.17g', e.notBefore) or '', ahead)
