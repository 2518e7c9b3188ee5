// Package node runs one member of a cluster: it gives the pure replica its
// sockets, files, clock and goroutines, and is how dnode is embedded.
//
//	n, err := node.Start(ctx, node.Config{Name: "n1", DataDir: "data"})
//	...
//	err = n.Shutdown(ctx)
//
// Several nodes may run in one process; they share nothing but gnet's logger.
//
// # Who runs what
//
//	clients ──frames──►┌────────────── event loop ──────────────┐
//	members ──frames──►│ conns ─► replica.Request, Peer, Tick   │──batches─►┌──────┐
//	                   │            │ end of the batch: Run     │           │ disk │─► wal
//	clients ◄─replies──│ conns ◄────┤ replica.Effects           │◄──done────└──────┘
//	members ◄─messages─│ links ◄────┘                           │
//	                   └─▲─────────▲─────────────────▲──────────┘
//	                   ticker   link goroutines   HTTP sees copies only
//
//	goroutine  | how many      | owns                          | waits for
//	-----------+---------------+-------------------------------+------------------------------
//	event loop | 1 (gnet)      | replica, connections, links   | sockets, Run, short syncs
//	port       | 2             | its listener                  | connections, their OnOpen
//	disk       | 1             | log, vote and identity files, | batches, a prepared segment
//	           |               | in turn with the loop         |
//	prepare    | 0 or 1        | the one segment it fills      | nothing
//	ticker     | 1             | nothing                       | every tick; a kick from the loop
//	link       | 1 per member  | its connection until enrolled | the connection's end
//	HTTP       | net/http's    | nothing                       | scrapes
//	watch      | 1             | nothing                       | a failure
//
//	queue          | from → to          | bound
//	---------------+--------------------+-------------------------------------------------
//	storage batches| loop → disk        | the replica's uncommitted bytes
//	inbox          | disk, links → loop | one completion, reads asked for, one call per link
//	replies        | loop → client      | Limits.OutboundBytes, then the client is told and closed
//	  of one turn  | replica, conns     | 1 MiB, 512 KiB; then the batch ends early and is written
//	messages       | loop → member      | Limits.PeerQueueBytes, then the link is cut
//	requests       | client → loop      | credits of the hello: Limits.Requests, RequestBytes
//	both of those  | all clients, loop  | Limits.HeldBytes: see hold.go
//	connections    | port → loop        | one each; then Limits.Connections of clients, 256 of members
//
// The loop is not Go's but gnet's: OnTraffic hands whole frames to the replica
// while they still lie in gnet's buffer, and the first event of a turn
// schedules Run, which gnet executes after it has handled all sockets that were
// ready. Run takes the effects: frames go to links and connections, with one write
// per connection and turn, then storage to the disk, or to its goroutine. Whatever
// comes while it syncs becomes the next group.
//
// # Where things are
//
//	config.go    what can be set, its defaults and checks
//	node.go      Start: folder, identity, ports, goroutines    stop.go   Shutdown, Kill
//	listen.go    both ports, with their real numbers; gnet's start
//	accept.go    who comes in, and what descriptors there are for it
//	loop.go      gnet's handler, the end of a batch, ticks
//	conns.go     accepted connections: hello, requests, replies, slow readers
//	turns.go     who lets others go first
//	hold.go      what they hold of memory together, and who has to go
//	peers.go     outgoing links to members
//	founding.go  hellos: who is who, and how a cluster begins
//	diskloop.go  the disk: on the loop while syncs are short, else on a goroutine
//	metrics.go   counters and their exposition                 http.go   /metrics /livez /readyz /status
//	clock.go     a clock that counts suspend                   gnetlog.go gnet's messages, as slog
//
// # Decisions
//
// 2026-11-24: the loop syncs by itself while that takes up to 1 ms, averaged over 16,
// after it has written all that need not wait for it; else a goroutine does, as it does
// all reads of the log, and writes that have no room in the segment. A goroutine costs two
// wake-ups: with one always, 1 client had 2,720 puts/s with a p50 of 360 µs and CPU per
// put at 1000 clients was 8 to 13 % higher, now 3,320/s and 292 µs. The p99 of reads
// among 10 % puts is the same (10.3 to 11.0 ms, 1000 clients). Always on the loop, a
// disk with long syncs would hold up every read. The price: a first sync that hangs
// holds up reads, refusals, status and /livez as well. The ticker says so, and as the node is
// silent the others elect a leader; a longer one that returns moves to the goroutine.
//
// 2026-11-23: Execute is the end-of-batch hook. A turn that the loop wants for
// itself (Effects.More) goes through the ticker goroutine instead: gnet empties
// its task queue before it looks at a socket again.
//
// 2026-11-23: outgoing links are dialled and greeted with plain net code and
// only then enrolled in gnet: its own dialling knows no timeouts, and waiting
// for it inside a handler deadlocks. All writes to a link happen on the loop;
// a writer goroutine per member would cost a wake-up per batch.
//
// 2026-11-23: a connection that is closed for a reason is told so, half closed,
// and kept for up to two seconds while its input is thrown away. Closing at once
// resets it, and the reason is lost with it.
//
// 2026-11-23: the clock is read once per readable connection, after its bytes
// were read, not once per batch: a lease must not be judged by a time from
// before the request. It costs a system call of about 0.1 µs.
//
// 2026-11-23: at most half an election timeout of missed ticks is made up for.
// A process that was stopped hears its peers before it calls an election, and a
// leader that was stopped checks its quorum within the next half.
//
// 2026-11-23: connections are accepted here and enrolled in gnet, which runs as
// its client: its own acceptor ends the loop, and all connections with it, when
// descriptors run out. Each port waits until the loop has taken one connection
// before it accepts the next, so that a flood of them gets its share of a turn
// and not all of it: beside 4 clients that connect without end, 10 others had a
// p99 of 100 to 480 ms, now 7 to 15 ms, on two busy cores. A connection costs 25
// µs of CPU where gnet's acceptor took 17. (go test ./node -run TestChurn -v)
//
// 2026-11-23: no descriptor is kept in reserve to tell callers that there are
// none. The limit on connections leaves enough of them, so that only others in
// the process can use them up; callers wait in the backlog and are served then.
//
// 2026-11-23: without a descriptor for its next segment the log waits, which the
// replica takes for a disk that hangs. Rejected: fencing, which never ends, and
// NOSPACE, which says that the disk is full.
//
// 2026-11-23: clients beyond the limit on connections are told so by the loop,
// those beyond maxRefused closed by the port: a port that told them would have to
// wait for each to read it.
//
// 2026-11-23: Shutdown closes the clients' port first, the members' port after
// the last answer: a member that calls again may bring the missing vote for it.
//
// 2026-11-23: a panic in a handler is not recovered. Input never panics, so one
// is a broken invariant, and going on with the replica could break promises.
//
// 2026-11-23: founding counts the answers over outgoing links only: who is
// counted can be reached, is fresh at this moment, and was given the same list.
//
// 2026-11-23: a link tries the configuration's address and the listed one in
// turn. The hello checks who answers, so a cluster that moved finds itself again
// by its new list, without a change of its configuration.
//
// 2026-11-23: a member that calls is also tried at the address that it tells, so
// that one node can move alone. Rejected: taking it into the configuration, which
// is an entry of the log; and believing it before the configuration, for anybody
// can say a member's name.
//
// 2026-11-23: the beginning of a request waits here, not in gnet's ring buffers.
// Their pool hands out the size that was used most: after 42,000 large requests
// each connection's first byte would take as much as one of those.
//
// 2026-11-23: over the limit on memory for connections those go that hold more
// than a fair share. A limit for each that is safe in sum (256 MiB by 10,000) is
// smaller than one request; closing the newest or the largest hits the honest.
//
// 2026-11-24: while light connections ask, all bulk together has 8 requests or
// 32 KiB in flight and one budget over time. Rejected: a limit for each connection
// (many of them are as bad as one) and for large writes alone (floods of different
// kinds add up). Ten honest clients beside one flood of puts, gets, scans or 1 MiB
// puts: p99 1.2 to 1.7 times that without it, was 3 to 60 times. All kinds at once
// from another machine, beside 9,900 slow connections: 1.5 to 1.6 times; with two to
// four times as much for bulk 2.2 and 2.3. The price: a client with 1,000 puts in
// flight has some 51,000/s beside a light one, with two to four times as much 116,000.
// The light one's puts have a p99 of 0.41 ms, and had 1.6 to 1.9.
//
// 2026-11-24: beside light connections the disk's goroutine writes for bulk, for reads
// need not wait for that: in the same siege 1.4 and 1.5 times instead of 1.5 and 1.7.
//
// 2026-11-23: bulk writes wait for a prepared segment. The log would prepare its own,
// which holds up everybody's sync for 60 to 1,300 ms.
//
// 2026-11-24: they wait only while the last quarter of the segment before it is in
// use, and the log itself waits for it, too. Rejected: when the last spare is taken
// into use (with values of 64 KiB 160 to 330 ms of every 500), and the log filling its
// own meanwhile: both were then filled side by side in 500 ms, each time anew, and
// the prepared one was thrown away.
//
// 2026-11-23: connections beyond 500 come at 1,000 a second while light ones ask.
// Beside 10,000 a second, half of them reset, honest clients had a p99 of 3 to 4 ms,
// at 2,000 a second 1.3 ms, now 0.8 ms (0.5 ms without). A new client may wait for
// the backlog; one that connects for each request had better keep its connection.
//
// 2026-11-23: members have places of their own, and a silent caller on their
// port yields to a new one: no number of strangers keeps a member out.
package node
