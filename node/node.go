package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// Errors that callers decide by.
var (
	// ErrIdentity is wrapped when a data folder belongs to another node.
	ErrIdentity = errors.New("data folder belongs to another node")
	// ErrAbstain is wrapped when a node cannot know how it voted: a single one, or
	// a member that has nothing left of its vote.
	ErrAbstain = errors.New("the vote file is damaged")
)

// Node is one running member. Its methods may be called from any goroutine.
type Node struct {
	cfg     Config
	log     *slog.Logger
	fs      FS
	store   *wal.Store
	loop    *loop
	disk    *diskLoop
	admin   *admin
	gnet    *gnet.Client
	anchor  net.Conn // the outer end: see the type
	started time.Time

	cutBytes int64 // of the log's end, by recovery

	places               places
	client, peer         *port
	clientAddr, peerAddr string // listened on, with real ports

	self      atomic.Pointer[self]
	lastTick  atomic.Int64 // monotonic nanoseconds
	published published

	kick     chan struct{} // capacity 1: the loop wants another turn after polling
	kicker   *time.Timer   // kicks later
	tickStop chan struct{}
	tickWG   sync.WaitGroup
	loopDone chan struct{} // gnet's loop has ended
	linkCtx  context.Context
	linkStop context.CancelFunc
	linkWG   sync.WaitGroup

	mu       sync.Mutex
	err      error // first failure
	stopping bool
	failure  chan struct{} // closed by fail
	done     chan struct{} // closed when everything has ended
}

// Start opens the data folder, recovers, and serves. It returns once both
// ports are open; a cluster that is founded for the first time waits for its
// other members in the background. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger.With("node", cfg.Name), started: time.Now(),
		kick: make(chan struct{}, 1), tickStop: make(chan struct{}), loopDone: make(chan struct{}),
		failure: make(chan struct{}), done: make(chan struct{}),
	}
	n.kicker = time.AfterFunc(0, n.kickLoop)
	if err := n.budgetFiles(); err != nil {
		return nil, fmt.Errorf("cannot start node %s: %w", cfg.Name, err)
	}
	n.linkCtx, n.linkStop = context.WithCancel(context.Background())
	if err := n.start(ctx); err != nil {
		return nil, fmt.Errorf("cannot start node %s: %w", cfg.Name, err)
	}
	go n.watch()
	return n, nil
}

// budgetFiles lowers the limit on connections to what descriptors there are.
func (n *Node) budgetFiles() error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("cannot learn the limit on open files: %w", err)
	}
	l := &n.cfg.Limits
	var err error
	if n.places, err = placesFor(lim.Cur, l.Connections); err != nil {
		return err
	}
	if l.Connections > n.places.clients {
		n.log.Warn("fewer connections than asked for: raise the limit on open files (ulimit -n)", "event", "start.files", "open_files", lim.Cur, "need", l.Connections+fullReserve, "asked", l.Connections, "connections", n.places.clients)
		l.Connections = n.places.clients
	}
	return nil
}

func (n *Node) start(ctx context.Context) error {
	open := n.cfg.OpenFS
	if open == nil {
		open = func(dir string) (FS, error) { return osfs.Open(dir) }
	}
	fs, err := open(n.cfg.DataDir)
	if err != nil {
		return err // it names the folder
	}
	n.fs = fs
	if err := n.recover(ctx); err != nil {
		n.linkStop()
		if n.store != nil {
			err = errors.Join(err, n.store.Close())
		}
		return errors.Join(err, fs.Close())
	}
	return nil
}

// recover reads what the folder holds and brings the node up on it.
func (n *Node) recover(ctx context.Context) error {
	id, err := n.identity()
	if err != nil {
		return err
	}
	opt := wal.Options{SegmentBytes: n.cfg.SegmentBytes, Owner: id.Replica}
	store, rec, votes, err := wal.OpenStore(n.fs, opt)
	if votes.Mended && !votes.Abstain {
		n.log.Warn("one slot of the vote file was damaged: the other holds every vote that was relied on, and was written over it", "event", "vote.mended")
	}
	if err != nil {
		return fmt.Errorf("cannot recover data folder %s: %w", n.cfg.DataDir, err)
	}
	n.store = store
	if rec.Cut != nil {
		n.cutBytes = rec.Cut.Bytes
		n.log.Error("the end of the log was cut", "event", "wal.cut", "what", rec.Cut.String())
	}
	if rec.Fenced {
		n.log.Warn("the disk failed when this folder was last used; everything was read again past the cache", "event", "wal.fenced")
	}
	st, err := disk.Recovered(rec, votes, wire.Membership{})
	if err != nil {
		return fmt.Errorf("cannot recover data folder %s: %w", n.cfg.DataDir, err)
	}
	if err := n.checkState(&id, &st); err != nil {
		return err
	}
	if err := n.checkVote(&st, votes.Fresh); err != nil {
		return err
	}
	n.log.Info("data folder recovered", "event", "start.recovered", "dir", n.cfg.DataDir, "first", uint64(rec.First), "last", uint64(rec.Last), "term", uint64(votes.Vote.Term))
	return n.bringUp(ctx, opt, &id, &st)
}

// identity loads who the folder belongs to, or makes it this node's.
func (n *Node) identity() (wal.Identity, error) {
	id, err := wal.LoadIdentity(n.fs)
	switch {
	case errors.Is(err, wal.ErrNotExist):
		if err := n.checkEmpty(); err != nil {
			return id, err
		}
		id = wal.Identity{Name: n.cfg.Name}
		fillRandom(id.Replica[:])
		if err := wal.SaveIdentity(n.fs, id); err != nil {
			return id, fmt.Errorf("cannot make data folder %s this node's: %w", n.cfg.DataDir, err)
		}
		return id, nil
	case err != nil:
		return id, fmt.Errorf("cannot read whose data folder %s is: %w", n.cfg.DataDir, err)
	case id.Name != n.cfg.Name:
		return id, fmt.Errorf("%w: %s belongs to %q, this node is %q: use that name or another folder", ErrIdentity, n.cfg.DataDir, id.Name, n.cfg.Name)
	}
	return id, nil
}

// checkEmpty makes sure that a folder without an identity holds nothing that
// had one: its owner must not be forgotten.
func (n *Node) checkEmpty() error {
	segments, err := n.fs.List("wal")
	if err != nil && !errors.Is(err, wal.ErrNotExist) {
		return fmt.Errorf("cannot look into data folder %s: %w", n.cfg.DataDir, err)
	}
	names, err := n.fs.List("")
	if err != nil {
		return fmt.Errorf("cannot look into data folder %s: %w", n.cfg.DataDir, err)
	}
	if len(segments) > 0 || slices.Contains(names, "vote") {
		return fmt.Errorf("%w: %s holds a log or vote, but the file %q that says whose is missing: bring it back, or use another --data-dir for a new node", ErrIdentity, n.cfg.DataDir, "identity")
	}
	return nil
}

func fillRandom(b []byte) { _, _ = rand.Read(b) } // never fails

// checkState refuses folders that contradict themselves or this node.
func (n *Node) checkState(id *wal.Identity, st *raft.State) error {
	m := &st.Members
	if st.MembersIndex == 0 {
		if !id.Cluster.IsZero() {
			return fmt.Errorf("data folder %s belongs to cluster %s, but its log holds no configuration: files are missing: bring them back from a copy that is not older; without one this node stays out, and the others go on without it if they are a majority", n.cfg.DataDir, id.Cluster)
		}
		return nil
	}
	me := m.FindName(n.cfg.Name)
	if me == nil || me.Replica != id.Replica || id.ID != 0 && id.ID != me.ID {
		return fmt.Errorf("%w: the log in %s does not know replica %s under the name %q", ErrIdentity, n.cfg.DataDir, id.Replica, n.cfg.Name)
	}
	if len(n.cfg.Cluster) > 0 {
		if have := membersText(m); n.cfg.clusterText() != have {
			n.log.Warn("the list of members differs from the cluster's own, which holds", "event", "start.flags", "listed", n.cfg.clusterText(), "cluster_has", have)
		}
	}
	return nil
}

// membersText is a configuration in the form of the command line's list.
func membersText(m *wire.Membership) string {
	c := Config{Cluster: map[string]string{}}
	for i := range m.Members {
		c.Cluster[m.Members[i].Name] = m.Members[i].PeerAddr
	}
	return c.clusterText()
}

// checkVote decides about a node that may have forgotten a vote. One of several
// abstains until it has heard from a leader; if not even one slot is left to say
// which terms it has voted in, it stays out: see raft's Decisions. A sole one would
// wait for ever: it stops, until its operator has removed the file, which is consent.
func (n *Node) checkVote(st *raft.State, missing bool) error {
	members := max(1, len(n.cfg.Cluster))
	if st.MembersIndex != 0 {
		members = len(st.Members.Members)
	}
	switch {
	case !st.Abstain:
		return nil
	case members > 1 && st.Vote.Term == 0:
		return fmt.Errorf("%w in %s: nothing is left of how this node voted, so that it could help to commit what its vote has ruled out: bring the file %q back from a copy that is not older; without one this node stays out, and the others go on without it if they are a majority", ErrAbstain, n.cfg.DataDir, "vote")
	case members > 1:
		n.log.Error("a write of the vote was lost: this node does not vote until it has heard from a leader", "event", "vote.abstain")
		return nil
	case !missing:
		return fmt.Errorf("%w in %s, and a single node has no leader to learn from: if no other node ever used this folder or a copy of it, remove the file %q there and start again", ErrAbstain, n.cfg.DataDir, "vote")
	}
	n.log.Warn("starting without the vote file, which was removed", "event", "vote.removed", "term", uint64(st.Vote.Term))
	// A sole voter has nobody to learn from, and nobody that it could have voted for.
	st.Abstain, st.Vote.Abstain = false, false
	return n.store.SaveVote(st.Vote)
}

// bringUp opens the ports and starts every goroutine.
func (n *Node) bringUp(ctx context.Context, opt wal.Options, id *wal.Identity, st *raft.State) error {
	if n.cfg.misdirects() {
		n.log.Warn("members are told another address than this node listens on: unless something forwards it they cannot call; look at --peer-listen and --cluster", "event", "start.address", "told", n.cfg.PeerAdvertise, "listens", n.cfg.PeerListen)
	}
	if err := n.openPorts(ctx); err != nil {
		return err
	}
	if err := n.serve(opt, id, st); err != nil {
		n.client.close()
		n.peer.close()
		if n.admin != nil {
			_ = n.admin.ln.Close()
		}
		return err
	}
	n.log.Info("serving", "event", "start.serving", "clients", n.clientAddr, "peers", n.peerAddr, "http", n.HTTPAddr())
	return nil
}

// serve starts every goroutine; those that accept come last.
func (n *Node) serve(opt wal.Options, id *wal.Identity, st *raft.State) error {
	if n.cfg.HTTP != "" {
		a, err := newAdmin(n, n.cfg.HTTP)
		if err != nil {
			return err
		}
		n.admin = a
	}
	n.disk = newDiskLoop(n.fs, opt, n.log, n.store)
	n.loop = &loop{
		n: n, cfg: &n.cfg, log: n.log, disk: n.disk,
		lastTick: monotonic(),
	}
	n.disk.done = n.loop.stored
	n.disk.space = func(full bool) {
		n.loop.call(func(l *loop) {
			if l.rep != nil {
				l.event()
				l.rep.Space(full)
			}
		})
	}
	n.lastTick.Store(monotonic())
	if err := n.startLoop(); err != nil {
		return err
	}
	launched := make(chan error, 1)
	n.loop.call(func(l *loop) { launched <- l.begin(id, st) })
	var err error
	select {
	case err = <-launched:
	case <-n.loopDone:
		err = errLoopEnded
	}
	if err != nil {
		n.stopLoop()
		return err
	}
	go n.disk.run()
	n.tickWG.Go(n.ticker)
	if n.admin != nil {
		go n.admin.serve()
	}
	go n.client.run()
	go n.peer.run()
	return nil
}

// begin gives the loop its state. It runs on the loop.
func (l *loop) begin(id *wal.Identity, st *raft.State) error {
	if err := l.identify(id, st); err != nil {
		return err
	}
	l.publish()
	return nil
}

func (l *loop) identify(id *wal.Identity, st *raft.State) error {
	n, names := l.n, l.cfg.clusterNames()
	s := &self{
		name: id.Name, replica: id.Replica, list: l.cfg.Cluster, cluster: id.Cluster,
		clientAddr: l.cfg.Advertise, peerAddr: l.cfg.PeerAdvertise,
		bootstrap: bootstrapHash(names, func(name string) string { return l.cfg.Cluster[name] }),
	}
	orDefault(&s.clientAddr, dialable(n.clientAddr))
	orDefault(&s.peerAddr, dialable(n.peerAddr))
	if l.cfg.Advertise == "" && s.clientAddr != n.clientAddr {
		l.log.Warn("clients elsewhere are told a loopback address: advertise one that they can reach", "event", "start.advertise", "advertised", s.clientAddr)
	}
	l.publishSelf(s)
	l.recorded = !id.Cluster.IsZero()
	l.founder = &founder{heard: map[string]wire.HelloAck{}}
	l.state = func(boot wire.Membership) (*replica.Replica, error) { return n.newReplica(st, boot) }
	switch {
	case st.MembersIndex != 0:
		return l.launch(wire.Membership{})
	case len(names) < 2:
		return l.launch(l.founder.bootstrap(s, []string{s.name}))
	}
	l.log.Info("founding a cluster", "event", "founding.wait", "for", l.foundingText())
	l.dialMembers()
	return nil
}

func (n *Node) newReplica(st *raft.State, boot wire.Membership) (*replica.Replica, error) {
	if st.MembersIndex == 0 {
		st.Members = boot
	}
	me := st.Members.FindName(n.cfg.Name)
	if me == nil {
		return nil, fmt.Errorf("%w: %q is not in the configuration", ErrIdentity, n.cfg.Name)
	}
	var seed [8]byte
	fillRandom(seed[:])
	cfg := replica.Config{
		Name: n.cfg.Name,
		Raft: raft.Config{
			ID: me.ID, ElectionTicks: n.cfg.ElectionTicks, HeartbeatTicks: n.cfg.HeartbeatTicks,
			LeaseNanos: n.cfg.LeaseNanos, Seed: binary.LittleEndian.Uint64(seed[:]),
			MaxAppendBytes:      wire.MaxAppendBytes / 4,
			MaxInflightBytes:    n.cfg.Limits.InflightBytes,
			MaxUncommittedBytes: n.cfg.Limits.UncommittedBytes,
			TailBytes:           n.cfg.Limits.TailBytes,
		},
	}
	cfg.ClientAddr = n.self.Load().clientAddr
	fillRandom(cfg.NewCluster[:])
	var sm replica.StateMachine = kv.New()
	if n.cfg.NewStateMachine != nil {
		sm = n.cfg.NewStateMachine()
	}
	return replica.New(cfg, sm, *st)
}

// ticker posts ticks, and turns that the loop wants after it has polled.
func (n *Node) ticker() {
	t := time.NewTicker(n.cfg.TickInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-n.kick:
		case <-n.tickStop:
			return
		}
		n.loop.watchDisk()
		n.loop.post()
	}
}

// kickLoopIn is kickLoop after a while. A later call takes the place of an
// earlier one.
func (n *Node) kickLoopIn(d time.Duration) { n.kicker.Reset(d) }

// kickLoop asks for another turn. A turn that the loop scheduled itself would
// come before it looks at its sockets.
func (n *Node) kickLoop() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// ClientAddr returns the address that clients connect to, with its real port.
func (n *Node) ClientAddr() string { return n.clientAddr }

// PeerAddr returns the address that members connect to, with its real port.
func (n *Node) PeerAddr() string { return n.peerAddr }

// HTTPAddr returns the address of metrics and health, empty if that is off.
func (n *Node) HTTPAddr() string {
	if n.admin == nil {
		return ""
	}
	return n.admin.ln.Addr().String()
}

// Err returns the first failure, or nil. A node whose disk failed stays up
// without taking part; any other failure stops it.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Wait returns when the node has stopped, with what stopped it: nil after
// Shutdown or Kill.
func (n *Node) Wait() error {
	<-n.done
	return n.Err()
}

// Done is closed when the node has stopped.
func (n *Node) Done() <-chan struct{} { return n.done }

func (n *Node) setErr(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
}

// fail stops the node for a reason that it cannot mend.
func (n *Node) fail(err error) {
	n.log.Error("the node stops", "event", "node.failed", "err", err)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
	select {
	case <-n.failure:
	default:
		close(n.failure)
	}
}
