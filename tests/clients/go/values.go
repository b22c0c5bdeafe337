// What keeps and reads values: a cache, counters, iteration and pipelines.
package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

type profile struct {
	Name   string `redis:"name"`
	Visits int    `redis:"visits"`
}

func cache(pool *redis.Pool) {
	key := prefix + "page:1"
	_, err := redis.String(do(pool, "GET", key))
	check("a miss", err, redis.ErrNil)
	stored, err := redis.String(do(pool, "SET", key, "first", "EX", 60))
	must("SET", err)
	check("SET EX", stored, "OK")
	left, err := redis.Int(do(pool, "TTL", key))
	must("TTL", err)
	check("TTL is near 60", left >= 58 && left <= 60, true)

	// Who reads after the write was answered sees it, on any connection.
	for round := 0; round < 50; round++ {
		wanted := fmt.Sprintf("version %d", round)
		_, err := do(pool, "SET", key, wanted)
		must("SET", err)
		writer, reader := pool.Get(), pool.Get()
		for _, conn := range []redis.Conn{reader, writer, reader} {
			got, err := redis.String(conn.Do("GET", key))
			must("GET", err)
			check("GET after SET", got, wanted)
		}
		writer.Close()
		reader.Close()
	}

	_, err = do(pool, "SET", prefix+"short", "soon gone", "PX", 1000)
	must("SET PX", err)
	got, err := redis.String(do(pool, "GET", prefix+"short"))
	must("GET", err)
	check("GET before it expires", got, "soon gone")
	time.Sleep(1100 * time.Millisecond)
	_, err = redis.String(do(pool, "GET", prefix+"short"))
	check("GET after it expired", err, redis.ErrNil)

	values, keys, wanted := redis.Args{}, redis.Args{}, []string{}
	for number := 0; number < 40; number++ {
		name, value := fmt.Sprintf("%sitem:%d", prefix, number), fmt.Sprintf("value %d\r\n\x00", number)
		values, keys, wanted = values.Add(name, value), keys.Add(name), append(wanted, value)
	}
	_, err = do(pool, "MSET", values...)
	must("MSET", err)
	many, err := redis.Strings(do(pool, "MGET", keys.Add(prefix+"absent")...))
	must("MGET", err)
	check("MGET in order, binary values untouched", many, append(wanted, ""))
	deleted, err := redis.Int(do(pool, "DEL", keys...))
	must("DEL", err)
	check("DEL of many", deleted, 40)

	_, err = do(pool, "HSET", redis.Args{prefix + "profile"}.AddFlat(&profile{"Ada", 3})...)
	must("HSET", err)
	fields, err := redis.Values(do(pool, "HGETALL", prefix+"profile"))
	must("HGETALL", err)
	var read profile
	must("ScanStruct", redis.ScanStruct(fields, &read))
	check("HGETALL into a struct", read, profile{"Ada", 3})
}

func counter(pool *redis.Pool) {
	const workers, times = 5, 100
	seen := make([]map[int]bool, workers)
	var all sync.WaitGroup
	for worker := range seen {
		seen[worker] = map[int]bool{}
		all.Add(1)
		go func(mine map[int]bool) {
			defer all.Done()
			conn := pool.Get()
			defer conn.Close()
			for time := 0; time < times; time++ {
				value, err := redis.Int(conn.Do("INCR", prefix+"counter"))
				must("INCR", err)
				mine[value] = true
				_, err = conn.Do("HINCRBYFLOAT", prefix+"sums", "halves", 0.5)
				must("HINCRBYFLOAT", err)
			}
		}(seen[worker])
	}
	all.Wait()
	distinct := map[int]bool{}
	for _, mine := range seen {
		for value := range mine {
			distinct[value] = true
		}
	}
	check("every INCR gave a number of its own", len(distinct), workers*times)
	total, err := redis.Int(do(pool, "GET", prefix+"counter"))
	must("GET", err)
	check("the counter", total, workers*times)
	halves, err := redis.Float64(do(pool, "HGET", prefix+"sums", "halves"))
	must("HGET", err)
	check("the sum of halves", halves, 0.5*workers*times)
}

func scan(pool *redis.Pool) {
	conn := pool.Get()
	defer conn.Close()
	const count = 300
	wanted := []string{}
	for number := 0; number < count; number++ {
		key := fmt.Sprintf("%sscan:%d", prefix, number)
		wanted = append(wanted, key)
		must("Send", conn.Send("SET", key, number))
	}
	_, err := conn.Do("")
	must("the pipeline of SETs", err)
	sort.Strings(wanted)
	check("SCAN MATCH finds each key", iterate(conn, "SCAN", redis.Args{}, prefix+"scan:*"), wanted)

	members := redis.Args{prefix + "set"}.AddFlat(wanted)
	_, err = conn.Do("SADD", members...)
	must("SADD", err)
	check("SSCAN finds each member", iterate(conn, "SSCAN", redis.Args{prefix + "set"}, "*"), wanted)
}

// iterate follows a cursor to its end and returns what it saw, once each and sorted.
func iterate(conn redis.Conn, command string, key redis.Args, match string) []string {
	seen, cursor := map[string]bool{}, "0"
	for {
		reply, err := redis.Values(conn.Do(command, key.Add(cursor, "MATCH", match, "COUNT", 50)...))
		must(command, err)
		var found []string
		_, err = redis.Scan(reply, &cursor, &found)
		must(command, err)
		for _, one := range found {
			seen[one] = true
		}
		if cursor == "0" {
			break
		}
	}
	sorted := []string{}
	for one := range seen {
		sorted = append(sorted, one)
	}
	sort.Strings(sorted)
	return sorted
}

func pipeline(pool *redis.Pool) {
	conn := pool.Get()
	defer conn.Close()
	const count = 400
	for number := 0; number < count; number++ {
		key := prefix + "pipe:" + strconv.Itoa(number%7)
		must("Send", conn.Send("SET", key, number))
		must("Send", conn.Send("GET", key))
		must("Send", conn.Send("LPUSH", key, "no list"))
	}
	must("Flush", conn.Flush())
	for number := 0; number < count; number++ {
		stored, err := redis.String(conn.Receive())
		must("SET", err)
		got, err := redis.Int(conn.Receive())
		must("GET", err)
		_, err = conn.Receive()
		check("SET, GET in order", []interface{}{stored, got}, []interface{}{"OK", number})
		check("its error stands in its place", strings.HasPrefix(fmt.Sprint(err), "WRONGTYPE "), true)
	}
}
