--[[ leave: what a leaving incarnation still holds, to be released through Records; forgets it if that is nothing.
  KEYS[1] shard prefix
  ARGV[1..3] as in identity  [4] incarnation key
  Answers {now, 'ok', {{job id, token} …}}
  Touches alive delayed:<gen> heads:<gen> held:<incarnation> idle idlegroup:<group> idlelane:<lane>
    incarnations job:<id> machines meta nonce
  Keeps: the leases keep their time, in case the hub that releases them dies half-way. ]]
local s = begin(KEYS, ARGV)
local key, leases = ARGV[4], {}
leaveIdle(s, key)
for _, id in ipairs(heldBy(s, key)) do
  local e = load(s, id)
  if e then leases[#leases + 1] = { id, e.token } end
end
if #leases == 0 then forgetIncarnation(s, key) end
return answer(s, 'ok', leases)
