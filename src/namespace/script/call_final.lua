-- `redis.call` where nothing catches its errors: a function of C, so the server finds the line of the caller.
local call=coroutine.wrap(function(...)
local yield,r=coroutine.yield,run(A,...)
while true do
if raised(r) then error(thrown(r),0) end
r=run(A,yield(r))
end
end)
