--[[ stats: counts, and alarms.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity
  Answers {now, 'ok', identity, open 0 or 1, waiting, delayed, entries, incarnations, tombstones,
    operations, clock steps, {group, waiting …}}
  Touches alive delayed:<gen> heads:<gen> ids incarnations meta nonce tombstones waiting ]]
local s = begin(KEYS, ARGV)
local delayed = redis.call('ZCARD', s.p .. ':delayed:' .. s.gen)
for _, gen in ipairs(s.quarantines) do delayed = delayed + redis.call('ZCARD', s.p .. ':delayed:' .. gen) end
return answer(s, 'ok', s.identity, s.open and 1 or 0, int(s.waiting), delayed, redis.call('ZCARD', s.p .. ':ids'),
  redis.call('ZCARD', s.p .. ':alive'), redis.call('HLEN', s.p .. ':tombstones'), int(s.operations),
  redis.call('HGET', s.p .. ':meta', 'clockSteps') or '0',
  redis.call('HGETALL', s.p .. ':waiting'))
