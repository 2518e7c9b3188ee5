package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
)

// The systems of a report. The tool is etcd under its own benchmark tool.
const (
	sysDnode = "dnode"
	sysEtcd  = "etcd"
	sysTool  = "etcd-tool"
)

// startLimit is how long a cluster may take until it serves.
const startLimit = 60 * time.Second

// member is one node of a cluster.
type member struct {
	name   string
	client string // address
	peer   string
	http   string // of its metrics
	proc   *process
}

// cluster is the nodes of one system, with empty data folders.
type cluster struct {
	system  string
	group   *group
	dir     string
	members []*member
	leader  int
}

// clusterPlan says what cluster to start.
type clusterPlan struct {
	system  string
	bin     string
	dir     string // for data and logs; emptied first
	nodes   int
	oneCore bool
}

// startCluster starts the nodes and waits until they serve. If it fails nothing
// is left running.
func startCluster(ctx context.Context, g *group, plan clusterPlan) (*cluster, error) {
	c := &cluster{system: plan.system, group: g, dir: plan.dir}
	if err := os.RemoveAll(plan.dir); err != nil {
		return nil, fmt.Errorf("cannot empty the data folder: %w", err)
	}
	if err := os.MkdirAll(plan.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the data folder: %w", err)
	}
	addrs, err := embedded.FreeAddrs(3 * plan.nodes)
	if err != nil {
		return nil, err
	}
	for i := range plan.nodes {
		m := &member{name: fmt.Sprintf("n%d", i+1), client: addrs[3*i], peer: addrs[3*i+1], http: addrs[3*i+2]}
		if c.system != sysDnode {
			m.http = m.client // etcd's metrics are there
		}
		c.members = append(c.members, m)
	}
	for i, m := range c.members {
		args := c.command(plan.bin, m)
		if plan.oneCore {
			args = append([]string{"taskset", "-c", fmt.Sprint(i % runtime.NumCPU())}, args...)
		}
		if m.proc, err = g.start(c.system+" "+m.name, filepath.Join(plan.dir, m.name+".log"), args); err != nil {
			c.stop()
			return nil, err
		}
	}
	if err := c.await(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// canConfine says whether nodes can be confined to a core here.
func canConfine() bool {
	_, err := exec.LookPath("taskset")
	return err == nil && runtime.GOOS == "linux"
}

// command is how a node is started. Everything that is not an address, a name
// or a folder is left at its default.
func (c *cluster) command(bin string, m *member) []string {
	data := filepath.Join(c.dir, m.name)
	peers := make([]string, len(c.members))
	if c.system == sysDnode {
		for i, p := range c.members {
			peers[i] = p.name + "=" + p.peer
		}
		return []string{
			bin, "serve", "--name", m.name, "--data-dir", data, "--listen", m.client, "--peer-listen", m.peer,
			"--http", m.http, "--cluster", strings.Join(peers, ","),
		}
	}
	for i, p := range c.members {
		peers[i] = p.name + "=http://" + p.peer
	}
	return []string{
		bin, "--name", m.name, "--data-dir", data,
		"--listen-client-urls", "http://" + m.client, "--advertise-client-urls", "http://" + m.client,
		"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.peer,
		"--initial-cluster", strings.Join(peers, ","),
	}
}

// await waits until every node says that it is ready and one that it leads.
func (c *cluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	path := "/readyz"
	if c.system != sysDnode {
		path = "/health"
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.look(ctx, path)
		if err == nil {
			return nil
		}
		for _, m := range c.members {
			if err := m.proc.ended(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot start %s: %w; %w", c.system, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// look fails unless all nodes are ready and one leads.
func (c *cluster) look(ctx context.Context, path string) error {
	for _, m := range c.members {
		if _, err := fetch(ctx, "http://"+m.http+path); err != nil {
			return err
		}
	}
	for i, m := range c.members {
		s, err := scrape(ctx, "http://"+m.http+"/metrics")
		if err != nil {
			return err
		}
		if s["dnode_raft_is_leader"]+s["etcd_server_is_leader"] == 1 {
			c.leader = i
			return nil
		}
	}
	return errors.New("nobody leads")
}

// endpoints are the client addresses, the leader's first.
func (c *cluster) endpoints() []string {
	var all []string
	for i := range c.members {
		all = append(all, c.members[(c.leader+i)%len(c.members)].client)
	}
	return all
}

// stop ends the nodes and removes their data. Their logs go with it.
func (c *cluster) stop() {
	var ps []*process
	for _, m := range c.members {
		if m.proc != nil {
			ps = append(ps, m.proc)
		}
	}
	c.group.stop(ps...)
	_ = os.RemoveAll(c.dir) // the next start empties it or says why not
}

// used reads what every process has used.
func (c *cluster) used() []usage {
	us := make([]usage, len(c.members))
	for i, m := range c.members {
		us[i] = usageOf(m.proc.pid())
	}
	return us
}

// counted reads every node's metrics.
func (c *cluster) counted(ctx context.Context) ([]samples, error) {
	all := make([]samples, len(c.members))
	for i, m := range c.members {
		s, err := scrape(ctx, "http://"+m.http+"/metrics")
		if err != nil {
			return nil, err
		}
		all[i] = s
	}
	return all, nil
}

// Metrics that count syncs of the disk. dnode_wal_sync_seconds counts those of
// the log; etcd syncs its log and commits its database.
var syncCounters = []string{
	"dnode_wal_sync_seconds_count", "dnode_wal_votes_total",
	"etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count",
}

// Metrics that count changes of the leader.
var electionCounters = []string{"dnode_raft_leader_changes_total", "etcd_server_leader_changes_seen_total"}

// grown is how much counters have grown between two scrapes.
func grown(before, after samples, names []string) float64 {
	sum := 0.0
	for _, n := range names {
		sum += after[n] - before[n]
	}
	return sum
}
