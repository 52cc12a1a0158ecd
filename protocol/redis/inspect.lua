--[[ inspect: one entry, for explain and tests.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] job id  [5] lanes of its group that are counted  [6] leaders that are named
  Answers {now, 'none'} | {now, 'ok', state w d or l, token, floor, score, group, affinity, attempts, runs,
    holder key or '', cancel 0 or 1, rebuilt 0 or 1, not before ms or '', entries ahead in its lane,
    virtual ms of its pool, entries ahead in its group, {{leader id, affinity, score} …}}
  Touches alive delayed:<gen> head:<gen> heads:<gen> incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group>
    meta nonce ]]
local s = begin(KEYS, ARGV)
local e = load(s, ARGV[4])
if not e then return answer(s, 'none') end

-- Entries of the group that come before this one, and the heads of the lanes that do, best first.
local function standing(ahead)
  local leaders, own = {}, tonumber(e.score)
  local lanes = call('ZRANGEBYSCORE', s.p .. ':lanes:' .. e.gen .. ':' .. e.group, '-inf', e.score, 'WITHSCORES',
    'LIMIT', '0', ARGV[5])
  for at = 1, #lanes, 2 do
    local affinity, score = lanes[at], lanes[at + 1]
    local lane = e.group .. '/' .. affinity
    if affinity ~= e.affinity then
      ahead = ahead + call('ZCOUNT', s.p .. ':lane:' .. e.gen .. ':' .. lane, '-inf', '(' .. e.score)
    end
    if #leaders < tonumber(ARGV[6]) and (affinity == e.affinity or tonumber(score) < own) then
      local _, _, id = unpackBytes('>dss', call('HGET', s.p .. ':head:' .. e.gen, lane))
      if id ~= e.id then leaders[#leaders + 1] = { id, affinity, score } end
    end
  end
  return ahead, leaders
end

local ahead, inGroup, leaders = 0, 0, {}
if e.state == 'w' and not isLeftBehind(s, e) then
  ahead = call('ZRANK', s.p .. ':lane:' .. e.gen .. ':' .. e.group .. '/' .. e.affinity, e.id .. ' ' .. e.pool)
  inGroup, leaders = standing(ahead)
end
return answer(s, 'ok', e.state, e.token, e.floor, e.score, e.group, e.affinity, e.attempts, e.runs, e.holder,
  e.cancel and 1 or 0, isRebuilt(s, e) and 1 or 0, e.notBefore and format('%.17g', e.notBefore) or '', ahead,
  int(readClocks(s)[e.pool] or 0), inGroup, leaders)
