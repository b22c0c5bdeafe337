-- What the body could reach the bare `redis` through. Where functions have environments, there are more ways.
if rawget(G,'getfenv') then error({err='@OLD@'},0) end
local V=rawget(G,'server')
local S=like(V) or setmetatable({},{__index=function() error("Script attempted to access nonexistent global variable 'server'",2) end})
local E,loadstring,concat={},loadstring,table.concat
local ld,ls
ls=function(s,n)
if type(s)~='string' then return loadstring(s,n) end
return loadstring('local redis,KEYS@LOCALS@=KEYS[0]() '..s,n or s)
end
ld=function(f,n)
local t={}
while true do
local p=f()
if p==nil or p=='' then break end
t[#t+1]=p
end
return ls(concat(t),n or '=(load)')
end
for n,v in pairs(G) do E[n]=v end
E.redis,E.KEYS,E._G,E.loadstring,E.load=R,k,E,ls,ld
E.server=V and S
setmetatable(E,{__index=function(_,n) error("Script attempted to access nonexistent global variable '"..tostring(n).."'",2) end,__newindex=ro,__metatable=false})
K[0]=function() return R,k,S,E,ls,ld end
return K[0]()
