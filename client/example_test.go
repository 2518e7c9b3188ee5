package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// open opens a client of a small cluster that runs inside the examples. A
// program gives its own endpoints:
//
//	client.Open(ctx, client.Config{Endpoints: []string{"127.0.0.1:7400"}})
func open() (*client.Client, func()) {
	cfg, stop := client.StartExample()
	c, err := client.Open(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() { c.Close(); stop() }
}

func Example() {
	c, stop := open()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	if _, err := c.Put(ctx, "greeting", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	it, err := c.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s = %s, version %d\n", it.Key, it.Value, it.Version)

	_, err = c.Get(ctx, "farewell")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// greeting = hello, version 1
	// true
}

func ExampleClient_CompareAndSet() {
	c, stop := open()
	defer stop()
	ctx := context.Background()

	// Take a name if it is free.
	_, err := c.CompareAndSet(ctx, "owner", client.Absent(), []byte("alice"))
	fmt.Println("alice:", err)
	_, err = c.CompareAndSet(ctx, "owner", client.Absent(), []byte("bob"))
	var failed *client.ConditionError
	if errors.As(err, &failed) {
		fmt.Printf("bob: taken by %s\n", failed.Current.Value)
	}

	// Change what was read, unless somebody else has meanwhile.
	it, _ := c.Get(ctx, "owner")
	_, err = c.CompareAndSet(ctx, "owner", client.RevisionIs(it.ModRevision), []byte("carol"))
	fmt.Println("carol:", err)
	// Output:
	// alice: <nil>
	// bob: taken by alice
	// carol: <nil>
}

func ExampleClient_Scan() {
	c, stop := open()
	defer stop()
	ctx := context.Background()

	var b client.Batch
	b.Put("fruit/apple", []byte("red"))
	b.Put("fruit/banana", []byte("yellow"))
	b.Put("fruit/cherry", []byte("red"))
	b.Put("fruit/date", []byte("brown"))
	b.Put("stone/agate", []byte("any"))
	if _, err := c.Batch(ctx, &b); err != nil {
		log.Fatal(err)
	}
	for it, err := range c.Scan(ctx, client.Range{Prefix: "fruit/"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s is %s\n", it.Key, it.Value)
	}
	n, _ := c.Count(ctx, client.Range{})
	fmt.Println(n, "keys")
	// Output:
	// fruit/apple is red
	// fruit/banana is yellow
	// fruit/cherry is red
	// fruit/date is brown
	// 5 keys
}

func ExampleClient_PutAsync() {
	c, stop := open()
	defer stop()
	ctx := context.Background()

	var pending sync.WaitGroup
	for i := range 1000 {
		pending.Add(1)
		err := c.PutAsync(ctx, fmt.Sprintf("key%04d", i), []byte("value"), func(_ client.Revision, err error) {
			if err != nil {
				log.Print(err)
			}
			pending.Done()
		})
		if err != nil { // not started, the completion will not run
			log.Print(err)
			pending.Done()
		}
	}
	pending.Wait()
	n, _ := c.Count(ctx, client.Range{Prefix: "key"})
	fmt.Println(n)
	// Output: 1000
}

func ExampleOutcomeUnknown() {
	c, stop := open()
	defer stop()
	ctx := context.Background()

	rev, err := c.Put(ctx, "balance", []byte("100"))
	switch {
	case err == nil:
		fmt.Println("done:", rev > 0)
	case client.OutcomeUnknown(err):
		fmt.Println("read the key to see whether it was written:", err)
	case client.SafeToRetry(err):
		fmt.Println("nothing was written, try again later:", err)
	default:
		fmt.Println("nothing was written, and will not be:", err)
	}
	// Output: done: true
}

func ExampleReadOptions() {
	c, stop := open()
	defer stop()
	ctx := context.Background()

	c.Put(ctx, "k", []byte("v"))
	for _, level := range []client.Consistency{client.Linearizable, client.Lease, client.Stale} {
		it, err := c.Get(ctx, "k", client.ReadOptions{Consistency: level})
		fmt.Printf("%v: %s %v\n", level, it.Value, err)
	}
	// Output:
	// linearizable: v <nil>
	// lease: v <nil>
	// stale: v <nil>
}
