package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

const defaultEndpoint = "127.0.0.1:7400"

// target is how a command reaches a cluster, as its flags say.
type target struct {
	endpoints []string
	timeout   time.Duration
}

func (t *target) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVarP(&t.endpoints, "endpoints", "e", []string{defaultEndpoint},
		"client addresses of one or more nodes, host:port,...")
	cmd.Flags().DurationVar(&t.timeout, "timeout", 5*time.Second, "how long to wait for the cluster")
}

// with opens a client, hands it to do together with a context that ends with
// the timeout, and closes it.
func (t *target) with(ctx context.Context, do func(ctx context.Context, c *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	c, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(ctx, c)
}

// open connects before ctx ends. What is wrong with the flags themselves is a
// usage error.
func (t *target) open(ctx context.Context) (*client.Client, error) {
	if t.timeout <= 0 {
		return nil, usagef("--timeout %v: it must be above zero", t.timeout)
	}
	c, err := client.Open(ctx, client.Config{Endpoints: t.endpoints, Name: "dnode", Timeout: t.timeout})
	var typed *client.Error
	if err != nil && !errors.As(err, &typed) {
		return nil, usagef("%v", err)
	}
	return c, err
}

// level is the --consistency flag.
type level struct{ word string }

func (l *level) addFlag(cmd *cobra.Command) {
	cmd.Flags().Var(oneOf(&l.word, "linearizable", "lease", "stale"), "consistency",
		"how new the answer to a read must be; stale is answered by the node asked")
}

// options returns the level as the client wants it. With one endpoint a stale
// read is answered by that node and by no other.
func (l *level) options(t *target) client.ReadOptions {
	switch l.word {
	case "lease":
		return client.ReadOptions{Consistency: client.Lease}
	case "stale":
		if len(t.endpoints) == 1 {
			return client.ReadOptions{Consistency: client.Stale, Endpoint: t.endpoints[0]}
		}
		return client.ReadOptions{Consistency: client.Stale}
	default:
		return client.ReadOptions{Consistency: client.Linearizable}
	}
}
