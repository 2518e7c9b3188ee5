//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// misfortune is what happens to a node at one of its system calls.
type misfortune struct {
	call  string
	n     int // of that thread
	fault string
}

func (m misfortune) String() string { return fmt.Sprintf("%s:%s:when=%d", m.call, m.fault, m.n) }

// misfortunes are what happens in the first moments of a node's life and, more
// and more thinly, later, in an order that mixes them.
func misfortunes() []misfortune {
	var all []misfortune
	for _, c := range []struct {
		call string
		most int
	}{{"pwrite64", 12}, {"fdatasync", 12}, {"fsync", 6}, {"sync_file_range", 4}, {"renameat", 4}, {"unlinkat", 2}, {"mkdirat", 2}} {
		for n := range c.most {
			for _, fault := range []string{"signal=KILL", "error=EIO", "error=ENOSPC"} {
				all = append(all, misfortune{c.call, 1 + n*(n+1)/2, fault})
			}
		}
	}
	rand.New(rand.NewPCG(1, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// A node is killed at one of its system calls, or that call fails, from the
// founding of its cluster on; then the power goes for all. All start again
// without help, with everything that was acknowledged.
//
// DNODETEST_CYCLES=126 is the full form, for a cluster of one and one of three.
func TestPowerCutAtCalls(t *testing.T) {
	small := buildMutant(t, smallSegments)
	for _, nodes := range []int{1, 3} {
		disk := mountSmall(t, 1<<30)
		all, hit, acked := misfortunes(), 0, uint64(0)
		all = all[:min(len(all), cyclesWanted(t))]
		for i, m := range all {
			c := &cluster{t: t, binary: small}
			ports := freePorts(t, 2*nodes)
			at := filepath.Join(disk.dir, fmt.Sprint(i))
			for k := range nodes {
				name := fmt.Sprintf("n%d", k+1)
				c.nodes = append(c.nodes, &clusterNode{name: name, dir: filepath.Join(at, name), client: ports[2*k], peer: ports[2*k+1]})
			}
			writes, came := c.suffer(disk, m)
			if came {
				hit++
				acked += writes
			}
			if t.Failed() {
				t.Fatalf("%d nodes, after %v", nodes, m)
			}
			disk.must(errors.Join(os.RemoveAll(at), disk.writeBack()))
		}
		t.Logf("%d nodes: %d of %d faults came to pass; %d writes acknowledged before", nodes, hit, len(all), acked)
		if hit < len(all)/2 {
			t.Errorf("only %d of %d faults came to pass", hit, len(all))
		}
	}
}

// suffer starts nodes, the first of them with a misfortune ahead, writes to
// them, cuts their power and starts them again. It returns how much was
// acknowledged, and whether the misfortune came.
func (c *cluster) suffer(disk *smallFS, m misfortune) (acked uint64, came bool) {
	c.t.Helper()
	n := c.nodes[0]
	trace := filepath.Join(c.t.TempDir(), "trace")
	n.process = startOf(c.t, "strace", append([]string{
		"-D", "-f", "-qqq", "-e", "trace=" + m.call, "-e", "inject=" + m.String(), "-o", trace, c.binary,
	}, c.serve(n)...)...)
	for _, other := range c.nodes[1:] {
		c.start(other)
	}
	l := newLedger("cut/", 2, everyKey, 64<<10)
	c.fill(l)
	killed := n.ended() && m.fault == "signal=KILL"
	c.killAll()
	disk.must(disk.cutPower(withoutJournal))
	disk.must(disk.powerOn())
	for _, n := range c.nodes {
		c.start(n)
	}
	cl := c.open()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	a, err := l.check(cl.Scan(ctx, client.Range{Prefix: l.prefix}))
	if err != nil || a.bad != 0 {
		c.t.Errorf("%v: %v %v", m, err, a.wrong)
	}
	for _, n := range c.nodes {
		n.until(c.t, cl, "a member again", func(m member) bool { return m.State == "ok" && m.Applied > 0 })
	}
	c.killAll()
	calls, err := os.ReadFile(trace)
	if err != nil {
		c.t.Error(err)
	}
	return l.acked.Load(), killed || strings.Contains(string(calls), "INJECTED")
}

// fill writes more than two segments, or until the first node is gone or a write
// has failed.
func (c *cluster) fill(l *ledger) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() {
		<-c.nodes[0].done
		cancel()
	}()
	cl, err := client.Open(ctx, client.Config{Endpoints: strings.Split(c.endpoints(), ",")})
	if err != nil {
		return
	}
	defer cl.Close()
	put := func(ctx context.Context, key string, value []byte) (client.Revision, error) {
		ctx, give := context.WithTimeout(ctx, time.Second)
		defer give()
		rev, err := cl.Put(ctx, key, value)
		if err != nil && !errors.Is(err, client.ErrNoSpace) { // that one passes
			cancel()
		}
		return rev, err
	}
	l.run(ctx, put, func() bool { return l.acked.Load() < 300 })
}
