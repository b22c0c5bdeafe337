-- `redis.call` where its errors may be caught: the error knows its line, which the server would look for here.
local function call(...)
local r=run(A,...)
if raised(r) then
local _,w=pcall(error,'',3)
local n=match(w,'^user_script:(%d+): $')
if n and redis.REDIS_VERSION_NUM then
setmetatable(r,{__index={source='@user_script',line=tonumber(n)},__newindex=function(t,k,v)
if not(k=='source' or k=='line' and v==L) then rawset(t,k,v) end
end})
end
error(thrown(r),0)
end
return r
end
