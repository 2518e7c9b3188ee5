package sim

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
)

// DiskFaults is what the nemesis may do to disks besides power cuts, slowness and
// lack of room. The zero value: nothing.
type DiskFaults struct {
	Nanos int64 // mean time between them
	IO    bool  // a call fails: write, sync, create, rename
	Hang  bool  // nothing returns for a while, or until a restart
	Files bool  // no file can be opened for a while
	Rot   bool  // bits flip, sectors are zeroed or copied at rest
	Spoil bool  // sectors cannot be read any more
	Stray bool  // acknowledged writes are lost or land elsewhere
	Vote  bool  // slots of the vote are damaged at rest
	Tear  bool  // the power goes in the middle of a write
	Wipe  bool
	// Secret keeps all of it from the atlas, strikes the unattested end of the log
	// too, and brings a wiped node back as its old self: the falsification of the
	// checkers, which must then fail.
	Secret bool
}

// DiskStats counts what disks did to nodes.
type DiskStats struct {
	Emptied       int // disks that were full and have room again
	Fenced        int // replicas that a failing disk put out of action
	FailedStarts  int // starts that a failing call ended, or a full disk
	RefusedByName int // starts that found damage and named it
	PastCache     int // starts that read past the cache, after a fence
	Abstained     int // starts with a vote that may be forgotten
	TornCut       int // starts that cut a torn group
	Unreadable    int // reads of the log that found damage
}

// drawDisks draws the faults of the disks, from a stream of its own.
func (o *Options) drawDisks() {
	r := stream(o.Seed, streamDiskFaults)
	d := &o.Disks
	for _, on := range []*bool{&d.IO, &d.Hang, &d.Files, &d.Rot, &d.Spoil, &d.Stray, &d.Vote, &d.Wipe, &d.Tear} {
		*on = r.IntN(4) == 0
	}
	d.Nanos = []int64{300, 1000, 3000}[r.IntN(3)] * millisecond
	destroys := d.Rot || d.Spoil || d.Stray || d.Vote || d.Wipe
	if o.Beyond = r.IntN(8) == 0 && destroys; o.Beyond {
		d.Nanos = 500 * millisecond
	}
}

// nextDiskFault schedules the nemesis of the disks.
func (c *Cluster) nextDiskFault() {
	if c.opt.Disks.Nanos > 0 && !c.opt.Replay {
		c.at(int64(c.rot.ExpFloat64()*float64(c.opt.Disks.Nanos)), event{kind: evRot})
	}
}

// diskFault strikes one disk.
func (c *Cluster) diskFault() {
	if c.quiet {
		return
	}
	defer c.nextDiskFault()
	d, r := &c.opt.Disks, c.rot
	f := Fault{Node: r.IntN(len(c.nodes)), Seed: r.Uint64(), Nanos: int64(r.ExpFloat64() * float64(second))}
	if lead := c.leaderNode(); lead >= 0 && r.IntN(3) == 0 {
		f.Node = lead
	}
	allowed := [...]bool{d.IO, d.Hang, d.Files, d.Rot, d.Spoil, d.Stray, d.Vote, d.Wipe, d.Tear}
	which := r.IntN(len(allowed))
	if !allowed[which] || c.nodes[f.Node].out != nil {
		return
	}
	f.Kind = FaultIO + FaultKind(which)
	if c.nodes[f.Node].up && (needsDown(f.Kind) || f.Kind == FaultIO && r.IntN(3) == 0) {
		kind := FaultKill
		if r.IntN(2) == 0 {
			kind = FaultPower
		}
		c.strike(Fault{Kind: kind, Node: f.Node, Nanos: f.Nanos / 4, Seed: r.Uint64()})
	}
	if c.feasible(&f) {
		c.strike(f)
	}
}

// needsDown reports whether a fault strikes a disk at rest.
func needsDown(k FaultKind) bool { return k == FaultRot || k == FaultVote || k == FaultWipe }

// feasible reports whether a fault of a disk finds its target in place, and within
// what the atlas allows.
func (c *Cluster) feasible(f *Fault) bool {
	n := c.nodes[f.Node]
	if n.out != nil || n.up == needsDown(f.Kind) && f.Kind != FaultSpoil && f.Kind != FaultIO {
		return false
	}
	switch f.Kind {
	case FaultIO, FaultHang, FaultFiles, FaultTear:
		return true
	}
	return c.allows(f.Node)
}

// strikeDisk carries out the faults of disks.
func (c *Cluster) strikeDisk(f *Fault) {
	n, r := c.nodes[f.Node], rand.New(rand.NewPCG(f.Seed, 0))
	s := &c.atlas.nodes[f.Node]
	if c.opt.Disks.Secret {
		s = &struckNode{}
	}
	s.data = s.data || f.Kind >= FaultRot && f.Kind != FaultVote
	switch f.Kind {
	case FaultIO:
		n.failCall(r)
		n.operator = f.Nanos
	case FaultHang:
		n.hung = true
		n.later(f.Nanos, event{kind: evDisk, up: r.IntN(2) == 0})
	case FaultFiles:
		n.fs.Inject(crashfs.Rule{Op: crashfs.OpOpen, Times: -1, Err: wal.ErrNoFiles})
		n.fs.Inject(crashfs.Rule{Op: crashfs.OpCreate, Times: -1, Err: wal.ErrNoFiles})
		n.later(f.Nanos, event{kind: evDisk, up: true})
	case FaultRot:
		n.decay(r)
	case FaultSpoil:
		n.spoil(r)
	case FaultStray:
		n.loseWrite(r)
	case FaultVote:
		s.vote, s.life = true, n.life
		n.damageVote(r)
	case FaultWipe:
		n.fs = crashfs.New()
		if !c.opt.Disks.Secret {
			n.out = errWiped
		}
	case FaultTear:
		n.tear = f
	}
}

// errWiped: a wiped node draws a new replica id. Every member refuses its hello
// (node: self.greetFresh, self.checkAck), and it waits for ever to found a cluster.
var errWiped = errors.New("the disk was lost")

// failCall lets one of the next calls fail. A write may have written a part; or it
// writes short and reports no error.
func (n *node) failCall(r *rand.Rand) {
	rule := crashfs.Rule{Err: errInjected, Skip: r.IntN(4)}
	rule.Op = []crashfs.Op{crashfs.OpSync, crashfs.OpSync, crashfs.OpWrite, crashfs.OpWrite, crashfs.OpSyncDir, crashfs.OpCreate, crashfs.OpRename}[r.IntN(7)]
	if rule.Op == crashfs.OpWrite {
		rule.Short = r.IntN(2000)
		if r.IntN(3) == 0 {
			rule.Err, rule.Short = nil, rule.Short+1
		}
	}
	n.faulty = n.faulty || rule.Err != nil && !n.c.opt.Disks.Secret
	n.fs.Inject(rule)
}

// segments returns the segment files of the folder, and the position of the last
// one that was written to.
func (n *node) segments() (names []string, active int) {
	list, err := n.fs.List("wal")
	if err != nil {
		return nil, 0
	}
	for _, base := range list {
		name := "wal/" + base
		if len(base) != len("00000001.seg") || base[8:] != ".seg" {
			continue
		}
		if n.fs.Floor(name) > 0 {
			active = len(names)
		}
		names = append(names, name)
	}
	return names, active
}

// anyFile chooses a file, mostly a segment, and returns up to which offset
// something that would survive speaks for what it holds: damage behind that could
// not be told from a torn write. With unread, damage shows itself by failing reads,
// and may be anywhere.
func (n *node) anyFile(r *rand.Rand, unread bool) (name string, bound int64) {
	names, active := n.segments()
	if k := r.IntN(8); k == 0 || len(names) == 0 {
		name = "identity"
	} else if k == 1 && unread {
		name = "vote"
	} else {
		i := r.IntN(len(names))
		if r.IntN(2) == 0 {
			i = active
		}
		if i == active && unread {
			return names[i], min(n.fs.Floor(names[i])+4096, n.c.opt.SegmentBytes)
		}
		if i == active {
			return names[i], n.fs.Floor(names[i])
		}
		name = names[i]
	}
	return name, int64(len(n.fs.Bytes(name)))
}

// decay damages the disk at rest: a bit, or a sector that is zeroed or is a copy of
// the one before.
func (n *node) decay(r *rand.Rand) {
	name, bound := n.anyFile(r, false)
	if bound == 0 {
		return
	}
	off := r.Int64N(bound)
	if n.c.opt.Disks.Secret && strings.HasSuffix(name, ".seg") && r.IntN(2) == 0 {
		off = bound + r.Int64N(100) // within the last record
	}
	from := off / crashfs.SectorBytes * crashfs.SectorBytes
	if kind := r.IntN(3); kind > 0 && from+crashfs.SectorBytes <= bound {
		b := n.fs.Bytes(name)
		for i := range int64(crashfs.SectorBytes) {
			mask := b[from+i]
			if kind == 2 && from > 0 {
				mask ^= b[from+i-crashfs.SectorBytes]
			}
			n.flip(name, from+i, mask)
		}
		return
	}
	n.flip(name, off, 1<<r.IntN(8))
}

// spoil makes one sector unreadable, or a stretch of them.
func (n *node) spoil(r *rand.Rand) {
	name, bound := n.anyFile(r, true)
	off, count := r.Int64N(max(1, bound)), []int64{1, 1, 100}[r.IntN(3)]
	for end := off + count*crashfs.SectorBytes; off < min(end, bound); off += crashfs.SectorBytes {
		if n.fs.Spoil(name, off) != nil { // it is not there yet
			return
		}
	}
}

func (n *node) flip(name string, off int64, mask byte) {
	if err := n.fs.Flip(name, off, mask); err != nil && !n.c.opt.Disks.Secret {
		panic(fmt.Sprintf("BUG: %v", err))
	}
}

// loseWrite lets one of the next writes get lost, or land elsewhere.
func (n *node) loseWrite(r *rand.Rand) {
	suffix := []string{".seg", ".seg", ".seg", ".new", ".now", "vote"}[r.IntN(6)]
	name, bound := n.anyFile(r, false)
	if bound < crashfs.SectorBytes || r.IntN(2) == 0 {
		n.fs.Lose(suffix)
		return
	}
	off := r.Int64N(bound/crashfs.SectorBytes) * crashfs.SectorBytes
	_ = n.fs.Misdirect(suffix, name, off) // nothing, if the file's end is not on the disk
}

// damageVote damages one slot of the vote, or both, or sets one back to what it was
// at the last start.
func (n *node) damageVote(r *rand.Rand) {
	now := n.fs.Bytes("vote")
	if len(now) == 0 {
		return
	}
	off := r.Int64N(2) * 4096
	switch r.IntN(4) {
	case 0:
		_ = n.fs.Spoil("vote", off)
	case 1:
		if len(n.oldVote) == 0 || !bytes.Equal(now[16:60], now[4096+16:4096+60]) {
			return // a slot is torn already, or is being written
		}
		for i := off; i < off+72; i++ {
			n.flip("vote", i, now[i]^n.oldVote[i])
		}
	case 2:
		n.flip("vote", 4096-off+r.Int64N(72), 1<<r.IntN(8))
		fallthrough
	default:
		n.flip("vote", off+r.Int64N(72), 1<<r.IntN(8))
	}
}

// diskBack ends a hang, or the lack of descriptors. A disk that does not come back
// by itself does with a restart of the process.
func (n *node) diskBack(itself bool) {
	if !itself {
		n.c.restart(n)
		return
	}
	n.fs.ClearRules()
	n.hung = false
	for _, e := range n.held {
		n.later(0, e)
	}
	n.held = n.held[:0]
}

// hangs keeps the completion of a disk that hangs.
func (n *node) hangs(e *event) bool {
	if n.hung {
		n.held = append(n.held, *e)
	}
	return n.hung
}

// torn cuts the power in the middle of a write, if that is laid on.
func (n *node) torn(e *event) bool {
	f := n.tear
	if e.kind != evStored || f == nil || n.hung || len(n.writing) == 0 {
		return false
	}
	n.c.crash(n, f)
	return true
}

// restart is what an operator, or a supervisor, does.
func (c *Cluster) restart(n *node) {
	c.crash(n, &Fault{Kind: FaultKill, Nanos: 50 * millisecond})
}

// failed tells the replica that the disk failed, and has the node restarted after
// a while. (node: diskLoop.turn, diskLoop.seal, diskLoop.takeOver)
func (n *node) failed(err error) { n.rep.Stored(replica.Completion{Err: err}) }

// fence notices that the replica has fenced itself.
func (n *node) fence() {
	if n.rep.Fenced() == nil || n.fenced {
		return
	}
	n.fenced = true
	n.c.stats.Disk.Fenced++
	n.later(n.operator, event{kind: evDisk})
}

// read carries out one read. What this node has to apply is read again when files
// can be opened; a member asks again by itself. (node: diskLoop.read)
func (n *node) read(e *event) {
	q := n.reads[e.read]
	done := n.disk.Read(q)
	if done.Err != nil && !errors.Is(done.Err, wal.ErrOutOfRange) && !wal.Passes(done.Err) {
		n.c.stats.Disk.Unreadable++
	}
	if wal.Passes(done.Err) && q.Peer == 0 {
		n.later(retryNanos, *e)
		return
	}
	n.rep.EntriesRead(done)
}

// openStore brings back what the disk holds, as the shell does. (node: Node.recover)
func (n *node) openStore() (*wal.Store, raft.State, error) {
	id, err := n.identity()
	if err != nil {
		return nil, raft.State{}, err
	}
	store, rec, votes, err := wal.OpenStore(n.fs, n.logOptions())
	if err != nil {
		return nil, raft.State{}, err
	}
	n.oldVote = n.fs.Bytes("vote")
	n.note(rec, votes)
	st, err := disk.Recovered(rec, votes, n.c.peers)
	switch {
	case err != nil:
	case st.MembersIndex == 0 && !id.Cluster.IsZero(): // Node.checkState
		err = errors.New("the identity file names a cluster, but the log holds no configuration")
	case st.Abstain && (n.c.opt.Nodes == 1 || st.Vote.Term == 0): // Node.checkVote
		err = errors.New("the vote file is damaged, and nobody can say how this node voted")
	}
	n.cluster = id.Cluster
	n.c.check.nodes[n.index].vote = votes.Vote
	return store, st, err
}

// note counts what recovery did.
func (n *node) note(rec *wal.Recovered, votes wal.VoteState) {
	s := &n.c.stats.Disk
	if rec.Cut != nil {
		s.TornCut++
	}
	if rec.Fenced {
		s.PastCache++
	}
	if votes.Abstain {
		s.Abstained++
	} else {
		n.c.atlas.nodes[n.index].vote = false
	}
}

// identity loads who the folder belongs to, or makes it this node's. (node:
// Node.identity)
func (n *node) identity() (wal.Identity, error) {
	id, err := wal.LoadIdentity(n.fs)
	if !errors.Is(err, wal.ErrNotExist) {
		return id, err
	}
	names, err := n.fs.List("")
	if err != nil {
		return id, err
	}
	if slices.Contains(names, "vote") {
		return id, errors.New("there is a vote, but the file identity is missing")
	}
	m := &n.c.peers.Members[n.index]
	id = wal.Identity{Name: m.Name, Replica: m.Replica}
	return id, wal.SaveIdentity(n.fs, id)
}

// recordCluster adds the cluster to the identity file. If that fails the next
// start does it. (node: diskLoop.recordCluster)
func (n *node) recordCluster() error {
	cluster := n.known
	n.record = 0
	have, err := wal.LoadIdentity(n.fs)
	if err == nil && have.Cluster != cluster {
		have.Cluster, have.ID = cluster, n.id
		err = wal.SaveIdentity(n.fs, have)
	}
	if err != nil {
		return n.mayFail(err)
	}
	n.cluster = cluster
	return n.c.check.founded(n)
}
