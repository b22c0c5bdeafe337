-- What goes in front of the body of a script in a namespace, in one line: names that the body hides nothing of.
-- `redis.call` and its kin put the prefix in front of names, as the command table says.
local redis,KEYS@LOCALS@=(function(G,K)
local P,C,N,D,L,T='@PREFIX@','@CHANNELS@','@NAME@',@ONLY@,@LINE@,'@TABLE@'
local A,B,M=redis.pcall,redis.acl_check_cmd,{}
local type,select,tonumber,unpack,error,pcall,rawset,setmetatable=type,select,tonumber,unpack,error,pcall,rawset,setmetatable
local find,sub,match,gsub,lower,upper,format=string.find,string.sub,string.match,string.gsub,string.lower,string.upper,string.format
-- A number as the server writes it.
local function text(v)
if type(v)~='number' then return v end
if v%1==0 and v<1e15 and v>-1e15 then return format('%.0f',v) end
for d=(redis.REDIS_VERSION_NUM or 0)<0x70200 and 17 or 15,17 do
local s=format('%.'..d..'g',v)
if tonumber(s)==v then return s end
end
return v
end
local function low(v) v=text(v) return type(v)=='string' and lower(v) or '' end
local function put(p,v) v=text(v) if type(v)=='string' then return p..v end return v end
local function bare(v) if type(v)=='string' and sub(v,1,#P)==P then return sub(v,#P+1) end return v end
local function no(e) return {err=e} end
-- The prefix of database `v`.
local function base(v)
v=tonumber(text(v))
if not v or v%1~=0 then return nil,no('ERR value is not an integer or out of range') end
if v<0 or v>15 then return nil,no('ERR DB index is out of range') end
if D then if v==D then return P end return nil,no('@APART@') end
return v==0 and N..':' or N..'@'..format('%d',v)..':'
end
-- Where the names of a command stand.
local function look(c)
c=lower(c)
local _,e
if not find(c,'[;:]') then _,e=find(T,';'..c..':',1,true) end
if e then return match(T,'^[^;]*',e+1) end
if find(c,'|',1,true) then return 'x' end
local i=A('COMMAND','INFO',c)
if type(i)~='table' or i.err then return 'x' end
i=i[1]
if type(i)~='table' then return '0' end
local f=i[3]
for k,v in pairs(f.set or f) do
if k=='movablekeys' or v=='movablekeys' or type(k)=='table' and k.ok=='movablekeys' or type(v)=='table' and v.ok=='movablekeys' then return 'x' end
end
return i[4]>0 and format('r%d,%d,%d',i[4],i[5],i[6]) or '0'
end
local function each(a,x,y,z) for i=x,y,z do a[i]=put(P,a[i]) end end
local function counted(a,n,i,z)
local v=text(a[i])
local w=type(v)=='string' and tonumber(match(v,'^%s*%+?(%d+)'))
if not w or w*z>n-i then return false end
each(a,i+1,i+w*z,z)
return true
end
-- Puts the prefix in front of the names in `a`: the command, how many arguments it has and, where nothing is sent, the reply.
local function place(m,c,a,n)
local k=sub(m,1,1)
local x,y,z=match(m,'^%a(-?%d+),?(-?%d*),?(-?%d*)')
x,y,z=tonumber(x),tonumber(y),tonumber(z)
if k=='' or k=='>' then if n>0 then each(a,1,1,1) end
elseif k=='r' then
if y<0 then y=n+1+y end
if x<=y and y<=n then each(a,x,y,z) end
elseif k=='c' then counted(a,n,x,y)
elseif k=='d' then if counted(a,n,y,1) then each(a,x,x,1) end
elseif k=='s' then
local i=1
while true do
local o=i<=n and low(a[i])
if o=='streams' then
if n>i and (n-i)%2==0 then each(a,i+1,i+(n-i)/2,1) end
return c,n
elseif o=='block' or o=='count' or o=='claim' then i=i+2
elseif o=='group' then i=i+3
elseif o=='noack' then i=i+1
else return c,n,no('ERR syntax error') end
end
elseif k=='o' then
if n>0 then each(a,1,1,1) end
local i=2
while i<=n do
local o=low(a[i])
local g=o=='by' or o=='get'
if i<n and (o=='store' or o=='get' and a[i+1]~='#' or g and find(low(a[i+1]),'*',1,true)) then each(a,i+1,i+1,1) end
i=i+(o=='limit' and 3 or (g or o=='store') and 2 or 1)
end
elseif k=='g' then
if n>0 then each(a,1,1,1) end
local i=5
while i<n do
local o=low(a[i])
if o=='store' or o=='storedist' then i=i+1 a[i]=put(P,a[i]) end
i=i+1
end
elseif k=='p' then if n>0 then a[1]=put(C,a[1]) end
elseif k=='n' then
local f
for i=2,n,2 do if low(a[i])=='match' then f=true if i<n then a[i+1]=put(P,a[i+1]) end end end
if not f and n>0 then a[n+1],a[n+2],n='MATCH',P..'*',n+2 end
elseif k=='l' and n==1 then
local p,e=base(a[1])
if p then P=p end
return c,n,e or {ok='OK'}
elseif k=='v' and n==2 then
local p,e=base(a[2])
if p==P then e=no('ERR source and destination objects are the same') end
if e then return c,n,e end
a[2]=put(p,a[1])
a[1]=put(P,a[1])
return 'RENAMENX',n
elseif k=='y' then
local p,e,w,i=P,nil,2,3
while i<=n do
local o=low(a[i])
if o=='db' and i<n then
p,e=base(a[i+1])
if e then return c,n,e end
i=i+1
elseif o=='replace' then w=w+1 a[w]='REPLACE'
else return c,n,no('ERR syntax error') end
i=i+1
end
if n>1 then a[1]=put(P,a[1]) a[2]=put(p,a[2]) n=w end
elseif k=='x' then return c,n,no((gsub('@REFUSED@','{command}',function() return (gsub(upper(c),'|',' ')) end)))
end
return c,n
end
-- The reply to a command, without the prefix.
local function back(m,r)
if type(r)~='table' then return r end
if type(r.err)=='string' then
if find(r.err,"'"..P,1,true) then r.err=gsub(r.err,gsub("'"..P,'%W','%%%0'),"'") end
if m=='v' and r.err=='ERR no such key' then return 0 end
return r
end
local x=match(m,'>(%a)')
if x=='e' or x=='p' then
local l=x=='e' and r or r[2]
for i=1,#l do l[i]=bare(l[i]) end
elseif x=='f' then r[1]=bare(r[1])
elseif x=='t' then
if r.map then
local t={}
for k,v in pairs(r.map) do t[bare(k)]=v end
r.map=t
else for i=1,#r do r[i][1]=bare(r[i][1]) end end
end
return r
end
local function run(f,c,...)
if type(c)~='string' then
if c==nil and select('#',...)==0 then return f() end
return f(c,...)
end
local m=M[c]
if not m then m=look(c) M[c]=m end
if m=='' then
local k=...
if type(k)=='string' then return back(m,f(c,P..k,select(2,...))) end
elseif m=='0' then return back(m,f(c,...))
end
local a,n,r={...},select('#',...),nil
if m=='+' and n>0 then
local s=c..'|'..low(a[1])
m=M[s]
if not m then m=look(s) M[s]=m end
if m~='0' then
-- The names of a subcommand are counted from its container.
local q
q,n,r=place(m,s,a,n)
end
else c,n,r=place(m,c,a,n) end
if r then return r end
return back(m,f(c,unpack(a,1,n)))
end
local function raised(r) return type(r)=='table' and type(r.err)=='string' end
local function thrown(r) return redis.REDIS_VERSION_NUM and r or r.err end
@CALL@
local function ro() error('Attempt to modify a readonly table',2) end
local function like(t)
if not t then return nil end
local f=setmetatable({call=call,pcall=function(...) return run(A,...) end,acl_check_cmd=B and function(...) return run(B,...) end},{__index=t})
-- The server's own error, where no script may change its tables.
return setmetatable({},{__index=f,__newindex=t.REDIS_VERSION_NUM and t or ro,__metatable=false})
end
local k={}
if K[1]~=nil and sub(K[1],1,#P)==P then for i=1,#K do k[i]=sub(K[i],#P+1) end end
local R=like(redis)
@REST@
end)(_G,KEYS); 
