package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

const (
	idleInterval = time.Second
	// diskPatience is what a turn may take that is under way when there is no
	// more time to stop in order.
	diskPatience = 2 * time.Second
	// tightShare of a segment is kept for others than bulk writes, and for what of
	// these is already under way, while the next one is not ready.
	tightShare = 4
	// maxInlineNanos is how long syncs may take, averaged over the last ones, to be
	// done on the event loop: longer ones are worth a goroutine's two wake-ups.
	maxInlineNanos = int64(time.Millisecond)
	averagedSyncs  = 16
)

// diskLoop runs node/disk: on the event loop while syncs are short, else on a
// goroutine of its own, which also does all that is not a write. Whatever is
// queued while a sync runs becomes the next group.
type diskLoop struct {
	fs    FS
	opt   wal.Options
	log   *slog.Logger
	store *wal.Store
	disk  *disk.Disk
	done  func(replica.Completion, []replica.ReadDone) // called by the goroutine
	space func(full bool)                              // when that changes

	wake     chan struct{}    // capacity 1: next has something
	prepared chan preparation // capacity 1
	behind   atomic.Bool      // the log has no prepared segment left and waits for one
	tight    atomic.Bool      // and will soon need it
	average  atomic.Int64     // of the last syncs, in nanoseconds
	inlineAt atomic.Int64     // when the loop began to write, zero: it does not
	stop     chan struct{}
	ended    chan struct{}

	mu    sync.Mutex
	next  diskWork
	stats diskStats

	// Holding it is the right to use the disk, and all that follows. Capacity 1.
	own chan struct{}

	stopped   bool // nothing may be done any more
	busy      bool // something was written since the last look for idleness
	mine      diskWork
	answers   []replica.ReadDone
	preparing bool
	underWay  chan struct{} // closed when the last preparation has ended
	retryAt   time.Time     // after a preparation that failed
	crowded   error         // why the last preparation failed
	stuck     error         // why mine.stores could not be written, if that passes
	unread    error         // why nothing could be read, if that passes
	low       bool          // less than the reserve is left
	full      bool          // as last reported
	noFiles   bool          // likewise

	unreadable bool // the last read failed
}

// preparation is the outcome of one.
type preparation struct {
	number uint64
	err    error
}

// diskWork is what one turn of the goroutine takes.
type diskWork struct {
	stores   []replica.Store
	runs     [][]byte // memory of the stores' Append
	reads    []replica.ReadRequest
	identity *wal.Identity // cluster and id to be recorded
}

func (w *diskWork) reset() {
	clear(w.stores)
	clear(w.runs)
	w.stores, w.runs, w.reads, w.identity = w.stores[:0], w.runs[:0], w.reads[:0], nil
}

// diskStats are totals for the metrics.
type diskStats struct {
	sync       histogram
	groupBytes histogram
	groups     uint64
	batches    uint64 // storage batches in those groups
	bytes      uint64
	votes      uint64
	reads      uint64
	readErrors uint64
}

func newDiskLoop(fs FS, opt wal.Options, log *slog.Logger, store *wal.Store) *diskLoop {
	d := &diskLoop{
		fs: fs, opt: opt, log: log, store: store,
		wake: make(chan struct{}, 1), prepared: make(chan preparation, 1), own: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}), underWay: make(chan struct{}),
	}
	close(d.underWay)
	d.stats.sync.first = int64(20 * time.Microsecond)
	d.stats.groupBytes.first = 256
	d.disk = disk.New(&timedStore{LogStore: store, d: d})
	return d
}

// enqueue takes over storage effects; it copies what is only lent. While syncs are
// short they wait for the end of the loop's turn.
func (d *diskLoop) enqueue(s *replica.Store, reads []replica.ReadRequest) {
	if s.Seq == 0 && len(reads) == 0 {
		return
	}
	d.mu.Lock()
	if s.Seq != 0 {
		lo := len(d.next.runs)
		d.next.runs = append(d.next.runs, s.Append...)
		kept := *s
		kept.Append = d.next.runs[lo:len(d.next.runs):len(d.next.runs)]
		d.next.stores = append(d.next.stores, kept)
	}
	d.next.reads = append(d.next.reads, reads...)
	d.mu.Unlock()
	if !d.quick() {
		d.signal()
	}
}

// quick reports whether syncs are short.
func (d *diskLoop) quick() bool { return d.average.Load() <= maxInlineNanos }

// inline ends a turn of the loop: it writes what is queued, or leaves that to the
// goroutine, which takes what may last or has to wait, and all if the caller may not
// wait.
func (d *diskLoop) inline(may bool) replica.Completion {
	writes, others := d.waiting()
	if !writes && !others {
		return replica.Completion{}
	}
	if others || !may || !d.quick() || !d.tryOwn() {
		d.signal()
		return replica.Completion{}
	}
	defer d.disown()
	if d.stopped {
		return replica.Completion{}
	}
	// What has no room in the segment at hand is the goroutine's: changing to the next
	// takes several syncs, and there may be none. The loop must not wait for one, for the
	// goroutine may have been told that it is ready, and wait for the disk.
	if d.stuck != nil || d.unread != nil || !d.fits(d.next.stores) {
		d.signal()
		return replica.Completion{}
	}
	d.inlineAt.Store(monotonic())
	defer d.inlineAt.Store(0)
	c, _ := d.turn()
	d.lookAhead()
	return c
}

// waiting reports what is queued.
func (d *diskLoop) waiting() (writes, others bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.next.stores) > 0, len(d.next.reads) > 0 || d.next.identity != nil
}

func (d *diskLoop) tryOwn() bool {
	select {
	case d.own <- struct{}{}:
		return true
	default:
		return false
	}
}

func (d *diskLoop) disown() { <-d.own }

// saveIdentity records the cluster, off the loop.
func (d *diskLoop) saveIdentity(cluster wire.ClusterID, id wire.NodeID) {
	d.mu.Lock()
	d.next.identity = &wal.Identity{Cluster: cluster, ID: id}
	d.mu.Unlock()
	d.signal()
}

func (d *diskLoop) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// queued returns how much waits, for the metrics.
func (d *diskLoop) queued() (batches, reads int, stats diskStats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.next.stores), len(d.next.reads), d.stats
}

// run is the goroutine.
func (d *diskLoop) run() {
	defer close(d.ended)
	idle := time.NewTicker(idleInterval)
	defer idle.Stop()
	work := d.lookAhead
	for {
		d.own <- struct{}{}
		if !d.stopped {
			work()
		}
		d.disown()
		select {
		case <-d.stop:
			return
		case <-d.wake:
			work = d.serve
		case p := <-d.prepared:
			work = func() {
				d.takeOver(p)
				d.retry()
			}
		case <-idle.C:
			work = d.rest
		}
	}
}

// serve carries out what is queued, on the goroutine.
func (d *diskLoop) serve() {
	if c, answers := d.turn(); c.Seq != 0 || len(answers) > 0 {
		d.done(c, answers)
	}
	d.lookAhead()
}

// rest is done about once a second.
func (d *diskLoop) rest() {
	if !d.busy {
		d.seal()
	}
	d.busy = false
	d.low = d.lowRoom()
	if d.full {
		d.space(true) // again: there may have been no replica yet
	}
	d.retry()
}

// retry writes and reads once more what could not be.
func (d *diskLoop) retry() {
	if d.stuck != nil || d.unread != nil {
		d.serve()
		return
	}
	d.lookAhead()
}

// lookAhead sees to it that there is a segment when the log needs one, and says
// what is missing.
func (d *diskLoop) lookAhead() {
	d.prepareNext()
	d.lookBehind()
	d.reportSpace()
	d.reportFiles()
}

// reserveSegments is the room that is kept for deletes, and for what is already
// under way when a leader begins to refuse writes: prepared segments and free
// space together. Under load the spares alone can be gone before their successor
// finds no room.
const reserveSegments = 4

// freeSpace is what an FS may also do: tell how many bytes may still be taken.
// Safe for concurrent use.
type freeSpace interface{ Free() (int64, error) }

// lowRoom reports whether the reserve is touched. One segment more ends it, so
// that it does not come and go with each. A file system that cannot tell how
// much is free is full only when something does not fit.
func (d *diskLoop) lowRoom() bool {
	f, ok := d.fs.(freeSpace)
	if !ok {
		return false
	}
	free, err := f.Free()
	if err != nil {
		return d.low
	}
	left := int64(d.store.Log().Spares()) + free/d.opt.SegmentBytes
	if d.low {
		return left <= reserveSegments
	}
	return left < reserveSegments
}

// reportSpace says whether the disk is full: too little room for the spare
// segments, while the log still has what was prepared before.
func (d *diskLoop) reportSpace() {
	full := d.failedFor(wal.ErrNoSpace) || d.low
	if full == d.full || d.disk.Err() != nil {
		return
	}
	d.full = full
	if full {
		d.log.Warn("the disk is full: only deletes are taken until there is room", "event", "disk.full", "spare_segments", d.store.Log().Spares())
	} else {
		d.log.Info("the disk has room again", "event", "disk.room")
	}
	d.space(full)
}

// failedFor reports whether writing, preparing to, or reading has last failed for
// that reason.
func (d *diskLoop) failedFor(why error) bool {
	return errors.Is(d.stuck, why) || errors.Is(d.crowded, why) || errors.Is(d.unread, why)
}

// reportFiles says that the log lacks descriptors. What needs one waits; to the
// replica that is a disk that hangs.
func (d *diskLoop) reportFiles() {
	none := d.failedFor(wal.ErrNoFiles)
	if none == d.noFiles {
		return
	}
	d.noFiles = none
	if none {
		d.log.Error("no file can be opened for the log: writes wait when its segment is full, and so do reads of older ones; close files or raise the limit on open files (ulimit -n)", "event", "disk.nofiles", "err", cmp.Or(d.stuck, d.crowded, d.unread))
	} else {
		d.log.Info("files can be opened for the log again", "event", "disk.files")
	}
}

// turn carries out everything that is queued.
func (d *diskLoop) turn() (c replica.Completion, answers []replica.ReadDone) {
	d.take()
	if len(d.mine.stores) > 0 {
		d.awaitSegment()
		d.busy = true
		c = d.disk.Write(d.mine.stores)
		if d.stuck = nil; wal.Passes(c.Err) {
			d.stuck, c = c.Err, replica.Completion{}
		} else {
			d.count()
		}
	}
	d.read()
	// Not before the entry that says so is on the disk: a start that finds a cluster
	// named and no configuration takes it that files were lost.
	if d.mine.identity != nil && d.stuck == nil && d.disk.Err() == nil {
		if err := d.recordCluster(d.mine.identity); err != nil {
			d.log.Error("cannot record the cluster; the next start will", "event", "identity.failed", "err", err)
		}
	}
	return c, d.answers
}

// read answers what is to be read. A member asks again by itself for what cannot
// be read now; what this node has to apply is kept.
func (d *diskLoop) read() {
	d.answers = nil
	if len(d.mine.reads) > 0 {
		d.unread = nil
	}
	for _, q := range d.mine.reads {
		done := d.disk.Read(q)
		if wal.Passes(done.Err) {
			d.unread = done.Err
			if q.Peer == 0 {
				d.mu.Lock()
				d.next.reads = append(d.next.reads, q)
				d.mu.Unlock()
				continue
			}
		} else {
			d.noteRead(done.Err)
		}
		d.answers = append(d.answers, done)
	}
}

// take makes everything that is queued the goroutine's own, behind what could not
// be written yet. A leader that gets no acknowledgement sends no more than its
// window, and one that hears nothing from its own disk steps down, or takes no more
// than may be uncommitted if it is a sole voter, so that this is bounded.
func (d *diskLoop) take() {
	var stuck []replica.Store
	var identity *wal.Identity
	if d.stuck != nil {
		identity = d.mine.identity
		stuck = slices.Clone(d.mine.stores)
		for i := range stuck {
			stuck[i].Append = slices.Clone(stuck[i].Append)
		}
	}
	d.mine.reset()
	d.mu.Lock()
	d.next, d.mine = d.mine, d.next
	d.mu.Unlock()
	if len(stuck) > 0 {
		d.mine.stores = append(stuck, d.mine.stores...)
	}
	d.mine.identity = cmp.Or(d.mine.identity, identity)
}

// noteRead counts a read and says when they begin to fail: a member that waits
// for these entries asks again and again, and nobody else would tell. What was
// superseded meanwhile is no failure.
func (d *diskLoop) noteRead(err error) {
	failed := err != nil && !errors.Is(err, wal.ErrOutOfRange)
	if failed && !d.unreadable {
		d.log.Error("the log cannot be read: members that lack these entries stay behind while this node leads; stop it and look at its folder with \"dnode wal verify\"", "event", "disk.unreadable", "err", err)
	}
	d.unreadable = failed
	d.mu.Lock()
	d.stats.reads++
	if failed {
		d.stats.readErrors++
	}
	d.mu.Unlock()
}

func (d *diskLoop) count() {
	bytes, votes := 0, 0
	for i := range d.mine.stores {
		for _, run := range d.mine.stores[i].Append {
			bytes += len(run)
		}
		if d.mine.stores[i].SaveVote {
			votes = 1
		}
	}
	d.mu.Lock()
	d.stats.groups++
	d.stats.batches += uint64(len(d.mine.stores))
	d.stats.bytes += uint64(bytes)
	d.stats.votes += uint64(votes)
	d.stats.groupBytes.observe(int64(bytes))
	d.mu.Unlock()
}

func (d *diskLoop) seal() {
	if err := d.disk.Idle(); err != nil {
		d.done(replica.Completion{Err: err}, nil)
	}
}

// recordCluster adds the cluster to the identity file, which the log also keeps
// its last sealed segment in: hence on this goroutine.
func (d *diskLoop) recordCluster(id *wal.Identity) error {
	have, err := wal.LoadIdentity(d.fs)
	if err != nil {
		return fmt.Errorf("cannot load identity: %w", err)
	}
	if have.Cluster == id.Cluster && have.ID == id.ID {
		return nil
	}
	have.Cluster, have.ID = id.Cluster, id.ID
	if err := wal.SaveIdentity(d.fs, have); err != nil {
		return fmt.Errorf("cannot save identity: %w", err)
	}
	return nil
}

// takeOver gives the log a segment that was prepared. The log fences itself if
// that fails halfway; no write would tell.
func (d *diskLoop) takeOver(p preparation) {
	d.preparing, d.crowded = false, p.err
	if p.err != nil {
		d.retryAt = time.Now().Add(idleInterval)
		return
	}
	d.store.Log().SegmentReady(p.number)
	if err := d.store.Err(); err != nil {
		d.done(replica.Completion{Err: err}, nil)
	}
}

// awaitSegment waits for the segment that is being prepared if what is to be
// written needs it. The log would fill one of its own beside it, which takes longer
// than the rest of that one, and both take longer for it.
func (d *diskLoop) awaitSegment() {
	if d.preparing && d.store.Log().Spares() == 0 && !d.fits(d.mine.stores) {
		d.takeOver(<-d.prepared)
	}
}

// fits reports whether the segment being written has room for that.
func (d *diskLoop) fits(stores []replica.Store) bool {
	need := int64(4 << 10) // for what the log adds
	for i := range stores {
		for _, run := range stores[i].Append {
			need += int64(len(run))
		}
	}
	return need <= d.store.Log().Room()
}

// lookBehind notes how far the preparation is behind the log.
func (d *diskLoop) lookBehind() {
	behind := d.preparing && d.store.Log().Spares() == 0
	d.behind.Store(behind)
	d.tight.Store(behind && d.store.Log().Room() < d.opt.SegmentBytes/tightShare)
}

// prepareNext starts the preparation of the next segment, if one is needed and
// none is under way.
func (d *diskLoop) prepareNext() {
	if d.preparing || d.disk.Err() != nil {
		return
	}
	number, needed := d.store.Log().NeedsSegment()
	if needed {
		d.low = d.lowRoom()
	}
	if !needed || time.Now().Before(d.retryAt) {
		return
	}
	d.preparing = true
	underWay := make(chan struct{})
	d.underWay = underWay
	opt := d.opt
	opt.Hurry = d.behind.Load
	go func() { // ends by itself; Node.end waits for it
		defer close(underWay)
		err := wal.PrepareSegment(d.fs, opt, number)
		if err != nil && !wal.Passes(err) {
			d.log.Error("cannot prepare a log segment", "event", "segment.failed", "segment", number, "err", err)
		}
		d.prepared <- preparation{number, err}
	}()
}

// end waits until the goroutine and a preparation have ended, or until ctx and
// some patience have while the disk hangs. Nothing is carried out after the turn
// that is under way.
func (d *diskLoop) end(ctx context.Context) error {
	close(d.stop)
	patience, cancel := patient(ctx)
	defer cancel()
	select {
	case d.own <- struct{}{}:
	case <-patience.Done():
		return fmt.Errorf("%w: %w", errDiskHangs, ctx.Err())
	}
	d.stopped = true
	underWay := d.underWay
	d.disown()
	<-d.ended
	select {
	case <-underWay:
	case <-patience.Done():
		return fmt.Errorf("%w: %w", errDiskHangs, ctx.Err())
	}
	return nil
}

var errDiskHangs = errors.New("cannot stop the disk: a write or sync has not returned")

// patient returns a context that ends some time after ctx.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(diskPatience, cancel) })
	return later, func() {
		stop()
		cancel()
	}
}

// timedStore measures syncs. It is called by who owns the disk.
type timedStore struct {
	replica.LogStore
	d *diskLoop
}

// Sync is LogStore's.
func (s *timedStore) Sync() error {
	start := monotonic()
	err := s.LogStore.Sync()
	took := monotonic() - start
	average := s.d.average.Load()
	s.d.average.Store(average + (took-average)/averagedSyncs)
	s.d.mu.Lock()
	s.d.stats.sync.observe(took)
	s.d.mu.Unlock()
	return err
}
