// Scenarios with redigo, against the Redis at NEARSIDE_HOST and NEARSIDE_PORT.
package main

import (
	"fmt"
	"net"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Every key of this program begins so.
const prefix = "redigo:"

var passed int64

func main() {
	address := net.JoinHostPort(os.Getenv("NEARSIDE_HOST"), os.Getenv("NEARSIDE_PORT"))
	pool := &redis.Pool{
		MaxIdle:   8,
		MaxActive: 32,
		Wait:      true,
		Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", address,
				redis.DialConnectTimeout(5*time.Second),
				redis.DialReadTimeout(10*time.Second),
				redis.DialWriteTimeout(5*time.Second))
		},
		TestOnBorrow: func(conn redis.Conn, _ time.Time) error {
			_, err := conn.Do("PING")
			return err
		},
	}
	cache(pool)
	counter(pool)
	lock(pool)
	queue(pool)
	reliableQueue(pool)
	publishAndSubscribe(pool)
	transaction(pool)
	script(pool)
	scan(pool)
	pipeline(pool)
	check("closing the pool", pool.Close(), nil)
	fmt.Printf("passed: %d checks\n", atomic.LoadInt64(&passed))
}

// check ends the program unless got is wanted.
func check(what string, got, wanted interface{}) {
	if !reflect.DeepEqual(got, wanted) {
		fail("%s: got %#v, wanted %#v", what, got, wanted)
	}
	atomic.AddInt64(&passed, 1)
}

// must ends the program when a command failed that may not fail.
func must(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(form string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, "redigo: "+form+"\n", arguments...)
	os.Exit(1)
}

// do runs one command on a connection of the pool.
func do(pool *redis.Pool, command string, arguments ...interface{}) (interface{}, error) {
	conn := pool.Get()
	defer conn.Close()
	return conn.Do(command, arguments...)
}
