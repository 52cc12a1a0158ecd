--[[ turns: completions, then claims, of any machines: one after the other as if each came alone.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] number of completions  [5] of groups  [6] of lanes  [7] of values  [8] of lists of
    groups  [9] of claims; completions and claims at most 48 together
  ARGV then for each completion job id, token, fence floor; the groups; the lanes `group/affinity`; the values, which are
    penalties and bonuses, ms; the lists: for each of its groups the places of group and penalty, two characters each;
    for each claim machine id, incarnation, request id, place of its list, and its warm lanes: for each the places of
    lane, group in the list (0 = not served now) and bonus, two characters each
  Answers {now, 'ok', {1 if removed, else 0 …}, {for each claim {'closed'} | {'superseded'} | {'lapsed'} | {'empty'} |
    {'leased', 'id token group affinity run attempts floor rebuilt', body or '', expires ms, more 0 or 1, wake or ''}}}
  Touches alive body:<id> delayed:<gen> events head:<gen> heads:<gen> held:<incarnation> idle
    idlegroup:<group> idlelane:<lane> ids incarnations job:<id> lane:<gen>:<lane> lanes:<gen>:<group>
    machines meta nonce tombends tombstones
  Keeps: what the steps complete and claim keep. ]]
local s = begin(KEYS, ARGV)
local completionCount, groupCount, laneCount = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local valueCount, listCount, claimCount = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local firstGroup = 10 + 3 * completionCount
local firstValue = firstGroup + groupCount + laneCount
local firstList = firstValue + valueCount
local firstClaim = firstList + listCount

local ended = endAll(s, ARGV, 10, completionCount)
local t = readHeads(s, { unpack(ARGV, firstGroup, firstValue - 1) }, groupCount)
local values = {}
for at = 1, valueCount do values[codeOf(at)] = tonumber(ARGV[firstValue + at - 1]) end
local rows, texts, events, lists, warms = {}, {}, {}, {}, {}

local keys, held, machines = {}, {}, {}
for index = 1, claimCount do
  local at = firstClaim + 5 * (index - 1)
  machines[index], keys[index] = ARGV[at], ARGV[at] .. '/' .. ARGV[at + 1]
  held[index] = s.p .. ':held:' .. keys[index]
end
local records = claimCount > 0 and call('HMGET', s.p .. ':machines', unpack(machines))
-- Of machines that hold nothing no lease of the request can stand; most that ask have just ended theirs.
local holdsAny, holds = claimCount > 0 and call('EXISTS', unpack(held)) > 0, {}

-- What a claim is answered of a lease but for the last three: its words, and the key of its body or ''.
local function rowOf(id, group, affinity, token, floor, attempts, runs, rebuilt, hasBody)
  return { 'leased', id .. ' ' .. token .. ' ' .. group .. ' ' .. affinity .. ' ' .. runs .. ' ' .. attempts .. ' '
    .. floor .. ' ' .. rebuilt, hasBody == '1' and s.p .. ':body:' .. id or '', 0, 0, '' }
end

-- The same of a lease that stands: of this step or of an earlier one.
local function standingRow(id)
  if rows[id] then return { unpack(rows[id], 1, 3) } end
  local e = load(s, id)
  return rowOf(id, e.group, e.affinity, e.token, e.floor, e.attempts, e.runs, e.rebuilt and '1' or '0',
    e.hasBody and '1' or '0')
end

-- Leases the job that is the head of a lane.
local function leaseOne(group, lane, key, request, bonus, penalty)
  local id, pool = takeHead(s, t, group, lane)
  local at = s.p .. ':job:' .. id
  local token, floor, attempts, runs, rebuilt, hasBody, text, event =
    leaseWaiting(s, at, id, pool, key, request, bonus, penalty)
  append(texts, at, text)
  append(events, 'e', event)
  local row = rowOf(id, group.name, lane.affinity, token, floor, attempts, runs, rebuilt, hasBody)
  holds[key], rows[id] = true, row
  return row
end

local function claimOne(index)
  if not s.open then return { 'closed' } end
  local at, key = firstClaim + 5 * (index - 1), keys[index]
  local incarnation, request = tonumber(ARGV[at + 1]), ARGV[at + 2]
  local newest, ends, givings = 0, 0, s.givings
  if records[index] then newest, ends, givings = unpackBytes('>dds', records[index]) end
  if newest > incarnation then return { 'superseded' } end
  if givings ~= s.givings then ends = endsOf(s, key) end
  if newest < incarnation or not ends or ends <= s.now then return { 'lapsed' } end
  local place, lanes = firstList + ARGV[at + 3] - 1, ARGV[at + 4]
  local list = lists[place] or readList(t, ARGV[place], values)
  local warm = warms[lanes] or readWarm(t, lanes, values)
  lists[place], warms[lanes] = list, warm
  local id = (holdsAny or holds[key]) and call('ZRANGEBYSCORE', held[index], request, request)[1]
  local row = id and standingRow(id)
  if not row then
    local best, lane, bonus = bestOf(s, t, list, warm)
    if not best then
      enterIdleFor(s, key, list, warm)
      return { 'empty' }
    end
    row = leaseOne(list.groups[best], lane, key, request, bonus, list.penalties[best])
  end
  leaveIdle(s, key)
  row[4], row[5], row[6] = ends, leftover(s, list)
  return row
end

local claimed, bodyKeys, bodyOf = {}, {}, {}
for index = 1, claimCount do claimed[index] = claimOne(index) end
for _, row in ipairs(claimed) do
  if row[3] and row[3] ~= '' then bodyKeys[#bodyKeys + 1], bodyOf[#bodyOf + 1] = row[3], row end
end
flushHeads(s, t)
if texts[1] then call('MSET', unpack(texts)) end
if events[1] then call('XADD', s.p .. ':events', int(s.lastEvent) .. '-0', unpack(events)) end
for at, body in ipairs(bodyKeys[1] and call('MGET', unpack(bodyKeys)) or {}) do bodyOf[at][3] = body end
return answer(s, 'ok', ended, claimed)
