package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// tracedFS notes which values were written to which log and then synced.
type tracedFS struct {
	FS
	tr   *trace
	node int
}

type trace struct {
	mu      sync.Mutex
	written [3]map[string]bool
	synced  [3]map[string]bool
	hold    [3]chan struct{} // not nil: syncs of that node wait
	waiting [3]int
}

type tracedFile struct {
	wal.File
	fs *tracedFS
}

func (f *tracedFS) wrap(name string, file wal.File, err error) (wal.File, error) {
	if err != nil || !strings.HasSuffix(name, ".seg") {
		return file, err
	}
	return &tracedFile{file, f}, nil
}

func (f *tracedFS) Create(name string) (wal.File, error) {
	file, err := f.FS.Create(name)
	return f.wrap(name, file, err)
}

func (f *tracedFS) Open(name string) (wal.File, error) {
	file, err := f.FS.Open(name)
	return f.wrap(name, file, err)
}

// WriteAt notes every value "<n>" in what is written.
func (f *tracedFile) WriteAt(p []byte, off int64) (int, error) {
	tr := f.fs.tr
	tr.mu.Lock()
	for rest := string(p); ; {
		_, after, found := strings.Cut(rest, "<value ")
		if !found {
			break
		}
		if value, _, closed := strings.Cut(after, ">"); closed {
			tr.written[f.fs.node][value] = true
		}
		rest = after
	}
	tr.mu.Unlock()
	return f.File.WriteAt(p, off)
}

// Sync notes what was written before it began and is durable when it returns.
func (f *tracedFile) Sync() error {
	tr, i := f.fs.tr, f.fs.node
	tr.mu.Lock()
	var before []string
	for v := range tr.written[i] {
		before = append(before, v)
	}
	hold := tr.hold[i]
	if hold != nil {
		tr.waiting[i]++
	}
	tr.mu.Unlock()
	if hold != nil {
		<-hold
	}
	err := f.File.Sync()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, v := range before {
		if err == nil {
			tr.synced[i][v] = true
		}
	}
	return err
}

func (tr *trace) copies(value string) (n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i := range tr.synced {
		if tr.synced[i][value] {
			n++
		}
	}
	return n
}

func newTrace() *trace {
	tr := &trace{}
	for i := range tr.written {
		tr.written[i], tr.synced[i] = map[string]bool{}, map[string]bool{}
	}
	return tr
}

func (tr *trace) fs(i int) func(string) (FS, error) {
	return func(dir string) (FS, error) {
		fs, err := osfs.Open(dir)
		if err != nil {
			return nil, err
		}
		return &tracedFS{FS: fs, tr: tr, node: i}, nil
	}
}

// A write is answered only after two of three nodes have synced the group that
// holds it; and while the disks of two nodes hang, it is not. These two need not be
// the leader, unless it is its loop that waits.
func TestSyncComesBeforeTheAnswer(t *testing.T) {
	syncComesBeforeTheAnswer(t, false)
	syncComesBeforeTheAnswer(t, true)
}

func syncComesBeforeTheAnswer(t *testing.T, onLoop bool) {
	t.Helper()
	tr := newTrace()
	c := newCluster(t, 3, func(i int, cfg *Config) {
		cfg.OpenFS = tr.fs(i)
		cfg.ElectionTicks = 100 // a hanging disk is no reason for an election here
	})
	lead := c.leader()
	conn := mustConnect(t, lead.ClientAddr())
	for i := range 100 {
		v := fmt.Sprint(i)
		if err := conn.put("k", "<value "+v+">"); err != nil {
			t.Fatal(err)
		}
		if n := tr.copies(v); n < 2 {
			t.Fatalf("write %d was answered with %d synced copies", i, n)
		}
	}
	first := c.index(lead)
	if !onLoop {
		first++
	}
	for _, n := range c.nodes {
		n.onLoop(t, onLoop)
	}
	holds := tr.holdAll()
	if _, err := conn.Write(conn.putFrame("k", "<value held>")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all three syncs to hang", func() error { return tr.allWaiting() })
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if f, err := conn.next(); err == nil || isCode(err, wire.CodeUnknown) {
		t.Fatalf("answered by %v %v while every sync hangs", f.Type, err)
	}
	close(holds[first%3])
	close(holds[(first+1)%3])
	if err := conn.SetReadDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	if f, err := conn.next(); err != nil || f.Type != wire.FrameWriteReply {
		t.Fatalf("answered by %v %v after two syncs", f.Type, err)
	}
	if n := tr.copies("held"); n != 2 {
		t.Errorf("answered with %d synced copies", n)
	}
	close(holds[(first+2)%3])
}

func (tr *trace) holdAll() (holds [3]chan struct{}) {
	for i := range holds {
		holds[i] = tr.holdNode(i)
	}
	return holds
}

// holdNode makes every later sync of one node wait until the channel is closed.
func (tr *trace) holdNode(i int) chan struct{} {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hold[i] = make(chan struct{})
	return tr.hold[i]
}

// release lets syncs that have not begun pass.
func (tr *trace) release(i int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hold[i] = nil
}

func (tr *trace) allWaiting() error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i, n := range tr.waiting {
		if n == 0 {
			return fmt.Errorf("node %d does not sync", i)
		}
	}
	return nil
}

// failingFS fails every sync of a log segment once it is told to.
type failingFS struct {
	FS
	broken *atomic.Bool
}

type failingFile struct {
	wal.File
	broken *atomic.Bool
}

func (f failingFS) Open(name string) (wal.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".seg") {
		return file, err
	}
	return &failingFile{file, f.broken}, nil
}

var errBroken = errors.New("the disk is broken")

func (f *failingFile) Sync() error {
	if f.broken.Load() {
		return errBroken
	}
	return f.File.Sync()
}

// A leader whose disk fails steps aside at once: it stays up, says that it is
// fenced, and another one takes over. What was not known to be durable is
// unknown, not failed.
func TestFailedDiskFences(t *testing.T) {
	var broken [3]atomic.Bool
	c := newCluster(t, 3, func(i int, cfg *Config) {
		cfg.OpenFS = func(dir string) (FS, error) {
			fs, err := osfs.Open(dir)
			return failingFS{fs, &broken[i]}, err
		}
	})
	c.put("k", "v")
	lead := c.leader()
	conn := mustConnect(t, lead.ClientAddr())
	broken[c.index(lead)].Store(true)
	if err := conn.put("k2", "v"); err != nil && !isCode(err, wire.CodeUnknown) {
		t.Errorf("write on a failing disk: %v", err)
	}
	eventually(t, "the fence", func() error {
		if err := lead.Err(); !errors.Is(err, errBroken) {
			return fmt.Errorf("node says %w", err)
		}
		if st := lead.Status(); st.State != wire.StateFenced {
			return fmt.Errorf("state %v", st.State)
		}
		return nil
	})
	if reasons := strings.Join(lead.notReady(), " "); !strings.Contains(reasons, errBroken.Error()) {
		t.Errorf("ready with a failed disk: %s", reasons)
	}
	if err := conn.put("k3", "v"); !isCode(err, wire.CodeFenced) {
		t.Errorf("write to a fenced node: %v", err)
	}
	if got, err := conn.get(wire.Stale, "k"); err != nil || got != "v" {
		t.Errorf("stale read from a fenced node: %q, %v", got, err)
	}
	fenced := c.index(lead)
	c.nodes[fenced] = nil
	c.put("k4", "v")
	lead.Kill()
	broken[fenced].Store(false)
	c.nodes[fenced] = start(t, c.cfgs[fenced])
	c.wantGet(c.nodes[fenced], wire.Stale, "k4", "v")
}

// A seal that fails while nothing is written fences, too: nobody waits for the
// next write to learn that there is no disk.
func TestFailedSealFences(t *testing.T) {
	var broken atomic.Bool
	cfg := testConfig(t, "n1")
	cfg.OpenFS = func(dir string) (FS, error) {
		fs, err := osfs.Open(dir)
		return failingFS{fs, &broken}, err
	}
	n := start(t, cfg)
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	broken.Store(true)
	eventually(t, "the fence", func() error {
		if err := n.Err(); !errors.Is(err, errBroken) {
			return fmt.Errorf("node says %w", err)
		}
		return nil
	})
}

// A member that hangs in its disk does not keep the others from going on.
func TestHangingFollowerDisk(t *testing.T) {
	tr := newTrace()
	c := newCluster(t, 3, func(i int, cfg *Config) { cfg.OpenFS = tr.fs(i) })
	c.put("k", "v")
	lead := c.leader()
	slow := (c.index(lead) + 1) % 3
	hold := tr.holdNode(slow)
	for i := range 20 {
		c.put(fmt.Sprintf("k%d", i), "v")
	}
	tr.release(slow)
	close(hold)
	eventually(t, "the slow member to catch up", func() error { return c.converged(22) })
}

// A founder that was away when the others began joins them with the folder it
// said hello with.
func TestLateFounderJoins(t *testing.T) {
	addrs, giveBack := reserve(t, 3)
	list := map[string]string{"n1": addrs[0], "n2": addrs[1], "n3": addrs[2]}
	c := &testCluster{t: t, nodes: make([]*Node, 3)}
	tr := newTrace()
	for i := range 3 {
		cfg := testConfig(t, fmt.Sprintf("n%d", i+1))
		cfg.PeerListen, cfg.Cluster = addrs[i], list
		cfg.OpenFS = tr.fs(i)
		c.cfgs = append(c.cfgs, cfg)
	}
	for i := range giveBack {
		giveBack[i]()
	}
	c.nodes[2] = start(t, c.cfgs[2]) // draws its replica id
	identity := filepath.Join(c.cfgs[2].DataDir, "identity")
	fresh, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	hold := tr.holdNode(2) // it says hello, and acknowledges nothing
	c.nodes[0], c.nodes[1] = start(t, c.cfgs[0]), start(t, c.cfgs[1])
	c.put("k", "v")
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		c.nodes[2].Kill()
	}()
	eventually(t, "the kill", func() error {
		if !c.nodes[2].loop.killed.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	close(hold)
	<-killed
	for _, path := range []string{"wal", "vote", "identity"} { // back to the moment of its first hello
		if err := os.RemoveAll(filepath.Join(c.cfgs[2].DataDir, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(identity, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	tr.release(2)
	c.nodes[2] = start(t, c.cfgs[2])
	c.wantGet(c.nodes[2], wire.Stale, "k", "v")
	eventually(t, "the cluster to be recorded", func() error {
		if got, want := c.nodes[2].self.Load().cluster, c.nodes[0].self.Load().cluster; got != want {
			return fmt.Errorf("n3 is in cluster %s, n1 in %s", got, want)
		}
		return nil
	})
}

// onLoop makes a node sync on its loop, or on the goroutine, from now on.
func (n *Node) onLoop(t *testing.T, yes bool) {
	t.Helper()
	if !yes {
		n.disk.average.Store(1 << 50)
		return
	}
	eventually(t, "segments to be prepared", func() error {
		n.disk.average.Store(0)
		if n.disk.behind.Load() || !n.disk.tryOwn() {
			return errors.New("not yet")
		}
		defer n.disk.disown()
		if n.disk.store.Log().Spares() == 0 {
			return errors.New("none yet")
		}
		return nil
	})
}

// A disk that hangs does not hang Shutdown for ever, and is not fooled into
// letting another node use its folder.
func TestShutdownWithHangingDisk(t *testing.T) {
	f := func(onLoop bool) {
		t.Helper()
		tr := newTrace()
		cfg := testConfig(t, "n1")
		cfg.OpenFS = tr.fs(0)
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := mustConnect(t, n.ClientAddr())
		eventually(t, "put", func() error { return c.put("k", "v") })
		n.onLoop(t, onLoop)
		hold := tr.holdNode(0)
		if _, err := c.Write(c.putFrame("k", "w")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the sync to hang", func() error {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			if tr.waiting[0] == 0 || (n.disk.inlineAt.Load() != 0) != onLoop {
				return errors.New("no sync waits")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n.Shutdown(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "has not returned") {
			t.Errorf("shutdown with a hanging disk: %v", err)
		}
		cfg.OpenFS = nil
		if again, err := Start(t.Context(), cfg); !errors.Is(err, wal.ErrLocked) {
			again.Kill()
			t.Errorf("second node on the folder: %v", err)
		}
		close(hold)
		<-n.disk.ended
		<-n.loopDone
		if err := n.fs.Close(); err != nil {
			t.Error(err)
		}
	}
	f(true)
	f(false)
}

// overwrite writes to a file of a folder.
func overwrite(t *testing.T, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// firstSlot returns the first slot of a folder's vote file.
func firstSlot(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "vote"))
	if err != nil || len(b) < 512 {
		t.Fatal(len(b), err)
	}
	return b[:512]
}

// One slot of the vote is enough: a node starts with the other damaged, and
// says so.
func TestDamagedVoteSlot(t *testing.T) {
	for i := range int64(2) {
		cfg := testConfig(t, "n1")
		n := start(t, cfg)
		conn := mustConnect(t, n.ClientAddr())
		eventually(t, "put", func() error { return conn.put("k", "v") })
		shutdown(t, n)
		overwrite(t, filepath.Join(cfg.DataDir, "vote"), 4096*i+16, []byte("damaged"))
		log := &testLog{}
		cfg.Logger = log.logger()
		n = start(t, cfg)
		if !strings.Contains(log.String(), "event=vote.mended") {
			t.Error("nobody is told of the damage")
		}
		conn = mustConnect(t, n.ClientAddr())
		eventually(t, "what was there before", func() error {
			_, err := conn.get(wire.Linearizable, "k")
			return err
		})
		shutdown(t, n)
	}
}

// A single node that may have forgotten a vote does not start, and says what to do.
func TestLostVoteWriteAlone(t *testing.T) {
	cfg := testConfig(t, "n1")
	n := start(t, cfg)
	conn := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return conn.put("k", "v") })
	shutdown(t, n)
	old := firstSlot(t, cfg.DataDir)
	shutdown(t, start(t, cfg)) // it has voted for itself once more
	overwrite(t, filepath.Join(cfg.DataDir, "vote"), 0, old)
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrAbstain) || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("single node with a damaged vote: %v", err)
	}
	if err := os.Remove(filepath.Join(cfg.DataDir, "vote")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the advice holds, and for good
		n = start(t, cfg)
		conn = mustConnect(t, n.ClientAddr())
		eventually(t, "what was there before", func() error {
			_, err := conn.get(wire.Linearizable, "k")
			return err
		})
		shutdown(t, n)
	}
}

// One of three that may have forgotten a vote starts, and takes part again once it
// has heard from a leader.
func TestLostVoteWriteOfMember(t *testing.T) {
	log := &testLog{}
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.Logger = log.logger() })
	c.put("k", "v")
	first := c.index(c.leader())
	i := (first + 1) % 3
	old := firstSlot(t, c.cfgs[i].DataDir)
	c.nodes[first].Kill()
	c.nodes[first] = nil
	c.put("k1", "v1") // with a new leader, for which both others have voted
	c.nodes[first] = start(t, c.cfgs[first])
	c.wantGet(c.nodes[first], wire.Stale, "k1", "v1")
	c.nodes[i].Kill()
	overwrite(t, filepath.Join(c.cfgs[i].DataDir, "vote"), 0, old)
	c.nodes[i] = start(t, c.cfgs[i])
	if !strings.Contains(log.String(), "event=vote.abstain") {
		t.Error("it does not abstain")
	}
	c.put("k2", "v2")
	c.wantGet(c.nodes[i], wire.Stale, "k2", "v2")
	eventually(t, "the member to take part again", func() error {
		if st := c.nodes[i].Status(); st.State != wire.StateOK {
			return fmt.Errorf("state %v", st.State)
		}
		return nil
	})
}

// A member that has lost both slots of its vote, or the file, stays out, however
// often it is started; the others go on.
func TestForgottenVote(t *testing.T) {
	f := func(lose func(vote string) error) {
		t.Helper()
		c := newCluster(t, 3, nil)
		c.put("k", "v")
		i := (c.index(c.leader()) + 1) % 3
		c.nodes[i].Kill()
		if err := lose(filepath.Join(c.cfgs[i].DataDir, "vote")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			n, err := Start(t.Context(), c.cfgs[i])
			if n != nil {
				n.Kill()
			}
			if !errors.Is(err, ErrAbstain) || !strings.Contains(err.Error(), "stays out") {
				t.Errorf("member without a vote: %v", err)
			}
		}
		c.put("k2", "v2")
	}
	f(os.Remove)
	f(func(vote string) error { return os.WriteFile(vote, make([]byte, 8192), 0o600) })
}

// A leader whose disk hangs loses its leadership, though it still could send
// heartbeats, and follows again when the disk is back.
func TestHangingLeaderDisk(t *testing.T) {
	tr := newTrace()
	c := newCluster(t, 3, func(i int, cfg *Config) { cfg.OpenFS = tr.fs(i) })
	c.put("k", "v")
	lead := c.leader()
	i := c.index(lead)
	hold := tr.holdNode(i)
	conn := mustConnect(t, lead.ClientAddr())
	if _, err := conn.Write(conn.putFrame("k", "during")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another leader", func() error {
		for j, n := range c.nodes {
			if st := n.Status(); j != i && st.Role == wire.RoleLeader {
				return nil
			}
		}
		return errors.New("none")
	})
	tr.release(i)
	close(hold)
	c.put("k2", "after")
	c.wantGet(lead, wire.Stale, "k2", "after")
}

// A disk that stalls for the least election timeout while the loop waits for it: a
// follower rides it out, and a leader is at most replaced. Nobody who was held up so
// long takes the others' silence for theirs.
func TestStallOnTheLoop(t *testing.T) {
	tr := newTrace()
	c := newCluster(t, 3, func(i int, cfg *Config) { cfg.OpenFS = tr.fs(i) })
	c.put("k", "v")
	stall := func(i int) {
		t.Helper()
		n := c.nodes[i]
		n.onLoop(t, true)
		conn := mustConnect(t, c.leader().ClientAddr())
		hold := tr.holdNode(i)
		if _, err := conn.Write(conn.putFrame("k", "during")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loop to wait", func() error {
			if n.disk.inlineAt.Load() == 0 {
				return errors.New("not yet")
			}
			return nil
		})
		<-time.After(time.Duration(n.cfg.electionNanos()))
		tr.release(i)
		close(hold)
		c.put("k", "after")
		c.wantGet(n, wire.Stale, "k", "after")
	}
	lead := c.leader()
	term := lead.Status().Term
	stall((c.index(lead) + 1) % 3)
	if st := c.leader().Status(); st.Term != term || c.leader() != lead {
		t.Errorf("the stall of a follower: term %d, was %d", st.Term, term)
	}
	stall(c.index(lead))
	after := c.leader().Status().Term
	if after > term+2 { // two in case of a split vote
		t.Errorf("the stall of the leader: term %d, was %d", after, term)
	}
	t.Logf("terms: %d, then %d", term, after)
}

// A single node whose disk hangs leads on: a write waits, and the node says that it
// is not ready and why. The write is answered in the end. Reads are served unless
// it is the loop that waits.
func TestHangingSoleDisk(t *testing.T) {
	hangingSoleDisk(t, false)
	hangingSoleDisk(t, true)
}

func hangingSoleDisk(t *testing.T, onLoop bool) {
	t.Helper()
	tr, said := newTrace(), &testLog{}
	cfg := testConfig(t, "n1")
	cfg.OpenFS, cfg.Logger, cfg.ElectionTicks = tr.fs(0), said.logger(), 20
	n := start(t, cfg)
	conn := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return conn.put("k", "v") })
	n.onLoop(t, onLoop)
	hold := tr.holdNode(0)
	back := sync.OnceFunc(func() { tr.release(0); close(hold) })
	t.Cleanup(back)
	writer := mustConnect(t, n.ClientAddr())
	answered := make(chan error, 1)
	go func() { answered <- writer.put("k", "during") }()
	eventually(t, "the node to say that its disk hangs", func() error {
		if reasons := strings.Join(n.notReady(), " "); !strings.Contains(reasons, "the disk does not return") {
			return fmt.Errorf("not ready because: %q", reasons)
		}
		return nil
	})
	if onLoop != (n.disk.inlineAt.Load() != 0) {
		t.Errorf("the loop waits since %d, want %v", n.disk.inlineAt.Load(), onLoop)
	}
	if !onLoop {
		if _, err := conn.get(wire.Linearizable, "k"); err != nil || n.Status().Role != wire.RoleLeader {
			t.Errorf("read: %v; role %v", err, n.Status().Role)
		}
	}
	back()
	if err := <-answered; err != nil {
		t.Errorf("write: %v", err)
	}
	eventually(t, "the node to be ready again", func() error {
		if reasons, text := n.notReady(), said.String(); len(reasons) > 0 || !strings.Contains(text, "disk.hangs") || !strings.Contains(text, "disk.returned") {
			return fmt.Errorf("not ready because of %q; said %s", reasons, text)
		}
		return nil
	})
}
