// What several connections do together: locks, queues, messages, transactions and scripts.
package main

import (
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

var release = redis.NewScript(1, `
	if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end`)

func lock(pool *redis.Pool) {
	const workers, times = 4, 10
	var all sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		all.Add(1)
		go func(worker int) {
			defer all.Done()
			conn := pool.Get()
			defer conn.Close()
			for time := 0; time < times; time++ {
				token := fmt.Sprintf("worker %d, time %d", worker, time)
				acquire(conn, token)
				// Read, then write: exact only while nobody else is in here.
				value, err := redis.Int(conn.Do("GET", prefix+"guarded"))
				if err != redis.ErrNil {
					must("GET", err)
				}
				_, err = conn.Do("SET", prefix+"guarded", value+1)
				must("SET", err)
				refused, err := redis.Int(release.Do(conn, prefix+"lock", "somebody else"))
				must("a release by another", err)
				check("nobody else releases the lock", refused, 0)
				released, err := redis.Int(release.Do(conn, prefix+"lock", token))
				must("a release", err)
				check("its owner releases the lock", released, 1)
			}
		}(worker)
	}
	all.Wait()
	value, err := redis.Int(do(pool, "GET", prefix+"guarded"))
	must("GET", err)
	check("no update under the lock was lost", value, workers*times)
}

func acquire(conn redis.Conn, token string) {
	for {
		_, err := redis.String(conn.Do("SET", prefix+"lock", token, "NX", "PX", 10000))
		if err == nil {
			return
		}
		if err != redis.ErrNil {
			must("SET NX", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func queue(pool *redis.Pool) {
	const workers, jobs = 3, 60
	results := make(chan string, jobs)
	var all sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			conn := pool.Get()
			defer conn.Close()
			for {
				job, err := redis.Strings(conn.Do("BLPOP", prefix+"{jobs}:urgent", prefix+"{jobs}:normal", 5))
				must("BLPOP", err)
				if job[1] == "the end" {
					return
				}
				results <- job[1]
			}
		}()
	}
	wanted := []string{}
	for job := 0; job < jobs; job++ {
		name := fmt.Sprintf("job %d", job)
		wanted = append(wanted, name)
		list := []string{"urgent", "normal"}[job%2]
		_, err := do(pool, "RPUSH", prefix+"{jobs}:"+list, name)
		must("RPUSH", err)
	}
	for worker := 0; worker < workers; worker++ {
		_, err := do(pool, "RPUSH", prefix+"{jobs}:normal", "the end")
		must("RPUSH", err)
	}
	all.Wait()
	close(results)
	done := []string{}
	for result := range results {
		done = append(done, result)
	}
	sort.Strings(done)
	sort.Strings(wanted)
	check("every job was done once", done, wanted)

	_, err := redis.Strings(do(pool, "BLPOP", prefix+"{jobs}:urgent", "0.1"))
	check("BLPOP gives up", err, redis.ErrNil)
}

func reliableQueue(pool *redis.Pool) {
	const jobs = 30
	from, to := prefix+"{steps}:todo", prefix+"{steps}:doing"
	for job := 0; job < jobs; job++ {
		_, err := do(pool, "LPUSH", from, job)
		must("LPUSH", err)
	}
	for job := 0; job < jobs; job++ {
		moved, err := redis.Int(do(pool, "LMOVE", from, to, "RIGHT", "LEFT"))
		must("LMOVE", err)
		check("LMOVE gives the oldest", moved, job)
		kept, err := redis.Ints(do(pool, "LRANGE", to, 0, -1))
		must("LRANGE", err)
		check("the job is kept while it is done", kept, []int{job})
		removed, err := redis.Int(do(pool, "LREM", to, 1, job))
		must("LREM", err)
		check("a job that is done goes", removed, 1)
	}
	_, err := redis.Int(do(pool, "LMOVE", from, to, "RIGHT", "LEFT"))
	check("LMOVE from nothing", err, redis.ErrNil)
}

func publishAndSubscribe(pool *redis.Pool) {
	const messages = 40
	subscriber := redis.PubSubConn{Conn: pool.Get()}
	defer subscriber.Close()
	news, all := prefix+"news:local", prefix+"news:*"
	must("SUBSCRIBE", subscriber.Subscribe(news))
	check("SUBSCRIBE is confirmed", subscriber.Receive(), redis.Subscription{Kind: "subscribe", Channel: news, Count: 1})
	must("PSUBSCRIBE", subscriber.PSubscribe(all))
	check("PSUBSCRIBE is confirmed", subscriber.Receive(), redis.Subscription{Kind: "psubscribe", Channel: all, Count: 2})
	must("PING", subscriber.Ping("still there"))
	check("PING of a subscriber", subscriber.Receive(), redis.Pong{Data: "still there"})

	go func() {
		for message := 0; message < messages; message++ {
			heard, err := redis.Int(do(pool, "PUBLISH", news, fmt.Sprint(message)))
			must("PUBLISH", err)
			check("PUBLISH counts who hears", heard, 2)
		}
	}()
	plain, matched, wanted := []string{}, []string{}, []string{}
	for message := 0; message < 2*messages; message++ {
		received, isMessage := subscriber.Receive().(redis.Message)
		check("a message came", isMessage, true)
		check("its channel", received.Channel, news)
		if received.Pattern == "" {
			plain = append(plain, string(received.Data))
		} else {
			matched = append(matched, string(received.Data))
		}
	}
	for message := 0; message < messages; message++ {
		wanted = append(wanted, fmt.Sprint(message))
	}
	check("messages of the channel in order", plain, wanted)
	check("messages of the pattern in order", matched, wanted)
	must("UNSUBSCRIBE", subscriber.Unsubscribe())
	check("UNSUBSCRIBE", subscriber.Receive(), redis.Subscription{Kind: "unsubscribe", Channel: news, Count: 1})
	must("PUNSUBSCRIBE", subscriber.PUnsubscribe())
	check("PUNSUBSCRIBE", subscriber.Receive(), redis.Subscription{Kind: "punsubscribe", Channel: all, Count: 0})
}

func transaction(pool *redis.Pool) {
	conn, other := pool.Get(), pool.Get()
	defer conn.Close()
	defer other.Close()
	account, history := prefix+"{account}", prefix+"{account}:history"
	must("Send", conn.Send("MULTI"))
	must("Send", conn.Send("SET", account, 100))
	must("Send", conn.Send("RPUSH", history, "opened"))
	must("Send", conn.Send("GET", account))
	replies, err := redis.Values(conn.Do("EXEC"))
	must("EXEC", err)
	check("the replies of EXEC", replies, []interface{}{"OK", int64(1), []byte("100")})

	attempts := 0
	for {
		attempts++
		_, err := conn.Do("WATCH", account)
		must("WATCH", err)
		balance, err := redis.Int(conn.Do("GET", account))
		must("GET", err)
		if attempts == 1 {
			_, err := other.Do("INCRBY", account, 50)
			must("INCRBY", err)
		}
		must("Send", conn.Send("MULTI"))
		must("Send", conn.Send("SET", account, balance-30))
		must("Send", conn.Send("RPUSH", history, "paid 30"))
		_, err = redis.Values(conn.Do("EXEC"))
		if err == redis.ErrNil {
			continue
		}
		must("EXEC", err)
		break
	}
	check("the conflict was seen, and then there was none", attempts, 2)
	balance, err := redis.Int(other.Do("GET", account))
	must("GET", err)
	check("nothing was lost", balance, 120)

	must("Send", conn.Send("MULTI"))
	must("Send", conn.Send("SET", account, 0))
	_, err = conn.Do("DISCARD")
	must("DISCARD", err)
	balance, err = redis.Int(conn.Do("GET", account))
	must("GET", err)
	check("DISCARD did nothing", balance, 120)
}

func script(pool *redis.Pool) {
	conn := pool.Get()
	defer conn.Close()
	// A script that no server has seen yet: EVALSHA fails with NOSCRIPT and EVAL follows.
	fresh := redis.NewScript(2, fmt.Sprintf(`-- %d
		redis.call("INCRBY", KEYS[1], ARGV[1])
		redis.call("RPUSH", KEYS[2], ARGV[1])
		return {KEYS[1], tonumber(redis.call("GET", KEYS[1])), redis.call("LLEN", KEYS[2])}`, rand.Int63()))
	sum, log := prefix+"{sum}", prefix+"{sum}:log"
	must("SendHash", fresh.SendHash(conn, sum, log, 5))
	must("Flush", conn.Flush())
	_, err := conn.Receive()
	check("EVALSHA before EVAL", strings.HasPrefix(fmt.Sprint(err), "NOSCRIPT "), true)
	for time := 1; time <= 3; time++ {
		reply, err := redis.Values(fresh.Do(conn, sum, log, 5))
		must("the script", err)
		check("what the script returns", reply, []interface{}{[]byte(sum), int64(5 * time), int64(time)})
		read, err := redis.Int(do(pool, "GET", sum))
		must("GET", err)
		check("GET sees what the script wrote", read, 5*time)
	}
	must("SCRIPT LOAD", redis.NewScript(0, `return "loaded"`).Load(conn))
	_, err = conn.Do("EVAL", `return redis.error_reply("MINE my own error")`, 0)
	check("an error of a script", fmt.Sprint(err), "MINE my own error")
}
