// What a program does with go-redis v8 on a cluster: the document's SET and GET, many keys, a pipeline, a transaction
// and every shard. The arguments are addresses of nodes; it prints "bar" and ends with 0 if all of it was right.
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/go-redis/redis/v8"
)

var ctx = context.Background()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(got, wanted interface{}) {
	if got != wanted {
		panic(fmt.Sprintf("%v instead of %v", got, wanted))
	}
}

func main() {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: os.Args[1:]})
	defer rdb.Close()
	must(rdb.Set(ctx, "foo", "bar", 0).Err())
	res, err := rdb.Get(ctx, "foo").Result()
	must(err)

	for number := 0; number < 300; number++ {
		must(rdb.Set(ctx, fmt.Sprintf("key:%d", number), number, 0).Err())
	}
	pipe := rdb.Pipeline()
	replies := []*redis.StringCmd{}
	for number := 0; number < 300; number++ {
		replies = append(replies, pipe.Get(ctx, fmt.Sprintf("key:%d", number)))
	}
	_, err = pipe.Exec(ctx)
	must(err)
	for number, reply := range replies {
		expect(reply.Val(), fmt.Sprint(number))
	}
	// By WATCH, which names its keys: what COMMAND of Redis 7 says about keys this client does not read, so that it could not
	// find the node of a transaction by itself.
	must(rdb.Watch(ctx, func(transaction *redis.Tx) error {
		_, err := transaction.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, "{tag}a")
			pipe.Incr(ctx, "{tag}b")
			return nil
		})
		return err
	}, "{tag}a", "{tag}b"))
	expect(rdb.Get(ctx, "missing").Err(), redis.Nil)
	var keys int64
	must(rdb.ForEachMaster(ctx, func(ctx context.Context, client *redis.Client) error {
		size, err := client.DBSize(ctx).Result()
		atomic.AddInt64(&keys, size)
		return err
	}))
	expect(keys, int64(303))
	slots, err := rdb.ClusterSlots(ctx).Result()
	must(err)
	expect(len(slots), 3)
	fmt.Println(res)
}
